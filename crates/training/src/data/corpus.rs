//! The captions as a corpus for the vocabulary trainer.

use std::collections::BTreeMap;

use super::scene::SceneGenerator;
use super::words::known_words;

/// Distinct captions with their counts: `samples` scenes from index 0, and every name of every thing `samples / 2000 + 1` times more, so
/// that no name is missing however rarely it was drawn.
pub fn caption_corpus(generator: &SceneGenerator, samples: u64) -> BTreeMap<String, u64> {
    let mut corpus = BTreeMap::new();
    for index in 0..samples {
        *corpus.entry(generator.plan(index).caption).or_insert(0) += 1;
    }
    for thing in known_words(generator.library().concepts()).things {
        for name in thing.en.into_iter().chain(thing.zh) {
            *corpus.entry(name).or_insert(0) += samples / 2000 + 1;
        }
    }
    corpus
}
