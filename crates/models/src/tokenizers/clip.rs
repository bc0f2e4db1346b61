//! CLIP's tokenizer (Radford et al. 2021, arXiv:2103.00020, §2.4): lower-cased byte-level BPE with `</w>` at word ends.
//!
//! The order of events is that of transformers 5 (`CLIPTokenizer` over the *tokenizers* library): special tokens that are
//! matched as written are taken out of the raw text; what is left is normalised; special tokens that are matched after
//! normalisation are taken out; the rest is split into words and merged.

use std::collections::HashMap;
use std::path::Path;

use regex::Regex;

use super::bytes::{BYTE_ORDER, byte_to_char, char_to_byte};
use super::merge::{Merges, merge_word};
use super::{TokenizerError, read, split};

const END_OF_WORD: &str = "</w>";

/// A token that is found in the text as a whole instead of being spelt by merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its text.
    pub content: String,
    /// Looked for in the normalised text (so in any letter case) rather than in the text as written.
    pub normalized: bool,
}

impl SpecialToken {
    /// A token looked for as written.
    #[must_use]
    pub fn verbatim(content: &str) -> Self {
        Self { content: content.to_owned(), normalized: false }
    }
}

/// The named special tokens of a tokenizer and the length that its model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins every sequence.
    pub bos: SpecialToken,
    /// Ends every sequence.
    pub eos: SpecialToken,
    /// Stands for a byte without a token (never needed with a full byte alphabet).
    pub unk: SpecialToken,
    /// Fills a sequence up: `<|endoftext|>` for CLIP L and H, `!` for OpenCLIP bigG in diffusers' folders.
    pub pad: SpecialToken,
    /// Positions of the model, both ends included; `None` where the configuration says nothing.
    pub max_length: Option<usize>,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        let eos = SpecialToken::verbatim("<|endoftext|>");
        Self {
            bos: SpecialToken::verbatim("<|startoftext|>"),
            eos: eos.clone(),
            unk: eos.clone(),
            pad: eos,
            max_length: None,
        }
    }
}

/// Finds special tokens in a text, longest first where several begin at one place.
#[derive(Debug, Clone, Default)]
struct Finder {
    pattern: Option<Regex>,
    ids: HashMap<String, u32>,
}

impl Finder {
    fn new(mut tokens: Vec<(String, u32)>) -> Result<Self, TokenizerError> {
        tokens.retain(|(content, _)| !content.is_empty());
        if tokens.is_empty() {
            return Ok(Self::default());
        }
        tokens.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
        let alternatives: Vec<String> = tokens.iter().map(|(content, _)| regex::escape(content)).collect();
        let pattern = Regex::new(&alternatives.join("|")).map_err(|error| {
            TokenizerError::Malformed(format!("the special tokens are too many or too long: {error}"))
        })?;
        Ok(Self { pattern: Some(pattern), ids: tokens.into_iter().collect() })
    }

    /// Calls `plain` for the text between special tokens and `special` for their ids.
    fn walk<S>(&self, text: &str, state: &mut S, plain: impl Fn(&str, &mut S), special: impl Fn(u32, &mut S)) {
        let mut done = 0;
        if let Some(pattern) = &self.pattern {
            for found in pattern.find_iter(text) {
                plain(&text[done..found.start()], state);
                if let Some(&id) = self.ids.get(found.as_str()) {
                    special(id, state);
                }
                done = found.end();
            }
        }
        plain(&text[done..], state);
    }
}

/// CLIP's byte-pair tokenizer.
#[derive(Debug, Clone)]
pub struct ClipTokenizer {
    vocab: HashMap<String, u32>,
    tokens: HashMap<u32, String>,
    merges: Merges,
    /// Ids of single bytes inside a word and at its end.
    inner: [u32; 256],
    ending: [u32; 256],
    raw_specials: Finder,
    normalized_specials: Finder,
    special_ids: Vec<u32>,
    bos: u32,
    eos: u32,
    pad: u32,
    max_length: Option<usize>,
}

impl ClipTokenizer {
    /// From `vocab.json` and `merges.txt`, with the usual special tokens.
    ///
    /// # Errors
    /// When a file is missing, too large, not of the format, or when the two do not fit each other.
    pub fn from_files(vocab: &Path, merges: &Path) -> Result<Self, TokenizerError> {
        let vocab = read::file(vocab)?;
        let merges = read::file(merges)?;
        Self::from_bytes(&vocab, &merges, &SpecialTokens::default(), &[])
    }

    /// From the contents of `vocab.json` and `merges.txt`. `extra` are further special tokens.
    ///
    /// # Errors
    /// As [`from_files`](Self::from_files).
    pub fn from_bytes(
        vocab_json: &[u8],
        merges_txt: &[u8],
        specials: &SpecialTokens,
        extra: &[SpecialToken],
    ) -> Result<Self, TokenizerError> {
        let vocab = serde_json::from_slice(vocab_json)
            .map_err(|source| TokenizerError::Json { what: "the vocabulary (vocab.json)", source })?;
        Self::build(vocab, &read::merges(merges_txt)?, specials, extra)
    }

    /// From a folder as diffusers and transformers write it: `vocab.json` + `merges.txt` or `tokenizer.json`, with
    /// `tokenizer_config.json` and `special_tokens_map.json` where there are any.
    ///
    /// # Errors
    /// As [`from_files`](Self::from_files).
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        let (specials, extra) = read::folder_specials(folder)?;
        let vocab = folder.join("vocab.json");
        if vocab.is_file() {
            let merges = read::file(&folder.join("merges.txt"))?;
            return Self::from_bytes(&read::file(&vocab)?, &merges, &specials, &extra);
        }
        let parsed = read::tokenizer_json(&read::file(&folder.join("tokenizer.json"))?)?;
        let extra: Vec<_> = if extra.is_empty() { parsed.added } else { extra };
        Self::build(parsed.vocab, &parsed.merges, &specials, &extra)
    }

    /// From the contents of one `tokenizer.json`, with the usual names of the special tokens.
    ///
    /// # Errors
    /// When it is not a byte-level BPE with `</w>` word ends.
    pub fn from_json(tokenizer_json: &[u8]) -> Result<Self, TokenizerError> {
        let parsed = read::tokenizer_json(tokenizer_json)?;
        Self::build(parsed.vocab, &parsed.merges, &SpecialTokens::default(), &parsed.added)
    }

    /// From OpenAI's `bpe_simple_vocab_16e6.txt`, gzipped or plain: the vocabulary follows from the merges.
    ///
    /// # Errors
    /// When the file cannot be read or is no list of merges.
    pub fn from_bpe(path: &Path) -> Result<Self, TokenizerError> {
        let merges = read::bpe_simple_vocab(path)?;
        let mut names: Vec<String> = BYTE_ORDER.iter().map(|&byte| byte_to_char(byte).to_string()).collect();
        names.extend(BYTE_ORDER.iter().map(|&byte| format!("{}{END_OF_WORD}", byte_to_char(byte))));
        names.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
        names.extend(["<|startoftext|>".to_owned(), "<|endoftext|>".to_owned()]);
        let vocab = names.into_iter().zip(0..).collect();
        Self::build(vocab, &merges, &SpecialTokens::default(), &[])
    }

    pub(super) fn build(
        vocab: HashMap<String, u32>,
        merge_list: &[(String, String)],
        specials: &SpecialTokens,
        extra: &[SpecialToken],
    ) -> Result<Self, TokenizerError> {
        let id_of = |token: &str, role: &str| {
            vocab.get(token).copied().ok_or_else(|| {
                TokenizerError::Malformed(format!("the vocabulary has no {token:?}, which is to be the {role} token"))
            })
        };
        let bos = id_of(&specials.bos.content, "begin")?;
        let eos = id_of(&specials.eos.content, "end")?;
        let pad = id_of(&specials.pad.content, "padding")?;
        let unk = vocab.get(&specials.unk.content).copied().unwrap_or(eos);
        let byte_ids = |suffix: &str| {
            std::array::from_fn(|byte| {
                let name = format!("{}{suffix}", byte_to_char(byte as u8));
                vocab.get(&name).copied().unwrap_or(unk)
            })
        };
        let (inner, ending) = (byte_ids(""), byte_ids(END_OF_WORD));

        let mut merges = Merges::with_capacity(merge_list.len());
        for (rank, (left, right)) in merge_list.iter().enumerate() {
            let merged = format!("{left}{right}");
            let ids = (vocab.get(left), vocab.get(right), vocab.get(&merged));
            let (Some(&left_id), Some(&right_id), Some(&merged_id)) = ids else {
                return Err(TokenizerError::Malformed(format!(
                    "merge {rank} ({left:?} + {right:?}) uses a token that the vocabulary lacks; vocabulary and merges must \
                     come from the same tokenizer"
                )));
            };
            merges.entry((left_id, right_id)).or_insert((rank as u32, merged_id));
        }

        // A later mention of the same text decides how it is matched, but `extra` (a list with its own flags) has the last word.
        let mut special: Vec<(SpecialToken, u32)> = Vec::new();
        for token in [&specials.bos, &specials.eos, &specials.unk, &specials.pad].into_iter().chain(extra) {
            let Some(&id) = vocab.get(&token.content) else { continue };
            special.retain(|(known, _)| known.content != token.content);
            special.push((token.clone(), id));
        }
        let special_ids = special.iter().map(|(_, id)| *id).collect();
        let (normal, raw): (Vec<_>, Vec<_>) = special.into_iter().partition(|(token, _)| token.normalized);
        let raw_specials = Finder::new(raw.into_iter().map(|(token, id)| (token.content, id)).collect())?;
        let normalized_specials =
            Finder::new(normal.into_iter().map(|(token, id)| (split::normalize(&token.content), id)).collect())?;

        let tokens = vocab.iter().map(|(token, &id)| (id, token.clone())).collect();
        let max_length = specials.max_length;
        Ok(Self {
            vocab,
            tokens,
            merges,
            inner,
            ending,
            raw_specials,
            normalized_specials,
            special_ids,
            bos,
            eos,
            pad,
            max_length,
        })
    }

    /// The ids of `text`, without begin and end tokens.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.raw_specials.walk(text, &mut ids, |part, ids| self.encode_part(part, ids), |id, ids| ids.push(id));
        ids
    }

    fn encode_part(&self, raw: &str, ids: &mut Vec<u32>) {
        if raw.is_empty() {
            return;
        }
        let normalized = split::normalize(raw);
        let plain = |part: &str, ids: &mut Vec<u32>| split::words(part).for_each(|word| self.encode_word(word, ids));
        self.normalized_specials.walk(&normalized, ids, plain, |id, ids| ids.push(id));
    }

    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let mut symbols: Vec<u32> = word.bytes().map(|byte| self.inner[byte as usize]).collect();
        if let (Some(symbol), Some(byte)) = (symbols.last_mut(), word.as_bytes().last()) {
            *symbol = self.ending[*byte as usize];
        }
        merge_word(&self.merges, &symbols, ids);
    }

    /// Begin token, `text` cut to fit, end token, filled with the padding token to `length` positions.
    ///
    /// Returns an empty list for `length` 0 and never more than `length` ids.
    #[must_use]
    pub fn encode_padded(&self, text: &str, length: usize) -> Vec<u32> {
        let mut ids = vec![self.bos];
        ids.extend(self.encode(text).into_iter().take(length.saturating_sub(2)));
        ids.push(self.eos);
        ids.resize(length, self.pad);
        ids
    }

    /// The text of `ids`, as transformers prints it (a blank after every word); `skip_special` leaves special tokens out.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            let Some(token) = self.tokens.get(id) else { continue };
            if skip_special && self.special_ids.contains(id) {
                continue;
            }
            match token.chars().map(char_to_byte).collect::<Option<Vec<u8>>>() {
                Some(spelt) => bytes.extend(spelt),
                None => bytes.extend_from_slice(token.as_bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).replace(END_OF_WORD, " ").trim().to_owned()
    }

    /// The id of a token by its text in the vocabulary (`"cat</w>"`, `",</w>"`).
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocab.get(token).copied()
    }

    /// The text in the vocabulary of an id.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(&id).map(String::as_str)
    }

    /// Number of entries.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// The token that begins a sequence.
    #[must_use]
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// The token that ends a sequence; CLIP's pooled output is read at its first place.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The token that fills a sequence up.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Positions of the model with both ends, where the configuration names them.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// The same tokenizer padding with `id`, while the text of that token stays ordinary text (A1111 and ComfyUI pad
    /// OpenCLIP bigG with 0 and still read `!` as a word).
    #[must_use]
    pub fn padding_with(mut self, id: u32) -> Self {
        self.pad = id;
        self
    }

    /// The same tokenizer padding with the token `content`, which is also taken out of the text wherever it stands
    /// (transformers with `pad_token: "!"`, as in diffusers' SDXL folders).
    ///
    /// # Errors
    /// When the vocabulary has no such token.
    pub fn with_pad_token(mut self, content: &str) -> Result<Self, TokenizerError> {
        let id = self.id(content).ok_or_else(|| {
            TokenizerError::Malformed(format!("the vocabulary has no {content:?}, which is to be the padding token"))
        })?;
        let mut raw: Vec<(String, u32)> = self.raw_specials.ids.drain().collect();
        raw.retain(|(known, _)| known != content);
        raw.push((content.to_owned(), id));
        self.raw_specials = Finder::new(raw)?;
        self.special_ids.push(id);
        self.pad = id;
        Ok(self)
    }
}
