//! ASCII lettering for sheets and charts: letters of 5 × 7 dots, drawn for this program, without a font file.

use crate::Picture;

/// Width of a letter's cell in dots, with the gap after it.
const CELL_WIDTH: u32 = 6;
/// Height of a line in dots, with the gap below it.
const CELL_HEIGHT: u32 = 9;

/// Width in pixels of `text` at `scale` pixels a dot.
pub fn text_width(text: &str, scale: u32) -> u32 {
    let count = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    count.saturating_mul(CELL_WIDTH).saturating_sub(1).saturating_mul(scale)
}

/// Height in pixels of a line at `scale` pixels a dot.
pub fn line_height(scale: u32) -> u32 {
    CELL_HEIGHT.saturating_mul(scale)
}

/// Writes one line with its upper left corner at `left`, `top`; what reaches outside is cut off. A letter outside ASCII
/// is drawn as a box.
pub fn draw_text(picture: &mut Picture, text: &str, left: i64, top: i64, scale: u32, ink: [u8; 3]) {
    let size = i64::from(scale);
    let step = i64::from(CELL_WIDTH) * size;
    for (index, letter) in (0i64..).zip(text.chars()) {
        let start = left.saturating_add(index.saturating_mul(step));
        if start >= i64::from(picture.width()) {
            return;
        }
        for (y, row) in (0i64..).zip(glyph(letter).split('/')) {
            for (x, dot) in (0i64..).zip(row.bytes()) {
                if dot == b'#' {
                    let (x, y) = (start.saturating_add(x * size), top.saturating_add(y * size));
                    fill_rectangle(picture, x, y, size, size, ink);
                }
            }
        }
    }
}

/// Fills a rectangle; what reaches outside is cut off.
pub fn fill_rectangle(picture: &mut Picture, left: i64, top: i64, width: i64, height: i64, ink: [u8; 3]) {
    let span = |start: i64, length: i64, side: u32| {
        let end = start.saturating_add(length);
        start.clamp(0, i64::from(side)) as usize..end.clamp(0, i64::from(side)) as usize
    };
    let (columns, rows) = (span(left, width, picture.width()), span(top, height, picture.height()));
    let (row, channels) = (picture.width() as usize, picture.format().channels());
    let pixels = picture.pixels_mut();
    for y in rows {
        for x in columns.clone() {
            let pixel = &mut pixels[(y * row + x) * channels..][..channels];
            pixel[..3].copy_from_slice(&ink);
            pixel[3..].fill(255);
        }
    }
}

/// `text` in lines of at most `width` pixels, broken at spaces where there are any; at most `most` lines, the last one
/// ending in dots when something was left out.
pub fn wrap(text: &str, width: u32, scale: u32, most: usize) -> Vec<String> {
    let fit = ((width / scale.max(1) + 1) / CELL_WIDTH).max(1) as usize;
    let mut lines: Vec<String> = Vec::new();
    let mut rest: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    while !rest.is_empty() && lines.len() < most {
        if rest.len() <= fit {
            lines.push(rest.iter().collect());
            return lines;
        }
        let at = rest[..=fit].iter().rposition(|&c| c == ' ').filter(|&at| at > 0).unwrap_or(fit);
        let tail = rest.split_off(at);
        lines.push(rest.iter().collect());
        rest = tail.into_iter().skip_while(|&c| c == ' ').collect();
    }
    if let (false, Some(last)) = (rest.is_empty(), lines.last_mut()) {
        *last = last.chars().take(fit.saturating_sub(2)).chain("..".chars()).collect();
    }
    lines
}

fn glyph(letter: char) -> &'static str {
    let index = u32::from(letter).checked_sub(32).map(|i| i as usize);
    index.and_then(|i| GLYPHS.get(i)).copied().unwrap_or(UNKNOWN)
}

const UNKNOWN: &str = "#####/#...#/#...#/#...#/#...#/#...#/#####";

/// Letters 32 to 126, seven rows each.
#[rustfmt::skip]
const GLYPHS: [&str; 95] = [
    "...../...../...../...../...../...../.....", // space
    "..#../..#../..#../..#../..#../...../..#..", // !
    ".#.#./.#.#./...../...../...../...../.....", // "
    ".#.#./.#.#./#####/.#.#./#####/.#.#./.#.#.", // #
    "..#../.####/#.#../.###./..#.#/####./..#..", // $
    "##..#/##..#/...#./..#../.#.../#..##/#..##", // %
    ".##../#..#./#.#../.#.../#.#.#/#..#./.##.#", // &
    "..#../..#../...../...../...../...../.....", // '
    "...#./..#../.#.../.#.../.#.../..#../...#.", // (
    ".#.../..#../...#./...#./...#./..#../.#...", // )
    "...../#.#.#/.###./#####/.###./#.#.#/.....", // *
    "...../..#../..#../#####/..#../..#../.....", // +
    "...../...../...../...../.##../..#../.#...", // ,
    "...../...../...../#####/...../...../.....", // -
    "...../...../...../...../...../.##../.##..", // .
    "....#/....#/...#./..#../.#.../#..../#....", // /
    ".###./#...#/#..##/#.#.#/##..#/#...#/.###.", // 0
    "..#../.##../#.#../..#../..#../..#../#####", // 1
    ".###./#...#/....#/..##./.#.../#..../#####", // 2
    ".###./#...#/....#/..##./....#/#...#/.###.", // 3
    "...##/..#.#/.#..#/#...#/#####/....#/....#", // 4
    "#####/#..../####./....#/....#/#...#/.###.", // 5
    "..##./.#.../#..../####./#...#/#...#/.###.", // 6
    "#####/....#/...#./...#./..#../..#../..#..", // 7
    ".###./#...#/#...#/.###./#...#/#...#/.###.", // 8
    ".###./#...#/#...#/.####/....#/...#./.##..", // 9
    "...../.##../.##../...../.##../.##../.....", // :
    "...../.##../.##../...../.##../..#../.#...", // ;
    "...#./..#../.#.../#..../.#.../..#../...#.", // <
    "...../...../#####/...../#####/...../.....", // =
    ".#.../..#../...#./....#/...#./..#../.#...", // >
    ".###./#...#/....#/..##./..#../...../..#..", // ?
    ".###./#...#/#.###/#.#.#/#.###/#..../.###.", // @
    "..#../.#.#./#...#/#...#/#####/#...#/#...#", // A
    "####./#...#/#...#/####./#...#/#...#/####.", // B
    ".###./#...#/#..../#..../#..../#...#/.###.", // C
    "###../#..#./#...#/#...#/#...#/#..#./###..", // D
    "#####/#..../#..../####./#..../#..../#####", // E
    "#####/#..../#..../####./#..../#..../#....", // F
    ".###./#...#/#..../#.###/#...#/#...#/.####", // G
    "#...#/#...#/#...#/#####/#...#/#...#/#...#", // H
    "#####/..#../..#../..#../..#../..#../#####", // I
    "..###/...#./...#./...#./...#./#..#./.##..", // J
    "#...#/#..#./#.#../##.../#.#../#..#./#...#", // K
    "#..../#..../#..../#..../#..../#..../#####", // L
    "#...#/##.##/#.#.#/#.#.#/#...#/#...#/#...#", // M
    "#...#/##..#/##..#/#.#.#/#..##/#..##/#...#", // N
    ".###./#...#/#...#/#...#/#...#/#...#/.###.", // O
    "####./#...#/#...#/####./#..../#..../#....", // P
    ".###./#...#/#...#/#...#/#.#.#/#..#./.##.#", // Q
    "####./#...#/#...#/####./#.#../#..#./#...#", // R
    ".####/#..../#..../.###./....#/....#/####.", // S
    "#####/..#../..#../..#../..#../..#../..#..", // T
    "#...#/#...#/#...#/#...#/#...#/#...#/.###.", // U
    "#...#/#...#/#...#/.#.#./.#.#./.#.#./..#..", // V
    "#...#/#...#/#...#/#.#.#/#.#.#/##.##/#...#", // W
    "#...#/#...#/.#.#./..#../.#.#./#...#/#...#", // X
    "#...#/#...#/.#.#./..#../..#../..#../..#..", // Y
    "#####/....#/...#./..#../.#.../#..../#####", // Z
    ".###./.#.../.#.../.#.../.#.../.#.../.###.", // [
    "#..../#..../.#.../..#../...#./....#/....#", // backslash
    ".###./...#./...#./...#./...#./...#./.###.", // ]
    "..#../.#.#./#...#/...../...../...../.....", // ^
    "...../...../...../...../...../...../#####", // _
    ".#.../..#../...../...../...../...../.....", // `
    "...../...../.###./....#/.####/#...#/.####", // a
    "#..../#..../#.##./##..#/#...#/#...#/####.", // b
    "...../...../.###./#..../#..../#...#/.###.", // c
    "....#/....#/.##.#/#..##/#...#/#...#/.####", // d
    "...../...../.###./#...#/#####/#..../.###.", // e
    "..##./.#..#/.#.../###../.#.../.#.../.#...", // f
    "...../.####/#...#/#...#/.####/....#/.###.", // g
    "#..../#..../#.##./##..#/#...#/#...#/#...#", // h
    "..#../...../.##../..#../..#../..#../.###.", // i
    "...#./...../..##./...#./...#./#..#./.##..", // j
    "#..../#..../#..#./#.#../##.../#.#../#..#.", // k
    ".##../..#../..#../..#../..#../..#../.###.", // l
    "...../...../##.#./#.#.#/#.#.#/#...#/#...#", // m
    "...../...../#.##./##..#/#...#/#...#/#...#", // n
    "...../...../.###./#...#/#...#/#...#/.###.", // o
    "...../...../####./#...#/####./#..../#....", // p
    "...../...../.####/#...#/.####/....#/....#", // q
    "...../...../#.##./##..#/#..../#..../#....", // r
    "...../...../.###./#..../.###./....#/####.", // s
    ".#.../.#.../###../.#.../.#.../.#..#/..##.", // t
    "...../...../#...#/#...#/#...#/#..##/.##.#", // u
    "...../...../#...#/#...#/#...#/.#.#./..#..", // v
    "...../...../#...#/#...#/#.#.#/#.#.#/.#.#.", // w
    "...../...../#...#/.#.#./..#../.#.#./#...#", // x
    "...../...../#...#/#...#/.####/....#/.###.", // y
    "...../...../#####/...#./..#../.#.../#####", // z
    "..##./.#.../.#.../#..../.#.../.#.../..##.", // {
    "..#../..#../..#../..#../..#../..#../..#..", // |
    ".##../...#./...#./....#/...#./...#./.##..", // }
    "...../...../.#..#/#.##./...../...../.....", // ~
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_seven_rows_of_five_and_no_two_are_alike() {
        for (index, glyph) in GLYPHS.iter().enumerate() {
            let rows: Vec<&str> = glyph.split('/').collect();
            assert!(rows.len() == 7 && rows.iter().all(|row| row.len() == 5), "{index}");
            assert!(!GLYPHS[..index].contains(glyph), "{index}");
        }
    }

    #[test]
    fn text_is_cut_at_every_edge() {
        let mut picture = Picture::filled(8, 8, &[255, 255, 255]).unwrap();
        for (left, top) in [(-3, -3), (6, 6), (i64::MAX - 9, 0), (0, i64::MIN), (-1000, 2)] {
            draw_text(&mut picture, "Ag 猫", left, top, 2, [0, 0, 0]);
        }
        draw_text(&mut picture, "I", 0, 0, 1, [1, 2, 3]);
        assert_eq!(picture.pixel(0, 0), Some(&[1, 2, 3][..]));
        assert_eq!(picture.pixel(2, 3), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn lines_break_at_spaces_and_end_in_dots() {
        assert_eq!(wrap("two red cats", 8 * 6, 1, 3), ["two red", "cats"]);
        assert_eq!(wrap("abcdefgh", 3 * 6, 1, 2), ["abc", "d.."]);
        assert_eq!(wrap("", 100, 1, 3), Vec::<String>::new());
        assert_eq!(wrap("abc", 0, 0, 1), [".."]);
    }
}
