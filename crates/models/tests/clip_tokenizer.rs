//! The CLIP tokenizer against transformers' own ids (`reference/gen_tokenizer.py`), with the real vocabulary.

use std::path::{Path, PathBuf};

use danqing_models::tokenizers::{ClipTokenizer, SpecialTokens};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn tokenizer_folder() -> Option<PathBuf> {
    let assets = std::env::var_os("DANQING_TEST_ASSETS");
    if assets.is_none() {
        println!("skipped: DANQING_TEST_ASSETS is not set");
    }
    Some(PathBuf::from(assets?).join("weights/tokenizers/clip"))
}

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/tokenizer/clip.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn ids_equal_those_of_transformers() {
    let Some(folder) = tokenizer_folder() else { return };
    let first = ClipTokenizer::from_folder(&folder).unwrap();
    let second = ClipTokenizer::from_bpe(&folder.join("bpe_simple_vocab_16e6.txt.gz")).unwrap();
    let second = second.with_pad_token("!").unwrap();
    let golden = golden();
    assert_eq!(first.max_length().map(|length| length as u64), golden["max_length"].as_u64());
    assert_eq!(first.vocab_size(), second.vocab_size());
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 300);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected = ids(&case["ids"]);
        assert_eq!(first.encode(text), expected, "{text:?}");
        assert_eq!(first.decode(&expected, false), case["decoded"].as_str().unwrap(), "{text:?}");
        // The two folders of diffusers match `<|startoftext|>` in other letter cases differently; that is tested by folder.
        if let Some(other) = case.get("second").filter(|_| !text.contains("<|")) {
            assert_eq!(second.encode(text), ids(other), "{text:?}, second tokenizer");
        }
    }
    for case in golden["padded"].as_array().unwrap() {
        let (text, length) = (case["text"].as_str().unwrap(), case["length"].as_u64().unwrap() as usize);
        assert_eq!(first.encode_padded(text, length), ids(&case["first"]), "{text:?}");
        assert_eq!(second.encode_padded(text, length), ids(&case["second"]), "{text:?}");
    }
}

#[test]
fn the_second_folder_matches_special_tokens_as_transformers_does() {
    let Some(folder) = tokenizer_folder() else { return };
    let mixed = std::env::temp_dir().join(format!("danqing-clip-second-{}", std::process::id()));
    std::fs::create_dir_all(&mixed).unwrap();
    for (from, name) in [("clip", "vocab.json"), ("clip", "merges.txt"), ("clip_g", "tokenizer_config.json")] {
        std::fs::copy(folder.parent().unwrap().join(from).join(name), mixed.join(name)).unwrap();
    }
    let second = ClipTokenizer::from_folder(&mixed).unwrap();
    std::fs::remove_dir_all(&mixed).unwrap();
    for case in golden()["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(second.encode(text), ids(case.get("second").unwrap_or(&case["ids"])), "{text:?}");
    }
}

#[test]
fn every_unicode_character_is_read_as_transformers_reads_it() {
    let Some(folder) = tokenizer_folder() else { return };
    let tokenizer = ClipTokenizer::from_folder(&folder).unwrap();
    for (plane, expected) in (0u32..).zip(golden()["sweep"].as_array().unwrap()) {
        let mut digest = Sha256::new();
        for c in (plane << 16..(plane + 1) << 16).filter_map(char::from_u32) {
            let row = tokenizer.encode(&format!("a{c}b")).into_iter().chain([u32::MAX]);
            digest.update(row.flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        }
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.as_str().unwrap(), "plane {plane}");
    }
}

#[test]
fn long_hostile_text_stays_fast() {
    let Some(folder) = tokenizer_folder() else { return };
    let tokenizer = ClipTokenizer::from_folder(&folder).unwrap();
    for unit in ["a", "ab", "!", "'s", "<|endoftext|>", "\u{301}", "é", "猫", "\u{ac00}", "<|"] {
        let text = unit.repeat((32 << 10) / unit.len());
        let begun = std::time::Instant::now();
        assert!(tokenizer.encode(&text).len() <= text.len());
        assert!(begun.elapsed().as_secs() < 5, "{unit:?} took {:?}", begun.elapsed());
    }
}

#[test]
fn broken_tokenizer_files_never_panic() {
    let vocab = r##"{"!": 0, "a": 1, "c": 2, "t": 3, "a</w>": 4, "t</w>": 5, "at</w>": 6, "ca": 7, "cat</w>": 8, "<|startoftext|>": 9, "<|endoftext|>": 10}"##;
    let merges = "#version: 0.2\na t</w>\nc a\nc at</w>\n";
    let json = format!(
        r##"{{"added_tokens": [{{"id": 0, "content": "!", "normalized": false}}], "model": {{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {vocab}, "merges": ["a t</w>", ["c", "a"], "c at</w>"]}}}}"##
    );
    let usual = SpecialTokens::default();
    let sound = ClipTokenizer::from_json(json.as_bytes()).unwrap();
    let plain = ClipTokenizer::from_bytes(vocab.as_bytes(), merges.as_bytes(), &usual, &[]).unwrap();
    assert_eq!((sound.encode("a cat"), plain.encode("a cat")), (vec![4, 8], vec![4, 8]));

    danqing_testing::mutate::run(&[vocab, merges, &json], 3, danqing_testing::mutate::count(), |bytes| {
        let made = [
            ClipTokenizer::from_bytes(bytes, merges.as_bytes(), &usual, &[]),
            ClipTokenizer::from_bytes(vocab.as_bytes(), bytes, &usual, &[]),
            ClipTokenizer::from_json(bytes),
        ];
        for tokenizer in made.into_iter().flatten() {
            let ids = tokenizer.encode("a cat, 两只红色的猫! <|endoftext|>");
            assert!(tokenizer.decode(&ids, false).len() <= 64 * (ids.len() + 1) + bytes.len() * ids.len());
        }
    });
}
