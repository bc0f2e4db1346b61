//! The vocabulary trainer against the plain definition, and its ids against transformers (`reference/gen_vocabulary.py`).

use danqing_testing::fixture_path;
use danqing_training::vocabulary::{VocabularyOptions, train};
use serde_json::Value;

fn read(name: &str) -> String {
    std::fs::read_to_string(fixture_path("reference/vocabulary").join(name)).unwrap()
}

#[test]
fn trains_what_the_definition_says_and_reads_as_transformers_does() {
    let golden: Value = serde_json::from_str(&read("vocabulary.json")).unwrap();
    let corpus = golden["corpus"].as_array().unwrap().iter();
    let corpus: Vec<(&str, u64)> = corpus.map(|row| (row[0].as_str().unwrap(), row[1].as_u64().unwrap())).collect();
    let number = |key: &str| golden[key].as_u64().unwrap();
    let options = VocabularyOptions {
        entries: number("entries") as usize,
        least_count: number("least_count"),
        wide_characters: number("wide_characters") as usize,
    };
    let vocabulary = train(corpus.iter().copied(), &options);
    assert_eq!(vocabulary.merges_txt(), read("merges.txt"));
    assert_eq!(vocabulary.vocab_json(), read("vocab.json"));

    let backwards = train(corpus.iter().rev().copied(), &options);
    assert_eq!(vocabulary, backwards, "the order of the corpus must not matter");

    let tokenizer = vocabulary.tokenizer(77).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let expected: Vec<u32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(case["text"].as_str().unwrap()), expected, "{case}");
    }
}

#[test]
fn a_han_character_stays_a_token_and_entries_are_bounded() {
    let corpus = [("两只红色的猫在蓝色背景上", 1000), ("two red cats", 10)];
    let vocabulary = train(corpus, &VocabularyOptions::default());
    let tokenizer = vocabulary.tokenizer(32).unwrap();
    assert_eq!(tokenizer.encode("两只红色的猫在蓝色背景上").len(), 12);
    assert_eq!(tokenizer.encode("two red cats").len(), 3);
    let small = train(corpus, &VocabularyOptions { entries: 520, ..VocabularyOptions::default() });
    assert_eq!(small.tokens.len(), 520);
    assert_eq!(train([], &VocabularyOptions::default()).tokens.len(), 514);
}

#[test]
fn a_written_folder_loads() {
    let folder = std::env::temp_dir().join(format!("danqing-vocabulary-{}", std::process::id()));
    let vocabulary = train([("a red cat", 5), ("a blue cat", 4)], &VocabularyOptions::default());
    vocabulary.write(&folder, 32).unwrap();
    let tokenizer = danqing_models::tokenizers::ClipTokenizer::from_folder(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(tokenizer.max_length(), Some(32));
    assert_eq!(
        tokenizer.encode_padded("a red cat", 8),
        vocabulary.tokenizer(32).unwrap().encode_padded("a red cat", 8)
    );
}
