//! A pack of emoji pictures: a `.tar.gz` whose PNG files are named `emoji_u<code points>.png` (the layout of Google's noto-emoji). It stands
//! in for the Noto package where there is no npm.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use danqing_imaging::{DecodeLimits, Filter, Picture, PixelFormat, decode, resize};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::DataError;
use super::concept::Concept;
use super::icons::hex;
use super::sprites::{Drawings, SPRITE_SIDE, Source, Style};

/// More than any such pack unpacks to.
const MOST_BYTES: u64 = 256 << 20;

/// The pictures of one pack by code points (`1f431`).
pub struct EmojiPack {
    pictures: HashMap<String, Vec<u8>>,
    source: Source,
}

impl EmojiPack {
    /// Opens a pack.
    ///
    /// # Errors
    /// A file that cannot be read, is no `.tar.gz`, or has no emoji picture.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let bad = |why: &str| DataError::IconFile { path: path.to_owned(), why: why.to_owned() };
        let failed = |error| DataError::Read { path: path.to_owned(), error };
        let mut packed = Vec::new();
        File::open(path).and_then(|mut file| file.read_to_end(&mut packed)).map_err(failed)?;
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice()).take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let pictures = emoji_files(&bytes);
        if pictures.is_empty() {
            return Err(bad("it is a pack with no file named emoji_u….png"));
        }
        let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let source = Source {
            name,
            version: "as named by its SHA-256".to_owned(),
            licence: "Apache-2.0".to_owned(),
            sha256: hex(&Sha256::digest(&packed)),
        };
        Ok(Self { pictures, source })
    }
}

impl Drawings for EmojiPack {
    fn style(&self) -> Style {
        Style::Noto
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn draw(&self, concept: &Concept) -> Result<Option<Vec<u8>>, DataError> {
        let Some(png) = concept.emoji.as_ref().and_then(|code| self.pictures.get(code)) else {
            return Ok(None);
        };
        fill_square(png).map(Some).map_err(|why| DataError::Icon {
            set: self.source.name.clone(),
            icon: concept.id.clone(),
            why,
        })
    }
}

/// The files `…/emoji_u<code points>.png` of a tar archive (POSIX ustar: 512-byte headers, sizes in octal). Reading ends at the first
/// header that makes no sense.
fn emoji_files(tar: &[u8]) -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    let mut rest = tar;
    while let Some((header, after)) = rest.split_at_checked(512) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let Ok(size) = usize::from_str_radix(&text(124..136), 8) else {
            break;
        };
        let Some(content) = after.get(..size) else {
            break;
        };
        let name = text(0..100);
        let code = name.rsplit('/').next().and_then(|file| file.strip_prefix("emoji_u")?.strip_suffix(".png"));
        if let Some(code) = code {
            files.insert(code.trim_end_matches("_fe0f").to_owned(), content.to_vec());
        }
        rest = after.get(size.next_multiple_of(512)..).unwrap_or(&[]);
    }
    files
}

/// Decodes a picture, cuts it to what is visible and enlarges that to the sprite's square, one pixel left free on each side.
fn fill_square(png: &[u8]) -> Result<Vec<u8>, String> {
    let limits = DecodeLimits { max_side: 4096, ..DecodeLimits::default() };
    let picture = decode(png, &limits).map_err(|error| error.to_string())?;
    if picture.format() != PixelFormat::Rgba8 {
        return Err("it has no transparency".to_owned());
    }
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let [mut left, mut top, mut right, mut bottom] = [width, height, 0, 0];
    for (i, _) in picture.pixels().chunks_exact(4).enumerate().filter(|(_, pixel)| pixel[3] >= 24) {
        let (x, y) = (i % width, i / width);
        (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1));
    }
    if right <= left {
        return Err("it is empty".to_owned());
    }
    let visible = picture
        .crop(left as u32, top as u32, (right - left) as u32, (bottom - top) as u32)
        .map_err(|error| error.to_string())?;
    let room = SPRITE_SIDE - 2;
    let most = (right - left).max(bottom - top);
    let scaled = |side: usize| (side * room / most).max(1);
    let (wide, high) = (scaled(right - left), scaled(bottom - top));
    let grown: Picture =
        resize(&visible, wide as u32, high as u32, &Filter::Bicubic.into()).map_err(|e| e.to_string())?;
    let mut square = vec![0; SPRITE_SIDE * SPRITE_SIDE * 4];
    let (x, y) = ((SPRITE_SIDE - wide) / 2, (SPRITE_SIDE - high) / 2);
    for (row, pixels) in grown.pixels().chunks_exact(wide * 4).enumerate() {
        square[((y + row) * SPRITE_SIDE + x) * 4..][..wide * 4].copy_from_slice(pixels);
    }
    Ok(square)
}

#[cfg(test)]
mod tests {
    use super::super::concept::concepts;
    use super::*;

    fn tar_with(name: &str, content: &[u8]) -> Vec<u8> {
        let mut tar = vec![0; 512];
        tar[..name.len()].copy_from_slice(name.as_bytes());
        tar[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        tar
    }

    #[test]
    fn pictures_are_found_and_fill_their_square() {
        let mut pixels = vec![0; 40 * 40 * 4];
        for y in 10..20 {
            for x in 5..25 {
                pixels[(y * 40 + x) * 4..][..4].copy_from_slice(&[200, 60, 20, 255]);
            }
        }
        let picture = Picture::new(40, 40, PixelFormat::Rgba8, pixels).expect("picture");
        let png = danqing_imaging::encode(&picture, danqing_imaging::Format::Png, &Default::default()).expect("png");
        let tar = tar_with("noto128/emoji_u1f431.png", &png);
        let files = emoji_files(&tar);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["1f431"]);
        let square = fill_square(&files["1f431"]).expect("drawn");
        let [left, top, right, bottom] = super::super::icons::content(&square).expect("content");
        assert_eq!((right - left, bottom - top), (SPRITE_SIDE - 2, (SPRITE_SIDE - 2) / 2));
        assert_eq!((left, top), (1, (SPRITE_SIDE - 63) / 2));
        for cut in 0..tar.len().min(900) {
            emoji_files(&tar[..cut]);
        }
        assert!(fill_square(&png[..30]).is_err());
    }

    #[test]
    fn the_shared_pack_has_nearly_all_things() {
        let Ok(assets) = std::env::var("DANQING_TEST_ASSETS") else {
            println!("skipped: DANQING_TEST_ASSETS is not set");
            return;
        };
        let pack = EmojiPack::open(&Path::new(&assets).join("images/train/t2i_noto_emoji_128.tar.gz")).expect("pack");
        let list = concepts().expect("list");
        let with_emoji: Vec<_> = list.iter().filter(|c| c.emoji.is_some()).collect();
        let found = with_emoji.iter().filter(|c| pack.pictures.contains_key(c.emoji.as_deref().unwrap_or(""))).count();
        assert!(found * 100 >= with_emoji.len() * 97, "{found} of {}", with_emoji.len());
        assert!(pack.draw(with_emoji[0]).expect("decodes").is_some());
    }
}
