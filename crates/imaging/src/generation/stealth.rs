//! Text hidden in the lowest bits of the pixels ("stealth PNG info"): column by column from the left, one bit a pixel
//! in alpha or three in red, green, blue; a 15-letter signature, the length in bits, then UTF-8, plain or gzip.

use std::io::Read;

use super::value::{object, plain};
use crate::{Metadata, Picture};

const SIGNATURE_BYTES: usize = 15;

/// The hidden text, at most `most` bytes of it; `None` when the picture hides none.
pub fn hidden_text(picture: &Picture, most: usize) -> Option<String> {
    let alpha = picture.format().has_alpha().then(|| hidden(picture, &[3], b"info", b"comp", b"png", most)).flatten();
    alpha.or_else(|| hidden(picture, &[0, 1, 2], b"info", b"comp", b"rgb", most))
}

/// The hidden text as if it had stood in the file: A1111's as it is, NovelAI's JSON member by member.
pub(super) fn hidden_metadata(picture: &Picture, most: usize) -> Option<Metadata> {
    let text = hidden_text(picture, most)?;
    let mut metadata = Metadata::default();
    match object(&text).filter(|members| members.contains_key("Comment")) {
        Some(members) => members.iter().for_each(|(key, value)| metadata.set_text(key, plain(value))),
        None => metadata.set_infotext(text),
    }
    Some(metadata)
}

fn hidden(picture: &Picture, lanes: &[usize], plain: &[u8], gzip: &[u8], place: &[u8], most: usize) -> Option<String> {
    let mut bits = lowest_bits(picture, lanes);
    let signature = take_bytes(&mut bits, SIGNATURE_BYTES)?;
    let kind = signature.strip_prefix(b"stealth_")?.strip_prefix(place)?;
    let length = u32::from_be_bytes(take_bytes(&mut bits, 4)?.try_into().ok()?) as usize / 8;
    let carried = picture.width() as usize * picture.height() as usize * lanes.len() / 8;
    if length > most.min(carried) {
        return None;
    }
    let bytes = take_bytes(&mut bits, length)?;
    if kind == plain {
        return String::from_utf8(bytes).ok();
    }
    if kind != gzip {
        return None;
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).take(most as u64).read_to_end(&mut text).ok()?;
    String::from_utf8(text).ok()
}

fn lowest_bits<'a>(picture: &'a Picture, lanes: &'a [usize]) -> impl Iterator<Item = u8> + 'a {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let channels = picture.format().channels();
    let pixels = picture.pixels();
    (0..width).flat_map(move |x| {
        (0..height).flat_map(move |y| lanes.iter().map(move |&lane| pixels[(y * width + x) * channels + lane] & 1))
    })
}

fn take_bytes(bits: &mut impl Iterator<Item = u8>, count: usize) -> Option<Vec<u8>> {
    (0..count).map(|_| (0..8).try_fold(0u8, |byte, _| Some(byte << 1 | bits.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(picture: &mut Picture, lanes: &[usize], payload: &[u8]) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let channels = picture.format().channels();
        let mut bits = payload.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1));
        for x in 0..width {
            for y in 0..height {
                for lane in lanes {
                    let Some(bit) = bits.next() else { return };
                    let value = &mut picture.pixels_mut()[(y * width + x) * channels + lane];
                    *value = *value & !1 | bit;
                }
            }
        }
    }

    #[test]
    fn plain_text_in_colours_is_found_and_lies_about_length_are_not_believed() {
        let mut picture = Picture::filled(20, 20, &[9, 9, 9]).unwrap();
        assert_eq!(hidden_text(&picture, 1000), None);
        let message = [&b"stealth_rgbinfo\0\0\0\x20"[..], b"cats"].concat();
        hide(&mut picture, &[0, 1, 2], &message);
        assert_eq!(hidden_text(&picture, 1000).as_deref(), Some("cats"));
        hide(&mut picture, &[0, 1, 2], b"stealth_rgbinfo\xff\xff\xff\xff");
        assert_eq!(hidden_text(&picture, usize::MAX), None);
    }
}
