//! Held-out combinations: which (thing, colour), (thing, count) and pairs of things training never shows. The choice hangs on the names
//! alone (a stable hash), so it does not move when things are added.

use super::concept::Concept;
use super::dice::stable_hash;

/// Of a hundred combinations, how many are held out.
pub const HELD_OUT_PERCENT: u64 = 12;

/// Which side of the rule a generator stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Never a held-out combination.
    Train,
    /// Every scene shows a held-out combination.
    HeldOut,
}

fn held(text: &str) -> bool {
    stable_hash(text) % 100 < HELD_OUT_PERCENT
}

/// Whether this thing in this object colour is held out.
pub fn colour_held_out(concept: &Concept, colour_en: &str) -> bool {
    held(&format!("colour|{}|{colour_en}", concept.id))
}

/// Whether this many (two or more) of this thing are held out; one is never.
pub fn count_held_out(concept: &Concept, count: usize) -> bool {
    count > 1 && held(&format!("count|{}|{count}", concept.id))
}

/// Whether these two things together are held out, in whichever order.
pub fn pair_held_out(x: &Concept, y: &Concept) -> bool {
    let (first, second) = if x.id < y.id { (x, y) } else { (y, x) };
    held(&format!("pair|{}|{}", first.id, second.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::colour::OBJECT_COLOURS;
    use crate::data::concept::concepts;

    #[test]
    fn about_one_in_eight_is_held_out() {
        let list = concepts().expect("list");
        let colours = list.iter().flat_map(|c| OBJECT_COLOURS.iter().map(move |k| colour_held_out(c, k.en)));
        let counts = list.iter().flat_map(|c| (2..=4).map(move |n| count_held_out(c, n)));
        let pairs = list.iter().flat_map(|x| list.iter().map(move |y| pair_held_out(x, y)));
        for (name, all) in
            [("colours", colours.collect::<Vec<_>>()), ("counts", counts.collect()), ("pairs", pairs.collect())]
        {
            let share = all.iter().filter(|&&h| h).count() as f32 / all.len() as f32;
            assert!((0.09..0.15).contains(&share), "{name} {share}");
        }
        assert!(!list.iter().any(|c| count_held_out(c, 1)));
        let (x, y) = (&list[0], &list[7]);
        assert_eq!(pair_held_out(x, y), pair_held_out(y, x));
    }
}
