//! The quality that a JPEG was written with, from its quantisation tables.

use crate::container::jpeg_quantisation;

/// Table K.1 of ITU T.81, for luma, and K.2, for colour differences, row by row.
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Quality on libjpeg's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegQuality {
    /// That of luma, 1…100.
    pub luma: u8,
    /// That of the colours; `None` when there are none.
    pub chroma: Option<u8>,
    /// True when the tables are exactly libjpeg's of these qualities; otherwise the nearest are told.
    pub exact: bool,
}

/// The quality of the JPEG file `bytes`, from its own tables: what it was last written with, not what it went through before.
/// `None` when it is no JPEG or holds no table.
pub fn jpeg_quality(bytes: &[u8]) -> Option<JpegQuality> {
    let tables = jpeg_quantisation(bytes);
    let luma = nearest(tables.first()?, &LUMA);
    let chroma = tables.get(1).map(|table| nearest(table, &CHROMA));
    let exact = luma.1 == 0 && chroma.is_none_or(|chroma| chroma.1 == 0);
    Some(JpegQuality { luma: luma.0, chroma: chroma.map(|chroma| chroma.0), exact })
}

/// The quality whose table is nearest, and how far it is.
fn nearest(table: &[u16; 64], standard: &[u8; 64]) -> (u8, u64) {
    let order = zigzag();
    let far = |quality: u8| -> u64 {
        let scale = if quality < 50 { 5000 / u32::from(quality) } else { 200 - 2 * u32::from(quality) };
        let entry = |at: usize| ((u32::from(standard[at]) * scale + 50) / 100).clamp(1, 255);
        order.iter().zip(table).map(|(at, found)| u64::from(entry(*at).abs_diff(u32::from(*found)))).sum()
    };
    let best = (1..=100u8).rev().min_by_key(|quality| far(*quality)).unwrap_or(100);
    (best, far(best))
}

/// Where the values of a table stand in the order of the file: along the diagonals, to and fro.
fn zigzag() -> [usize; 64] {
    let mut places: [usize; 64] = std::array::from_fn(|i| i);
    places.sort_by_key(|at| {
        let (row, column) = (at / 8, at % 8);
        let diagonal = row + column;
        (diagonal, if diagonal % 2 == 0 { column } else { row })
    });
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_file_is_that_of_the_standard() {
        assert_eq!(zigzag()[..12], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25]);
        assert_eq!(zigzag()[60..], [47, 55, 62, 63]);
    }
}
