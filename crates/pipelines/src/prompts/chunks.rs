//! Weighted words to chunks of tokens that a text encoder takes.
//!
//! A text encoder reads a fixed number of positions (77 for CLIP): begin, tokens, end, padding. A longer prompt becomes several
//! chunks, encoded one by one and laid end to end along the sequence. A1111 moves a chunk's end back to a comma among its last 20
//! tokens; ComfyUI keeps a short group of words whole instead.

use danqing_models::tokenizers::ClipTokenizer;

use super::{Segment, WeightedPrompt};

/// How far back from a chunk's end a comma is looked for.
const COMMA_REACH: usize = 20;
/// ComfyUI cuts a group of at least this many tokens at the chunk's end; a shorter one moves to the next chunk.
const LARGE_GROUP: usize = 8;

/// One input of a text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Token ids, as many as the encoder has positions.
    pub ids: Vec<u32>,
    /// One weight per position; 1 for begin, end and padding.
    pub weights: Vec<f32>,
}

impl Chunk {
    /// The chunk of an empty prompt: what fills the shorter of two prompts up, and ComfyUI's point of reference for weights.
    #[must_use]
    pub fn empty(tokenizer: &ClipTokenizer, length: usize) -> Self {
        close(Vec::new(), tokenizer, length)
    }

    /// Whether some weight differs from 1.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.weights.iter().any(|&weight| weight != 1.0)
    }
}

/// Gives every prompt the same number of chunks by adding empty ones: guidance needs sequences of one length.
pub fn equalize(prompts: &mut [Vec<Chunk>], tokenizer: &ClipTokenizer, length: usize) {
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    for prompt in prompts {
        prompt.resize_with(longest, || Chunk::empty(tokenizer, length));
    }
}

/// A chunk's tokens with their weights, without begin and end.
type Open = Vec<(u32, f32)>;

fn close(mut tokens: Open, tokenizer: &ClipTokenizer, length: usize) -> Chunk {
    tokens.truncate(length.saturating_sub(2));
    let (ids, weights): (Vec<u32>, Vec<f32>) = tokens.into_iter().unzip();
    let mut chunk = Chunk { ids: vec![tokenizer.bos()], weights: vec![1.0] };
    chunk.ids.extend(ids);
    chunk.weights.extend(weights);
    chunk.ids.push(tokenizer.eos());
    chunk.ids.resize(length, tokenizer.pad());
    chunk.weights.resize(length, 1.0);
    chunk
}

impl WeightedPrompt {
    /// The chunks of this prompt, at least one, each of `length` positions (the encoder's, ends included; at least 3).
    #[must_use]
    pub fn chunks(&self, tokenizer: &ClipTokenizer, length: usize) -> Vec<Chunk> {
        let room = length.saturating_sub(2).max(1);
        let open = if self.whole_groups { self.in_groups(tokenizer, room) } else { self.at_commas(tokenizer, room) };
        open.into_iter().map(|tokens| close(tokens, tokenizer, length)).collect()
    }

    fn at_commas(&self, tokenizer: &ClipTokenizer, room: usize) -> Vec<Open> {
        let comma = tokenizer.id(",</w>");
        let mut done: Vec<Open> = Vec::new();
        let mut chunk = Open::new();
        let mut last_comma: Option<usize> = None;
        for segment in &self.segments {
            let Segment::Text { text, weight } = segment else {
                done.push(std::mem::take(&mut chunk));
                last_comma = None;
                continue;
            };
            for id in tokenizer.encode(text) {
                if chunk.len() == room {
                    // A comma that does not fit itself begins the next chunk and moves nothing.
                    let near = last_comma.filter(|at| Some(id) != comma && room - at <= COMMA_REACH);
                    let moved = near.map(|at| chunk.split_off(at + 1)).unwrap_or_default();
                    done.push(std::mem::replace(&mut chunk, moved));
                    last_comma = None;
                } else if Some(id) == comma {
                    last_comma = Some(chunk.len());
                }
                chunk.push((id, *weight as f32));
            }
        }
        if !chunk.is_empty() || done.is_empty() {
            done.push(chunk);
        }
        done
    }

    fn in_groups(&self, tokenizer: &ClipTokenizer, room: usize) -> Vec<Open> {
        let mut done: Vec<Open> = Vec::new();
        let mut chunk = Open::new();
        for segment in &self.segments {
            let Segment::Text { text, weight } = segment else { continue };
            let ids = tokenizer.encode(text);
            let large = ids.len() >= LARGE_GROUP;
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                let free = room - chunk.len();
                let taken = if rest.len() <= free || large || chunk.is_empty() { rest.len().min(free) } else { 0 };
                chunk.extend(rest[..taken].iter().map(|&id| (id, *weight as f32)));
                rest = &rest[taken..];
                if !rest.is_empty() {
                    done.push(std::mem::take(&mut chunk));
                }
            }
        }
        done.push(chunk);
        done
    }
}
