//! The files that tokenizers come in: `vocab.json`, `merges.txt`, `bpe_simple_vocab_16e6.txt(.gz)`, `tokenizer.json`,
//! `tokenizer_config.json`, `special_tokens_map.json`. All reading is bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{SpecialToken, SpecialTokens, TokenizerError};

/// More than ten times CLIP's files, unpacked.
const LIMIT: u64 = 64 << 20;
/// The merges of `bpe_simple_vocab_16e6.txt` that CLIP uses: 49152 tokens less two alphabets and two special tokens.
const CLIP_MERGES: usize = 49152 - 256 - 2;

/// A model longer than this is transformers' way of saying "no limit" (it writes 1e30).
const LONGEST_MODEL: u64 = 1 << 20;

pub(super) fn file(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let opened = File::open(path).map_err(|source| TokenizerError::Io { path: path.into(), source })?;
    bounded(opened, path)
}

fn bounded(reader: impl Read, path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let mut bytes = Vec::new();
    let read = reader.take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|source| TokenizerError::Io { path: path.into(), source })?;
    if bytes.len() as u64 > LIMIT {
        return Err(TokenizerError::TooLarge { path: path.into(), size: bytes.len() as u64, limit: LIMIT });
    }
    Ok(bytes)
}

/// The pairs of a `merges.txt`; a first line `#version` is passed over.
pub(super) fn merges(text: &[u8]) -> Result<Vec<(String, String)>, TokenizerError> {
    let text = std::str::from_utf8(text)
        .map_err(|error| TokenizerError::Malformed(format!("the merges (merges.txt) are not UTF-8: {error}")))?;
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || (number == 0 && line.contains("#version")) {
            continue;
        }
        pairs.push(pair(line).ok_or_else(|| {
            TokenizerError::Malformed(format!(
                "line {} of the merges is {:?}, not two tokens with a blank between",
                number + 1,
                line.chars().take(60).collect::<String>()
            ))
        })?);
    }
    Ok(pairs)
}

fn pair(line: &str) -> Option<(String, String)> {
    let (left, right) = line.split_once(' ')?;
    (!left.is_empty() && !right.is_empty() && !right.contains(' ')).then(|| (left.to_owned(), right.to_owned()))
}

/// The merges of OpenAI's file, of which CLIP uses only the first 48 894.
pub(super) fn bpe_simple_vocab(path: &Path) -> Result<Vec<(String, String)>, TokenizerError> {
    let mut bytes = file(path)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = bounded(flate2::read::GzDecoder::new(bytes.as_slice()), path)?;
    }
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut head: Vec<u8> = lines.next().map(<[u8]>::to_vec).unwrap_or_default();
    for line in lines.take(CLIP_MERGES) {
        head.push(b'\n');
        head.extend_from_slice(line);
    }
    let pairs = merges(&head)?;
    if pairs.len() < CLIP_MERGES {
        return Err(TokenizerError::Malformed(format!(
            "{}: {} merges where CLIP's list has {CLIP_MERGES}; the file is cut short",
            path.display(),
            pairs.len()
        )));
    }
    Ok(pairs)
}

/// What one `tokenizer.json` holds of a CLIP tokenizer.
pub(super) struct TokenizerJson {
    pub vocab: HashMap<String, u32>,
    pub merges: Vec<(String, String)>,
    pub added: Vec<SpecialToken>,
}

pub(super) fn tokenizer_json(bytes: &[u8]) -> Result<TokenizerJson, TokenizerError> {
    let malformed = |what: &str| TokenizerError::Malformed(format!("tokenizer.json: {what}"));
    let json = parse(bytes, "tokenizer.json")?;
    let model = &json["model"];
    if !matches!(model["type"].as_str(), Some("BPE") | None) || model["end_of_word_suffix"].as_str() != Some("</w>") {
        return Err(malformed("not a byte-pair tokenizer with `</w>` word ends, so not CLIP's"));
    }
    let mut vocab = HashMap::new();
    for (token, id) in model["vocab"].as_object().ok_or_else(|| malformed("no model.vocab"))? {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        vocab.insert(token.clone(), id.ok_or_else(|| malformed("an id of model.vocab is no 32-bit number"))?);
    }
    let list = model["merges"].as_array().ok_or_else(|| malformed("no model.merges"))?;
    let merge = |value: &Value| match value {
        Value::String(line) => pair(line),
        Value::Array(two) => match two.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left.clone(), right.clone())),
            _ => None,
        },
        _ => None,
    };
    let merges: Option<Vec<_>> = list.iter().map(merge).collect();
    let mut added = Vec::new();
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        if let (Some(content), Some(id)) = (token["content"].as_str(), token["id"].as_u64()) {
            if let Ok(id) = u32::try_from(id) {
                vocab.entry(content.to_owned()).or_insert(id);
            }
            added.push(special(token).unwrap_or_else(|| SpecialToken::verbatim(content)));
        }
    }
    Ok(TokenizerJson { vocab, merges: merges.ok_or_else(|| malformed("an entry of model.merges is no pair"))?, added })
}

fn parse(bytes: &[u8], what: &'static str) -> Result<Value, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|source| TokenizerError::Json { what, source })
}

/// A special token written as a string or as an object with flags.
fn special(value: &Value) -> Option<SpecialToken> {
    match value {
        Value::String(content) => Some(SpecialToken::verbatim(content)),
        Value::Object(fields) => Some(SpecialToken {
            content: fields.get("content")?.as_str()?.to_owned(),
            normalized: fields.get("normalized").and_then(Value::as_bool).unwrap_or(false),
        }),
        _ => None,
    }
}

/// The named special tokens of a folder, and those that its configuration lists with flags of their own.
pub(super) fn folder_specials(folder: &Path) -> Result<(SpecialTokens, Vec<SpecialToken>), TokenizerError> {
    let optional = |name: &str, what: &'static str| {
        let path = folder.join(name);
        if path.is_file() { parse(&file(&path)?, what) } else { Ok(Value::Null) }
    };
    let config = optional("tokenizer_config.json", "tokenizer_config.json")?;
    let map = optional("special_tokens_map.json", "special_tokens_map.json")?;
    let standard = SpecialTokens::default();
    let named = |key: &str, usual: SpecialToken| special(&config[key]).or_else(|| special(&map[key])).unwrap_or(usual);
    let length = &config["model_max_length"];
    let specials = SpecialTokens {
        bos: named("bos_token", standard.bos),
        eos: named("eos_token", standard.eos),
        unk: named("unk_token", standard.unk),
        pad: named("pad_token", standard.pad),
        max_length: length.as_u64().filter(|length| *length <= LONGEST_MODEL).map(|length| length as usize),
    };
    let listed = config["added_tokens_decoder"].as_object();
    let extra = listed.into_iter().flat_map(|list| list.values()).filter_map(special).collect();
    Ok((specials, extra))
}
