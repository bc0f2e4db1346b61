//! The merging half of byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): within one word, the pair with the
//! lowest rank is merged, leftmost first, until no known pair is left.
//!
//! A heap over a linked list keeps a word of n bytes at O(n log n), so a prompt that is one long word costs no more than any
//! other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Pair of token ids → (rank, id of the merged token).
pub type Merges = HashMap<(u32, u32), (u32, u32)>;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
}

/// merges the symbols of one word (one id per byte) and appends the result to `out`.
pub fn merge_word(merges: &Merges, symbols: &[u32], out: &mut Vec<u32>) {
    if symbols.len() < 2 {
        out.extend_from_slice(symbols);
        return;
    }
    let last = symbols.len() - 1;
    let mut list: Vec<Symbol> = symbols
        .iter()
        .enumerate()
        .map(|(i, &id)| Symbol {
            id,
            previous: if i == 0 { NONE } else { i as u32 - 1 },
            next: if i == last { NONE } else { i as u32 + 1 },
        })
        .collect();
    let mut heap = BinaryHeap::with_capacity(symbols.len());
    let push = |heap: &mut BinaryHeap<_>, list: &[Symbol], at: u32| {
        let left = list[at as usize];
        if left.next == NONE {
            return;
        }
        let pair = (left.id, list[left.next as usize].id);
        if let Some(&(rank, merged)) = merges.get(&pair) {
            heap.push(Reverse((rank, at, pair, merged)));
        }
    };
    for at in 0..last as u32 {
        push(&mut heap, &list, at);
    }
    while let Some(Reverse((_, at, pair, merged))) = heap.pop() {
        let left = list[at as usize];
        // An entry is stale when either half has been merged since it was pushed (a consumed symbol has id NONE).
        if left.next == NONE || (left.id, list[left.next as usize].id) != pair {
            continue;
        }
        let right = list[left.next as usize];
        list[left.next as usize].id = NONE;
        list[at as usize] = Symbol { id: merged, previous: left.previous, next: right.next };
        if right.next != NONE {
            list[right.next as usize].previous = at;
            push(&mut heap, &list, at);
        }
        if left.previous != NONE {
            push(&mut heap, &list, left.previous);
        }
    }
    let mut at = 0;
    while at != NONE {
        out.push(list[at as usize].id);
        at = list[at as usize].next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, written plainly: look for the lowest rank, merge its leftmost place, start again.
    fn naive(merges: &Merges, symbols: &[u32]) -> Vec<u32> {
        let mut word = symbols.to_vec();
        while let Some((i, &(_, merged))) = word
            .windows(2)
            .enumerate()
            .filter_map(|(i, pair)| merges.get(&(pair[0], pair[1])).map(|merge| (i, merge)))
            .min_by_key(|(i, (rank, _))| (*rank, *i))
        {
            word[i] = merged;
            word.remove(i + 1);
        }
        word
    }

    #[test]
    fn equals_the_plain_definition() {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..500 {
            let mut merges = Merges::new();
            for rank in 0..20u32 {
                let known = u64::from(4 + rank);
                let pair = (next(known) as u32, next(known) as u32);
                merges.entry(pair).or_insert((rank, 4 + rank));
            }
            let word: Vec<u32> = (0..next(30)).map(|_| next(4) as u32).collect();
            let mut fast = Vec::new();
            merge_word(&merges, &word, &mut fast);
            assert_eq!(fast, naive(&merges, &word), "{merges:?} {word:?}");
        }
    }
}
