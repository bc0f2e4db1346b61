//! Which dictionary of a torch file is the state dictionary.

use std::collections::BTreeSet;

use crate::weights::Group;

/// Wrappers of trainers and upscaler zoos, best first: averaged weights before raw ones.
const WRAPPERS: [&str; 14] = [
    "state_dict",
    "params_ema",
    "params-ema",
    "ema_state_dict",
    "ema_model",
    "g_ema",
    "ema",
    "params",
    "model_state_dict",
    "model",
    "net",
    "network",
    "generator",
    "module",
];

/// Deepest wrapping that is unpacked.
const MAX_WRAPS: usize = 4;

/// The prefix (with its final dot, or empty) of the state dictionary's names; `None` when `groups` is empty and no prefix is
/// common.
pub(crate) fn state_dictionary<'a>(
    groups: &[Group],
    names: impl Iterator<Item = &'a String> + Clone,
) -> Option<String> {
    let paths: BTreeSet<(usize, &str)> = groups.iter().map(|g| (g.depth, g.path.as_str())).collect();
    let mut prefix = String::new();
    for depth in 1..=MAX_WRAPS {
        let holds_tensors = |key: &str| {
            let inner = format!("{prefix}{key}.");
            names.clone().any(|name| name.starts_with(&inner))
        };
        let here: Vec<&str> = paths
            .range((depth, "")..(depth + 1, ""))
            .filter_map(|(_, path)| path.strip_prefix(prefix.as_str()))
            .take(1_000)
            .collect();
        let wrapper = WRAPPERS.into_iter().find(|w| here.contains(w) && holds_tensors(w));
        let only = || {
            let [key] = here.as_slice() else { return None };
            let inner = format!("{prefix}{key}.");
            names.clone().filter(|n| n.starts_with(&prefix)).all(|n| n.starts_with(&inner)).then_some(*key)
        };
        match wrapper.or_else(only) {
            Some(key) => prefix = format!("{prefix}{key}."),
            None => break,
        }
    }
    (!groups.is_empty() || names.clone().all(|n| n.starts_with("module."))).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(groups: &[(&str, usize)], names: &[&str]) -> Option<String> {
        let groups: Vec<Group> = groups.iter().map(|&(path, depth)| Group { path: path.to_owned(), depth }).collect();
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        state_dictionary(&groups, names.iter())
    }

    #[test]
    fn wrappers_are_unpacked_but_name_parts_are_not() {
        assert_eq!(prefix(&[], &["model.diffusion_model.x"]), None);
        assert_eq!(prefix(&[("state_dict", 1)], &["state_dict.model.diffusion_model.x", "lr"]).unwrap(), "state_dict.");
        assert_eq!(prefix(&[("params", 1), ("params_ema", 1)], &["params.a", "params_ema.a"]).unwrap(), "params_ema.");
        assert_eq!(prefix(&[("model", 1), ("model.params", 2)], &["model.params.a"]).unwrap(), "model.params.");
        assert_eq!(prefix(&[("weird", 1)], &["weird.a"]).unwrap(), "weird.");
        assert_eq!(prefix(&[("weird", 1)], &["weird.a", "b"]).unwrap(), "");
    }
}
