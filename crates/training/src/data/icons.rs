//! Icon sets in Iconify's JSON form (npm packages `@iconify-json/*`), drawn with resvg. The packages are fetched by the user and never
//! committed; see `starter/NOTICE.md` for their licences.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use resvg::{tiny_skia, usvg};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::DataError;
use super::concept::Concept;
use super::sprites::{Drawings, SPRITE_SIDE, Source, Style};

#[derive(Deserialize)]
struct Icon {
    body: String,
    left: Option<f32>,
    top: Option<f32>,
    width: Option<f32>,
    height: Option<f32>,
}

#[derive(Deserialize)]
struct IconFile {
    icons: HashMap<String, Icon>,
    width: Option<f32>,
    height: Option<f32>,
}

#[derive(Deserialize)]
struct PackageFile {
    version: String,
    license: Option<String>,
}

/// One opened icon set.
pub struct IconSet {
    style: Style,
    icons: IconFile,
    /// Emoji code point → icon name; empty for a set that has none.
    characters: HashMap<String, String>,
    source: Source,
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|error| DataError::Read { path: path.to_owned(), error })
}

fn json<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> Result<T, DataError> {
    serde_json::from_slice(bytes).map_err(|error| DataError::IconFile { path: path.to_owned(), why: error.to_string() })
}

/// Where the package of a style lies below the folder the user named, if it is there.
pub fn find_package(folder: &Path, style: Style) -> Option<PathBuf> {
    let name = style.package()?;
    ["node_modules/@iconify-json", "@iconify-json", ""]
        .iter()
        .map(|middle| folder.join(middle).join(name))
        .find(|place| place.join("icons.json").is_file())
}

impl IconSet {
    /// Opens the package of a style below `folder`; `Ok(None)` where it is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is no icon set.
    pub fn open(folder: &Path, style: Style) -> Result<Option<Self>, DataError> {
        let Some(package) = find_package(folder, style) else {
            return Ok(None);
        };
        let icons_path = package.join("icons.json");
        let bytes = read(&icons_path)?;
        let icons: IconFile = json(&icons_path, &bytes)?;
        let about_path = package.join("package.json");
        let about: PackageFile = json(&about_path, &read(&about_path)?)?;
        let characters_path = package.join("chars.json");
        let characters =
            if characters_path.is_file() { json(&characters_path, &read(&characters_path)?)? } else { HashMap::new() };
        Ok(Some(Self {
            style,
            icons,
            characters,
            source: Source {
                name: format!("@iconify-json/{}", style.package().unwrap_or("")),
                version: about.version,
                licence: about.license.unwrap_or_else(|| "unknown".to_owned()),
                sha256: hex(&Sha256::digest(&bytes)),
            },
        }))
    }
}

impl IconSet {
    /// Every icon of the set as SVG text, in the order of their names.
    pub(super) fn svgs(&self) -> Vec<String> {
        let mut icons: Vec<(&String, &Icon)> = self.icons.icons.iter().collect();
        icons.sort_by_key(|(name, _)| *name);
        icons.into_iter().map(|(_, icon)| self.svg(icon)).collect()
    }

    fn svg(&self, icon: &Icon) -> String {
        let width = icon.width.or(self.icons.width).unwrap_or(16.0);
        let height = icon.height.or(self.icons.height).unwrap_or(16.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{width}\" height=\"{height}\" viewBox=\"{} {} {width} {height}\">{}</svg>",
            icon.left.unwrap_or(0.0),
            icon.top.unwrap_or(0.0),
            icon.body
        )
    }
}

impl Drawings for IconSet {
    fn source(&self) -> &Source {
        &self.source
    }

    fn style(&self) -> Style {
        self.style
    }

    fn draw(&self, concept: &Concept) -> Result<Option<Vec<u8>>, DataError> {
        let by_character = concept
            .emoji
            .as_ref()
            .and_then(|code| self.characters.get(code).or_else(|| self.characters.get(&format!("{code}-fe0f"))));
        let Some(name) = by_character.or(match self.style {
            Style::FxEmoji => concept.fxemoji.as_ref(),
            _ => None,
        }) else {
            return Ok(None);
        };
        let Some(icon) = self.icons.icons.get(name) else {
            return Ok(None);
        };
        let svg = self.svg(icon);
        draw_svg(&svg).map(Some).map_err(|why| DataError::Icon {
            set: self.source.name.clone(),
            icon: name.clone(),
            why,
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn draw_svg(svg: &str) -> Result<Vec<u8>, String> {
    let tree = usvg::Tree::from_str(svg, &usvg::Options::default()).map_err(|e| e.to_string())?;
    let side = SPRITE_SIDE as f32;
    let size = tree.size();
    let first = side / size.width().max(size.height());
    let draft = render(&tree, tiny_skia::Transform::from_scale(first, first))?;
    let Some([left, top, right, bottom]) = content(&draft) else {
        return Err("the icon is empty".to_owned());
    };
    // Drawn a second time so that its content fills the square but for one pixel on each side.
    let (width, height) = ((right - left) as f32, (bottom - top) as f32);
    let zoom = (side - 2.0) / width.max(height);
    let scale = first * zoom;
    let x = side / 2.0 - (left as f32 + width / 2.0) * zoom;
    let y = side / 2.0 - (top as f32 + height / 2.0) * zoom;
    render(&tree, tiny_skia::Transform::from_row(scale, 0.0, 0.0, scale, x, y))
}

fn render(tree: &usvg::Tree, transform: tiny_skia::Transform) -> Result<Vec<u8>, String> {
    let side = SPRITE_SIDE as u32;
    let mut canvas = tiny_skia::Pixmap::new(side, side).ok_or("no canvas")?;
    resvg::render(tree, transform, &mut canvas.as_mut());
    let mut rgba = Vec::with_capacity(SPRITE_SIDE * SPRITE_SIDE * 4);
    for pixel in canvas.pixels() {
        let colour = pixel.demultiply();
        rgba.extend([colour.red(), colour.green(), colour.blue(), colour.alpha()]);
    }
    Ok(rgba)
}

/// Left, top, right, bottom (exclusive) of what is visible in a sprite-sized straight RGBA picture.
pub(super) fn content(rgba: &[u8]) -> Option<[usize; 4]> {
    let mut found: Option<[usize; 4]> = None;
    for (i, pixel) in rgba.chunks_exact(4).enumerate() {
        if pixel[3] < 24 {
            continue;
        }
        let (x, y) = (i % SPRITE_SIDE, i / SPRITE_SIDE);
        let [left, top, right, bottom] = found.unwrap_or([x, y, x + 1, y + 1]);
        found = Some([left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_fills_its_square() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\" width=\"32\" height=\"32\"><rect x=\"4\" y=\"10\" width=\"8\" height=\"4\" fill=\"#f00\"/></svg>";
        let rgba = draw_svg(svg).expect("svg");
        let [left, top, right, bottom] = content(&rgba).expect("content");
        assert!(right - left >= SPRITE_SIDE - 4, "{left} {right}");
        assert!((bottom - top).abs_diff(SPRITE_SIDE / 2) <= 4);
        assert!(left.abs_diff(SPRITE_SIDE - right) <= 2 && top.abs_diff(SPRITE_SIDE - bottom) <= 2);
        assert!(draw_svg("<svg").is_err());
    }

    #[test]
    fn a_package_of_the_right_shape_opens() {
        let folder = std::env::temp_dir().join(format!("danqing-icons-{}", std::process::id()));
        let package = folder.join("@iconify-json/noto");
        fs::create_dir_all(&package).expect("folder");
        assert!(IconSet::open(&folder, Style::Noto).expect("absent").is_none());
        fs::write(
            package.join("icons.json"),
            r##"{"width":10,"height":10,"icons":{"cat-face":{"body":"<circle cx='5' cy='5' r='3' fill='#a52'/>"}}}"##,
        )
        .expect("write");
        fs::write(package.join("package.json"), r#"{"version":"1.0.0","license":"X"}"#).expect("write");
        fs::write(package.join("chars.json"), r#"{"1f431":"cat-face"}"#).expect("write");
        let set = IconSet::open(&folder, Style::Noto).expect("reads").expect("is there");
        let concepts = crate::data::concept::concepts().expect("list");
        let find = |id: &str| concepts.iter().find(|c| c.id == id).expect("concept");
        assert!(set.draw(find("cat")).expect("drawn").is_some());
        assert!(set.draw(find("dog")).expect("absent").is_none());
        assert_eq!(set.source().version, "1.0.0");
        fs::write(package.join("icons.json"), "{").expect("write");
        assert!(IconSet::open(&folder, Style::Noto).is_err());
        fs::remove_dir_all(&folder).expect("clean");
    }
}
