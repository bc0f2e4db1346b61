//! Makes a text encoder's vocabulary: byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) in CLIP's form.
//!
//! Words are split as CLIP's tokenizer splits them, spelt in bytes with `</w>` at the end, and the most frequent pair is merged
//! again and again. Ties go to the pair with the smaller ids (left first), so a corpus has one vocabulary. Ids are laid out as in
//! CLIP's file: 256 bytes, 256 bytes at a word's end, the merges in order, begin, end.
//!
//! Chinese is written without blanks, so a whole caption would count as one word and frequent captions would become tokens of
//! their own that say nothing about new ones. `wide_characters` bounds how many characters of three or more UTF-8 bytes a token
//! may span; 1 keeps every Han character a token.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;

use danqing_models::tokenizers::bytes::{BYTE_ORDER, byte_to_char};
use danqing_models::tokenizers::split::{normalize, words};
use danqing_models::tokenizers::{ClipTokenizer, SpecialTokens, TokenizerError};

const BOS: &str = "<|startoftext|>";
const EOS: &str = "<|endoftext|>";
const END_OF_WORD: &str = "</w>";
/// Entries that every vocabulary has: two alphabets of bytes, begin and end.
const FIXED: usize = 514;

/// What kind of vocabulary is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VocabularyOptions {
    /// At most this many entries, the 514 fixed ones included. A small corpus gives fewer.
    pub entries: usize,
    /// Pairs seen less often than this are not merged.
    pub least_count: u64,
    /// A token spans at most this many characters of three or more UTF-8 bytes (Han, kana, Hangul, emoji …).
    pub wide_characters: usize,
}

impl Default for VocabularyOptions {
    fn default() -> Self {
        Self { entries: 6144, least_count: 2, wide_characters: 1 }
    }
}

/// A trained vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Texts of the tokens by id.
    pub tokens: Vec<String>,
    /// Merged pairs in order of rank.
    pub merges: Vec<(String, String)>,
}

/// Trains a vocabulary on texts with their counts.
#[must_use]
pub fn train<'a>(corpus: impl IntoIterator<Item = (&'a str, u64)>, options: &VocabularyOptions) -> Vocabulary {
    let mut trainer = Trainer::new(corpus, options.wide_characters);
    let mut merges = Vec::new();
    while trainer.tokens.len() + 2 < options.entries.max(FIXED) {
        let Some(pair) = trainer.most_frequent(options.least_count.max(1)) else { break };
        merges.push((trainer.names[pair.0 as usize].clone(), trainer.names[pair.1 as usize].clone()));
        trainer.merge(pair);
    }
    let mut tokens = trainer.names;
    tokens.extend([BOS.to_owned(), EOS.to_owned()]);
    Vocabulary { tokens, merges }
}

type Pair = (u32, u32);

struct Word {
    symbols: Vec<u32>,
    count: u64,
}

/// A place in the queue: count, then the smaller pair first.
type Ranked = (u64, std::cmp::Reverse<Pair>);

struct Trainer {
    words: Vec<Word>,
    /// The bytes of every token, and its text.
    tokens: Vec<Vec<u8>>,
    names: Vec<String>,
    counts: HashMap<Pair, u64>,
    places: HashMap<Pair, HashSet<u32>>,
    /// Holds stale entries too; the true count is in `counts`.
    queue: BinaryHeap<Ranked>,
    wide_characters: usize,
}

impl Trainer {
    fn new<'a>(corpus: impl IntoIterator<Item = (&'a str, u64)>, wide_characters: usize) -> Self {
        let mut seen: HashMap<String, u64> = HashMap::new();
        for (text, count) in corpus {
            for word in words(&normalize(text)) {
                *seen.entry(word.to_owned()).or_default() += count;
            }
        }
        let mut seen: Vec<(String, u64)> = seen.into_iter().collect();
        seen.sort();

        let mut id_of_byte = [0u32; 256];
        for (id, byte) in (0u32..).zip(BYTE_ORDER) {
            id_of_byte[byte as usize] = id;
        }
        let words = seen.into_iter().map(|(word, count)| {
            let mut symbols: Vec<u32> = word.bytes().map(|byte| id_of_byte[byte as usize]).collect();
            if let Some(last) = symbols.last_mut() {
                *last += 256;
            }
            Word { symbols, count }
        });
        let alphabet = BYTE_ORDER.iter().map(|&byte| byte_to_char(byte).to_string());
        let mut trainer = Self {
            words: words.collect(),
            tokens: [BYTE_ORDER; 2].concat().into_iter().map(|byte| vec![byte]).collect(),
            names: alphabet.clone().chain(alphabet.map(|name| name + END_OF_WORD)).collect(),
            counts: HashMap::new(),
            places: HashMap::new(),
            queue: BinaryHeap::new(),
            wide_characters: wide_characters.max(1),
        };
        for index in 0..trainer.words.len() {
            trainer.count_word(index as u32, true);
        }
        trainer.queue = trainer.counts.iter().map(|(&pair, &count)| (count, std::cmp::Reverse(pair))).collect();
        trainer
    }

    /// Adds (or takes away) the pairs of one word; returns them.
    fn count_word(&mut self, index: u32, add: bool) -> Vec<Pair> {
        let word = &self.words[index as usize];
        let pairs: Vec<Pair> = word.symbols.windows(2).map(|pair| (pair[0], pair[1])).collect();
        for &pair in &pairs {
            let count = self.counts.entry(pair).or_default();
            if add {
                *count += word.count;
                self.places.entry(pair).or_default().insert(index);
            } else {
                *count -= word.count;
            }
        }
        pairs
    }

    fn most_frequent(&mut self, least: u64) -> Option<Pair> {
        while let Some((count, std::cmp::Reverse(pair))) = self.queue.pop() {
            let current = self.counts.get(&pair).copied().unwrap_or(0);
            if current != count {
                continue;
            }
            if count < least {
                return None;
            }
            if self.spans_few_characters(pair) {
                return Some(pair);
            }
        }
        None
    }

    fn spans_few_characters(&self, (left, right): Pair) -> bool {
        let bytes = [self.tokens[left as usize].as_slice(), &self.tokens[right as usize]].concat();
        // A character begins at each lead byte; bytes before the first one belong to another.
        let wide = bytes.iter().filter(|&&byte| byte >= 0xe0).count();
        let cut = usize::from(bytes[0] & 0xc0 == 0x80 && wide > 0);
        wide + cut <= self.wide_characters
    }

    fn merge(&mut self, pair: Pair) {
        let merged = self.names.len() as u32;
        let bytes = [self.tokens[pair.0 as usize].as_slice(), &self.tokens[pair.1 as usize]].concat();
        let name = format!("{}{}", self.names[pair.0 as usize], self.names[pair.1 as usize]);
        self.tokens.push(bytes);
        self.names.push(name);

        let mut touched = HashSet::new();
        for index in self.places.remove(&pair).unwrap_or_default() {
            touched.extend(self.count_word(index, false));
            let symbols = &mut self.words[index as usize].symbols;
            let (mut read, mut write) = (0, 0);
            while read < symbols.len() {
                let both = read + 1 < symbols.len() && (symbols[read], symbols[read + 1]) == pair;
                symbols[write] = if both { merged } else { symbols[read] };
                read += 1 + usize::from(both);
                write += 1;
            }
            symbols.truncate(write);
            touched.extend(self.count_word(index, true));
        }
        for pair in touched {
            match self.counts.get(&pair) {
                Some(0) | None => {
                    self.counts.remove(&pair);
                }
                Some(&count) => self.queue.push((count, std::cmp::Reverse(pair))),
            }
        }
    }
}

impl Vocabulary {
    /// `vocab.json`: token → id, in the order of the ids.
    #[must_use]
    pub fn vocab_json(&self) -> String {
        let quoted = |token: &String| serde_json::Value::from(token.as_str()).to_string();
        let lines: Vec<String> =
            self.tokens.iter().zip(0..).map(|(token, id)| format!("{}: {id}", quoted(token))).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// `merges.txt` with the version line that readers pass over.
    #[must_use]
    pub fn merges_txt(&self) -> String {
        let lines: String = self.merges.iter().map(|(left, right)| format!("{left} {right}\n")).collect();
        format!("#version: 0.2\n{lines}")
    }

    /// `tokenizer_config.json` as transformers reads it; `max_length` are the text encoder's positions.
    #[must_use]
    pub fn tokenizer_config_json(&self, max_length: usize) -> String {
        let config = serde_json::json!({
            "tokenizer_class": "CLIPTokenizer", "model_max_length": max_length, "do_lower_case": true,
            "bos_token": BOS, "eos_token": EOS, "pad_token": EOS, "unk_token": EOS,
        });
        format!("{config:#}\n")
    }

    /// Writes `vocab.json`, `merges.txt` and `tokenizer_config.json` into `folder`, which is made if need be.
    ///
    /// # Errors
    /// When the folder or a file cannot be written; a file is never left half written under its name.
    pub fn write(&self, folder: &Path, max_length: usize) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let files = [
            ("vocab.json", self.vocab_json()),
            ("merges.txt", self.merges_txt()),
            ("tokenizer_config.json", self.tokenizer_config_json(max_length)),
        ];
        for (name, text) in files {
            let unfinished = folder.join(format!("{name}.tmp"));
            let mut file = std::fs::File::create(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, folder.join(name))?;
        }
        Ok(())
    }

    /// The tokenizer of this vocabulary; `max_length` are the text encoder's positions.
    ///
    /// # Errors
    /// Never for a vocabulary made by [`train`].
    pub fn tokenizer(&self, max_length: usize) -> Result<ClipTokenizer, TokenizerError> {
        let specials = SpecialTokens { max_length: Some(max_length), ..SpecialTokens::default() };
        ClipTokenizer::from_bytes(self.vocab_json().as_bytes(), self.merges_txt().as_bytes(), &specials, &[])
    }
}
