//! A seeded mutator: the same seed and index give the same broken input on every machine.
//!
//! Parsers of strangers' bytes are fed [`run`] in ordinary tests with some ten thousand inputs, and by `cargo xtask fuzz`
//! with a million.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// An input that takes longer than this counts as a hang.
pub const SLOW: Duration = Duration::from_secs(5);

/// Numbers at which length fields, counters and offsets break.
const INTERESTING: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    1023,
    4096,
    32767,
    32768,
    65535,
    65536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Makes broken inputs out of sound ones.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
    tokens: Vec<Vec<u8>>,
    max_len: usize,
}

impl Mutator {
    /// A mutator whose whole behaviour follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, tokens: Vec::new(), max_len: 1 << 16 }
    }

    /// Adds words of the format (field names, opcodes, magic numbers) to be written into inputs.
    #[must_use]
    pub fn with_tokens<T: AsRef<[u8]>>(mut self, tokens: &[T]) -> Self {
        self.tokens.extend(tokens.iter().map(|t| t.as_ref().to_vec()));
        self
    }

    /// Inputs never grow beyond this many bytes (default 64 KiB) unless the sound one was longer.
    #[must_use]
    pub fn with_max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// The next number of the generator (SplitMix64).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next_u64() % bound as u64) as usize }
    }

    /// A broken version of one of `corpus`.
    pub fn mutate<T: AsRef<[u8]>>(&mut self, corpus: &[T]) -> Vec<u8> {
        if corpus.is_empty() {
            return (0..self.below(64)).map(|_| self.next_u64() as u8).collect();
        }
        let pick = self.below(corpus.len());
        let mut bytes = corpus[pick].as_ref().to_vec();
        let limit = self.max_len.max(bytes.len());
        for _ in 0..=self.below(4) {
            let other = self.below(corpus.len());
            self.step(&mut bytes, corpus[other].as_ref());
        }
        bytes.truncate(limit);
        bytes
    }

    /// A broken version of UTF-8 text, itself UTF-8.
    pub fn mutate_text<T: AsRef<str>>(&mut self, corpus: &[T]) -> String {
        let bytes: Vec<&[u8]> = corpus.iter().map(|t| t.as_ref().as_bytes()).collect();
        String::from_utf8_lossy(&self.mutate(&bytes)).into_owned()
    }

    fn step(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.position(bytes.len());
        match self.below(10) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.next_u64() as u8,
            2 => bytes.truncate(at),
            3 | 4 => self.write_number(bytes, at),
            5 => {
                let end = (at + 1 + self.below(32)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => self.duplicate(bytes, at),
            7 => {
                let from = self.below(other.len() + 1);
                let to = (from + self.below(256)).min(other.len());
                let end = if self.below(2) == 0 { at } else { (at + to - from).min(bytes.len()) };
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            8 if !self.tokens.is_empty() => {
                let pick = self.below(self.tokens.len());
                let token = self.tokens[pick].clone();
                let end = if self.below(2) == 0 { at } else { (at + token.len()).min(bytes.len()) };
                bytes.splice(at..end, token);
            }
            _ => {
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Half of all changes fall on the first or last 64 bytes, where headers and directories lie.
    fn position(&mut self, len: usize) -> usize {
        match self.below(4) {
            0 => self.below(len.min(64) + 1),
            1 => len - self.below(len.min(64) + 1),
            _ => self.below(len + 1),
        }
    }

    fn write_number(&mut self, bytes: &mut [u8], at: usize) {
        let mut number = INTERESTING[self.below(INTERESTING.len())];
        if self.below(3) == 0 {
            number = bytes.len() as u64;
        }
        number = number.wrapping_add([0, 0, 1, u64::MAX][self.below(4)]);
        let width = [1, 2, 4, 8][self.below(4)];
        let raw = if self.below(4) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
        let part = if raw == number.to_le_bytes() { &raw[..width] } else { &raw[8 - width..] };
        for (byte, value) in bytes[at..].iter_mut().zip(part) {
            *byte = *value;
        }
    }

    fn duplicate(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let end = (at + 1 + self.below(64)).min(bytes.len());
        let block = bytes[at..end].to_vec();
        for _ in 0..=self.below(8) {
            if bytes.len() + block.len() > self.max_len {
                return;
            }
            bytes.splice(at..at, block.iter().copied());
        }
    }
}

/// The input number `index` of the run with `seed`: what to look at when a run names an index.
pub fn case<T: AsRef<[u8]>>(corpus: &[T], tokens: &[&[u8]], seed: u64, index: u64) -> Vec<u8> {
    let mut mixer = Mutator::new(seed);
    let salt = mixer.next_u64();
    Mutator::new(salt.wrapping_add(index)).with_tokens(tokens).mutate(corpus)
}

/// Feeds `count` broken versions of `corpus` to `parse`, which must return for every one of them.
///
/// # Panics
/// When `parse` panics or takes longer than [`SLOW`]; the message gives seed and index for [`case`] and the input in hex.
pub fn run<T: AsRef<[u8]>>(corpus: &[T], seed: u64, count: u64, parse: impl FnMut(&[u8])) {
    run_with_tokens(corpus, &[], seed, count, parse);
}

/// As [`run`] with words of the format.
///
/// # Panics
/// As [`run`].
pub fn run_with_tokens<T: AsRef<[u8]>>(
    corpus: &[T],
    tokens: &[&[u8]],
    seed: u64,
    count: u64,
    mut parse: impl FnMut(&[u8]),
) {
    assert!(!corpus.is_empty(), "an empty corpus tests nothing");
    for index in 0..count {
        let input = case(corpus, tokens, seed, index);
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        let took = start.elapsed();
        let failure = match result {
            Err(_) => Some("panicked".to_owned()),
            Ok(()) if took > SLOW => Some(format!("took {took:?}")),
            Ok(()) => None,
        };
        if let Some(what) = failure {
            panic!("the parser {what}: seed {seed}, index {index}, {} bytes: {}", input.len(), hex(&input));
        }
    }
}

/// How many inputs a fuzz test runs: 10,000, or what `DANQING_FUZZ_COUNT` says (`cargo xtask fuzz` sets it).
pub fn count() -> u64 {
    std::env::var("DANQING_FUZZ_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// All files of `fixtures/corpus/<parser>/` in name order.
///
/// # Panics
/// When the folder is missing or empty.
#[track_caller]
pub fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let folder = crate::fixture_path("corpus").join(parser);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("corpus {}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "corpus {} is empty", folder.display());
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(2048).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 2048 { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let corpus = [b"hello world".as_slice(), b"{\"a\":[1,2,3]}"];
        let inputs = |seed| (0..200).map(|i| case(&corpus, &[b"null"], seed, i)).collect::<Vec<_>>();
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let distinct: std::collections::BTreeSet<_> = inputs(3).into_iter().collect();
        assert!(distinct.len() > 150, "{}", distinct.len());
    }

    #[test]
    fn every_length_of_input_is_survived() {
        for len in 0..70 {
            let sound = vec![b'x'; len];
            run(&[sound], len as u64, 300, |_| ());
        }
    }

    #[test]
    fn inputs_stay_bounded() {
        run(&[vec![7u8; 100_000], vec![1; 3]], 5, 500, |input| assert!(input.len() <= 100_000));
    }

    #[test]
    #[should_panic(expected = "seed 9, index")]
    fn a_panic_names_the_case() {
        run(&[b"aaaaaaaa"], 9, 10_000, |input| assert!(!input.contains(&255)));
    }
}
