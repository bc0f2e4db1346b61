//! The pattern of a key and the bits of a message.

use sha2::{Digest, Sha256};

use super::{BITS, CHECK, CHIPS, MESSAGE};

/// What decides the pattern: marks of one key are not found with another.
#[derive(Clone, PartialEq, Eq)]
pub struct WatermarkKey([u8; 32]);

impl std::fmt::Debug for WatermarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatermarkKey(…)")
    }
}

impl WatermarkKey {
    /// The key of these secret bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The pattern of a key, row by row.
pub(super) struct Pattern {
    /// +1 or −1 for each chip: what is the same in every picture.
    pub pilot: Vec<f32>,
    /// The bit that each chip carries.
    pub bit: Vec<usize>,
    /// +1 or −1 for each chip: what stands there for a bit that is set.
    pub sign: Vec<f32>,
}

impl Pattern {
    pub(super) fn new(key: &WatermarkKey) -> Self {
        let mut dice = Dice { key: key.0, block: 0, bytes: Vec::new() };
        let chips = CHIPS * CHIPS;
        let pilot = balanced(chips, &mut dice);
        // Every bit has the same number of chips, or one more, anywhere.
        let mut bit: Vec<usize> = (0..chips).map(|i| i % BITS).collect();
        dice.shuffle(&mut bit);
        // A half of a bit's chips has the pilot's sign and a half the other one, so that the pilot says nothing about the bit.
        let mut next: Vec<bool> = (0..BITS).map(|i| i % 2 == 0).collect();
        let sign = bit.iter().zip(&pilot).map(|(bit, pilot)| {
            next[*bit] = !next[*bit];
            if next[*bit] { *pilot } else { -*pilot }
        });
        Self { sign: sign.collect(), pilot, bit }
    }
}

/// As many +1 as −1, in any order: their sum leaves the brightness alone.
fn balanced(n: usize, dice: &mut Dice) -> Vec<f32> {
    let mut signs: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    dice.shuffle(&mut signs);
    signs
}

/// Bytes that follow from a key: SHA-256 of key and counter.
struct Dice {
    key: [u8; 32],
    block: u64,
    bytes: Vec<u8>,
}

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        let mut number = 0_u32;
        for _ in 0..4 {
            if self.bytes.is_empty() {
                let mut digest = Sha256::new();
                digest.update(self.key);
                digest.update(self.block.to_le_bytes());
                self.bytes = digest.finalize().to_vec();
                self.block += 1;
            }
            number = number << 8 | u32::from(self.bytes.pop().unwrap_or_default());
        }
        number as usize % n
    }

    /// Fisher & Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// The bits of a message: its own, then the checksum's, each the lowest first.
pub fn bits_of(message: u32) -> [bool; BITS] {
    let check = checksum(message);
    std::array::from_fn(|i| if i < MESSAGE { message >> i & 1 == 1 } else { check >> (i - MESSAGE) & 1 == 1 })
}

/// The message of bits that were read with `strength`, how sure each is. Up to two of the weakest may be wrong.
pub(super) fn message_of(bits: &[bool; BITS], strength: &[f32; BITS]) -> Option<u32> {
    /// Bits that may be wrong. With pairs of them 37 messages are tried, one of 1,800 of which has the right checksum by chance.
    const WEAK: usize = 8;
    let mut order: Vec<usize> = (0..BITS).collect();
    order.sort_by(|a, b| strength[*a].total_cmp(&strength[*b]));
    let weak = &order[..WEAK];
    let fits = |wrong: &[usize]| {
        let mut bits = *bits;
        wrong.iter().for_each(|i| bits[*i] = !bits[*i]);
        let number = |bits: &[bool]| bits.iter().rev().fold(0_u32, |n, bit| n << 1 | u32::from(*bit));
        let (message, check) = (number(&bits[..MESSAGE]), number(&bits[MESSAGE..]));
        (u32::from(checksum(message)) == check).then_some(message)
    };
    let pairs = || weak.iter().enumerate().flat_map(|(i, a)| weak[i + 1..].iter().map(move |b| [*a, *b]));
    fits(&[]).or_else(|| weak.iter().find_map(|i| fits(&[*i]))).or_else(|| pairs().find_map(|pair| fits(&pair)))
}

/// CRC-16/CCITT-FALSE of the message's bytes, the lowest first.
fn checksum(message: u32) -> u16 {
    message.to_le_bytes().iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

const _: () = assert!(CHECK == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_books() {
        // Its check value is 0x29B1 for "123456789"; for its first four bytes see `binascii.crc_hqx` of Python.
        assert_eq!(checksum(u32::from_le_bytes(*b"1234")), 0x5349);
    }

    #[test]
    fn two_weak_bits_may_be_wrong_and_three_may_not() {
        let message = 0xDEAD_BEEF;
        let mut bits = bits_of(message);
        let mut strength = [1.0; BITS];
        assert_eq!(message_of(&bits, &strength), Some(message));
        for (n, i) in [3, 40, 17].into_iter().enumerate() {
            bits[i] = !bits[i];
            strength[i] = 0.1;
            assert_eq!(message_of(&bits, &strength), (n < 2).then_some(message));
        }
    }

    #[test]
    fn a_key_decides_and_its_signs_are_balanced() {
        let [a, again, b] = [b"a", b"a", b"b"].map(|bytes| Pattern::new(&WatermarkKey::new(bytes)));
        assert_eq!(a.pilot, again.pilot);
        assert_ne!(a.pilot, b.pilot);
        assert_eq!(a.pilot.iter().sum::<f32>(), 0.0);
        let chips = |bit| a.bit.iter().filter(|b| **b == bit).count();
        assert!((0..BITS).all(|bit| (21..=22).contains(&chips(bit))));
        let together =
            |bit| (0..CHIPS * CHIPS).filter(|i| a.bit[*i] == bit).map(|i| a.pilot[i] * a.sign[i]).sum::<f32>();
        assert!((0..BITS).all(|bit| together(bit).abs() <= 1.0));
    }
}
