//! Several pictures on one: contact sheets with captions, grids of compared settings with titles.

use crate::lettering::{draw_text, line_height, text_width, wrap};
use crate::resize::{Filter, resize_to_fit};
use crate::{ImagingError, Picture, canvas::paste};

/// How a sheet is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetOptions {
    /// Pictures in one row; 0 makes the sheet about as wide as high.
    pub columns: usize,
    /// Pixels between pictures and around them.
    pub gap: u32,
    /// Behind the pictures.
    pub background: [u8; 3],
    /// Colour of the lettering.
    pub ink: [u8; 3],
    /// Pixels a dot of the lettering.
    pub text_scale: u32,
    /// Titles above the columns; empty for none.
    pub column_titles: Vec<String>,
    /// Titles left of the rows; empty for none.
    pub row_titles: Vec<String>,
}

impl Default for SheetOptions {
    fn default() -> Self {
        Self {
            columns: 0,
            gap: 8,
            background: [255; 3],
            ink: [32; 3],
            text_scale: 2,
            column_titles: Vec::new(),
            row_titles: Vec::new(),
        }
    }
}

/// A caption takes at most this many lines.
const CAPTION_LINES: usize = 3;
/// The longest side of a sheet.
const LONGEST_SIDE: u64 = 65_535;

/// Lays `pictures` out in rows, `captions[i]` below picture `i` (there may be fewer captions than pictures). Every cell
/// has the size of the largest picture; smaller ones stand in the middle of theirs.
///
/// # Errors
/// [`ImagingError::Argument`] when there is no picture or the sheet would have a side over 65 535.
pub fn contact_sheet(
    pictures: &[&Picture],
    captions: &[&str],
    options: &SheetOptions,
) -> Result<Picture, ImagingError> {
    let cell_width = pictures.iter().map(|p| p.width()).max();
    let cell_height = pictures.iter().map(|p| p.height()).max();
    let (Some(cell_width), Some(cell_height)) = (cell_width, cell_height) else {
        return Err(ImagingError::argument("pictures", "a sheet needs at least one"));
    };
    let scale = options.text_scale.clamp(1, 64);
    let captions: Vec<Vec<String>> = captions.iter().map(|c| wrap(c, cell_width, scale, CAPTION_LINES)).collect();
    let layout = Layout::new(pictures.len(), (cell_width, cell_height), &captions, scale, options)?;
    let mut sheet = Picture::filled(layout.width, layout.height, &options.background)?;
    let centred = |text: &str| (i64::from(cell_width) - i64::from(text_width(text, scale))).max(0) / 2;

    for (column, title) in options.column_titles.iter().take(layout.columns).enumerate() {
        let left = layout.left(column) + centred(title);
        draw_text(&mut sheet, title, left, i64::from(options.gap), scale, options.ink);
    }
    for (row, title) in options.row_titles.iter().take(layout.rows).enumerate() {
        let top = layout.top(row) + i64::from(cell_height.saturating_sub(line_height(scale)) / 2);
        draw_text(&mut sheet, title, i64::from(options.gap), top, scale, options.ink);
    }
    for (index, picture) in pictures.iter().enumerate() {
        let (left, top) = (layout.left(index % layout.columns), layout.top(index / layout.columns));
        let flat = picture.flattened(options.background);
        let middle = |cell: u32, side: u32| i64::from((cell - side) / 2);
        let (x, y) = (middle(cell_width, flat.width()), middle(cell_height, flat.height()));
        paste(&mut sheet, &flat, left + x, top + y, None)?;
        for (number, text) in (0i64..).zip(captions.get(index).into_iter().flatten()) {
            let text_top = top + i64::from(cell_height + scale) + number * i64::from(line_height(scale));
            draw_text(&mut sheet, text, left + centred(text), text_top, scale, options.ink);
        }
    }
    Ok(sheet)
}

/// As [`contact_sheet`] with every picture brought into `side` × `side` first: an overview of large pictures.
///
/// # Errors
/// As [`contact_sheet`], and for a `side` of zero.
pub fn thumbnail_sheet(
    pictures: &[&Picture],
    captions: &[&str],
    side: u32,
    options: &SheetOptions,
) -> Result<Picture, ImagingError> {
    let small = |picture: &&Picture| resize_to_fit(picture, side, side, &Filter::Lanczos3.into());
    let small = pictures.iter().map(small).collect::<Result<Vec<_>, _>>()?;
    contact_sheet(&small.iter().collect::<Vec<_>>(), captions, options)
}

/// Where everything stands.
struct Layout {
    columns: usize,
    rows: usize,
    /// Size of the whole sheet.
    width: u32,
    height: u32,
    /// Upper left corner of the first picture.
    first: (i64, i64),
    /// From one picture to the next.
    pitch: (i64, i64),
}

impl Layout {
    fn new(
        count: usize,
        cell: (u32, u32),
        captions: &[Vec<String>],
        scale: u32,
        options: &SheetOptions,
    ) -> Result<Self, ImagingError> {
        let columns = match options.columns {
            0 => (count as f64).sqrt().ceil() as usize,
            n => n.min(count),
        };
        let rows = count.div_ceil(columns);
        let gap = u64::from(options.gap);
        let line = u64::from(line_height(scale));
        let caption_lines = captions.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let caption = if caption_lines == 0 { 0 } else { caption_lines * line + u64::from(scale) };
        let column_titles = if options.column_titles.is_empty() { 0 } else { line + gap };
        let row_titles = options.row_titles.iter().map(|t| text_width(t, scale).min(4 * cell.0)).max();
        let row_titles = row_titles.map_or(0, |w| u64::from(w) + gap);
        let pitch = (u64::from(cell.0) + gap, u64::from(cell.1) + caption + gap);
        let width = columns as u64 * pitch.0 + gap + row_titles;
        let height = rows as u64 * pitch.1 + gap + column_titles;
        if width > LONGEST_SIDE || height > LONGEST_SIDE {
            let reason = format!(
                "it would be {width}x{height}, the longest side is {LONGEST_SIDE}; use fewer or smaller pictures"
            );
            return Err(ImagingError::argument("sheet", reason));
        }
        Ok(Self {
            columns,
            rows,
            width: width as u32,
            height: height as u32,
            first: ((row_titles + gap) as i64, (column_titles + gap) as i64),
            pitch: (pitch.0 as i64, pitch.1 as i64),
        })
    }

    fn left(&self, column: usize) -> i64 {
        self.first.0 + column as i64 * self.pitch.0
    }

    fn top(&self, row: usize) -> i64 {
        self.first.1 + row as i64 * self.pitch.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_where_they_should() {
        let red = Picture::filled(10, 10, &[255, 0, 0]).unwrap();
        let blue = Picture::filled(4, 10, &[0, 0, 255]).unwrap();
        let options = SheetOptions { columns: 2, gap: 3, ..SheetOptions::default() };
        let sheet = contact_sheet(&[&red, &blue, &red], &[], &options).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (2 * 13 + 3, 2 * 13 + 3));
        assert_eq!(sheet.pixel(3, 3), Some(&[255, 0, 0][..]));
        assert_eq!(sheet.pixel(16, 3), Some(&[255, 255, 255][..]));
        assert_eq!(sheet.pixel(19, 3), Some(&[0, 0, 255][..]));
        assert_eq!(sheet.pixel(3, 16), Some(&[255, 0, 0][..]));
        assert!(contact_sheet(&[], &[], &options).is_err());
    }

    #[test]
    fn titles_and_captions_make_room() {
        let picture = Picture::filled(60, 20, &[200, 200, 200]).unwrap();
        let options = SheetOptions {
            columns: 2,
            column_titles: vec!["10".to_owned(), "20".to_owned()],
            row_titles: vec!["euler".to_owned()],
            ..SheetOptions::default()
        };
        let sheet = contact_sheet(&[&picture, &picture], &["a cat with a hat", ""], &options).unwrap();
        assert!(sheet.height() > 20 + 3 * 8 + 3 * line_height(2), "{}", sheet.height());
        assert!(sheet.pixels().chunks_exact(3).any(|p| p == [32, 32, 32]));
        let small = thumbnail_sheet(&[&picture], &[], 30, &SheetOptions::default()).unwrap();
        assert_eq!((small.width(), small.height()), (46, 26));
    }
}
