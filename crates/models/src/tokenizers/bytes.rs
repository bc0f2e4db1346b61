//! The printable alphabet of byte-level BPE: one Unicode character for each of the 256 bytes.
//!
//! GPT-2's table (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), also CLIP's: the 188 printable
//! Latin-1 characters stand for themselves, the other 68 bytes are counted up from U+0100 in byte order.

use std::sync::LazyLock;

/// The order in which CLIP numbers the bytes: printable ones first, each group ascending.
pub const BYTE_ORDER: [u8; 256] = byte_order();

const fn printable(byte: usize) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

const fn byte_order() -> [u8; 256] {
    let mut order = [0; 256];
    let (mut filled, mut pass) = (0, 0);
    while pass < 2 {
        let mut byte = 0;
        while byte < 256 {
            if printable(byte) == (pass == 0) {
                order[filled] = byte as u8;
                filled += 1;
            }
            byte += 1;
        }
        pass += 1;
    }
    order
}

static TO_CHAR: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut table = ['\0'; 256];
    let mut next = 0x100u32;
    for (byte, slot) in table.iter_mut().enumerate() {
        if printable(byte) {
            *slot = byte as u8 as char;
        } else {
            // 0x100..0x144 holds no surrogate, so the conversion never falls back.
            *slot = char::from_u32(next).unwrap_or('\u{fffd}');
            next += 1;
        }
    }
    table
});

/// The character that stands for `byte`.
#[must_use]
pub fn byte_to_char(byte: u8) -> char {
    TO_CHAR[byte as usize]
}

/// The byte that `c` stands for, if it is one of the 256 characters of the alphabet.
#[must_use]
pub fn char_to_byte(c: char) -> Option<u8> {
    let code = c as u32;
    if code >= 0x144 {
        return None;
    }
    if code < 0x100 {
        return printable(code as usize).then_some(code as u8);
    }
    // The (code - 0x100)-th byte that is not printable.
    BYTE_ORDER[188..].get(code as usize - 0x100).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for byte in 0..=255u8 {
            assert_eq!(char_to_byte(byte_to_char(byte)), Some(byte));
        }
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
        assert_eq!(char_to_byte(' '), None);
        assert_eq!(char_to_byte('猫'), None);
    }

    #[test]
    fn the_order_holds_each_byte_once() {
        let mut seen = [false; 256];
        for byte in BYTE_ORDER {
            assert!(!std::mem::replace(&mut seen[byte as usize], true));
        }
        assert_eq!(&BYTE_ORDER[..3], b"!\"#");
        assert_eq!(BYTE_ORDER[188], 0);
    }
}
