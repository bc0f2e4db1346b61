//! Names and shapes of a file's tensors: what architectures are told apart by.

use std::collections::BTreeMap;

use danqing_nn::TensorSource;

/// Names and shapes of a file's tensors.
#[derive(Debug, Clone, Default)]
pub struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    /// Those of a file.
    pub fn of(source: &dyn TensorSource) -> Self {
        Self(source.names().into_iter().filter_map(|name| Some((name.clone(), source.shape(&name)?))).collect())
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all these tensors are there.
    pub fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.0.contains_key(*name))
    }

    /// All names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Shape of a tensor of `N` dimensions, none of them zero or larger than a network's could be.
    pub fn get<const N: usize>(&self, name: &str) -> Option<[usize; N]> {
        let shape: [usize; N] = self.0.get(name)?.as_slice().try_into().ok()?;
        shape.iter().all(|d| (1..=1 << 20).contains(d)).then_some(shape)
    }

    /// How many of `before0after`, `before1after`, … there are, counted from `first`.
    pub fn count(&self, before: &str, after: &str, first: usize) -> usize {
        (first..).take_while(|i| self.0.contains_key(&format!("{before}{i}{after}"))).count()
    }

    /// How many names match one of `patterns`, in which `*` stands for a number.
    pub(crate) fn alike(&self, patterns: &[&str]) -> usize {
        let matches = |name: &str, pattern: &str| {
            let (mut a, mut b) = (name.split('.'), pattern.split('.'));
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if segment(a, b) => {}
                    _ => return false,
                }
            }
        };
        self.0.keys().filter(|name| patterns.iter().any(|pattern| matches(name, pattern))).count()
    }
}

/// Whether part of a name matches part of a pattern, `conv3` matching `conv*`.
fn segment(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => name
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())),
    }
}

/// Factor and colours of a pixel shuffle that has `channels` channels, for a network of pictures with `colours` channels.
pub(crate) fn shuffle_factor(channels: usize, colours: usize) -> Option<usize> {
    let square = channels.checked_div(colours)?;
    let factor = square.isqrt();
    (factor > 0 && factor * factor * colours == channels && factor <= 16).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_numbers_only() {
        let names = ["block_1.c1.weight", "block_12.c1.weight", "block_x.c1.weight", "block_1.c1", "a.7.b"];
        let shapes = Shapes(names.iter().map(|n| (n.to_string(), vec![1])).collect());
        assert_eq!(shapes.alike(&["block_*.c1.weight"]), 2);
        assert_eq!(shapes.alike(&["a.*.b", "block_*.c1"]), 2);
        assert_eq!(shapes.count("block_", ".c1.weight", 1), 1);
    }

    #[test]
    fn pixel_shuffles_tell_their_factor() {
        assert_eq!(shuffle_factor(48, 3), Some(4));
        assert_eq!(shuffle_factor(3, 3), Some(1));
        assert_eq!(shuffle_factor(50, 3), None);
        assert_eq!(shuffle_factor(0, 3), None);
        assert_eq!(shuffle_factor(4, 0), None);
    }
}
