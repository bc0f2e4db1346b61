//! Drawings for upscalers: the icons of whole sets, drawn at any size over one another, so that edges are as sharp as pixels allow.

use std::path::Path;

use resvg::{tiny_skia, usvg};

use super::DataError;
use super::dice::Dice;
use super::icons::IconSet;
use super::sprites::Style;

/// All icons of the sets below a folder.
#[derive(Debug)]
pub struct Vectors {
    svgs: Vec<String>,
}

impl Vectors {
    /// Reads every set that is there.
    ///
    /// # Errors
    /// A file that cannot be read or is no icon set; [`DataError::NoIcons`] when there is no set.
    pub fn open(icons: &Path) -> Result<Self, DataError> {
        let mut svgs = Vec::new();
        for style in Style::PACKAGES {
            svgs.extend(IconSet::open(icons, style)?.map(|set| set.svgs()).unwrap_or_default());
        }
        if svgs.is_empty() {
            return Err(DataError::NoIcons { folder: icons.to_owned() });
        }
        Ok(Self { svgs })
    }

    /// A red and a blue square, and one that cannot be drawn.
    #[cfg(test)]
    pub(super) fn squares() -> Self {
        let square = |colour: &str| {
            format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 10 10\" width=\"10\" height=\"10\"><rect x=\"1\" y=\"1\" width=\"8\" height=\"8\" fill=\"{colour}\"/></svg>"
            )
        };
        Self { svgs: vec![square("#f00"), square("#00f"), "<svg".into()] }
    }

    /// Number of icons.
    pub fn len(&self) -> usize {
        self.svgs.len()
    }

    /// Whether there are none; an opened collection has some.
    pub fn is_empty(&self) -> bool {
        self.svgs.is_empty()
    }

    /// A patch of RGB in 0..1, `[side, side, 3]`: one to four icons of half to three times its side, some turned, over plain or shaded ground.
    pub(super) fn patch(&self, side: usize, dice: &mut Dice) -> Vec<f32> {
        let Some(mut canvas) = tiny_skia::Pixmap::new(side as u32, side as u32) else {
            return vec![1.0; side * side * 3];
        };
        ground(&mut canvas, dice);
        for _ in 0..1 + dice.below(4) {
            // An icon that resvg refuses is left out; the next is as good.
            let tree = dice.pick(&self.svgs).and_then(|svg| usvg::Tree::from_str(svg, &usvg::Options::default()).ok());
            let Some(tree) = tree else { continue };
            let across = side as f32;
            let scale = across * dice.between(0.5, 3.0) / tree.size().width().max(tree.size().height());
            let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
            let angle = if dice.chance(0.3) { dice.between(-30.0, 30.0) } else { 0.0 };
            let (x, y) = (dice.between(0.0, across), dice.between(0.0, across));
            let transform = tiny_skia::Transform::from_translate(-width / 2.0, -height / 2.0)
                .pre_scale(scale, scale)
                .post_rotate(angle)
                .post_translate(x, y);
            resvg::render(&tree, transform, &mut canvas.as_mut());
        }
        let unit = |v: u8| f32::from(v) / 255.0;
        // The ground leaves nothing transparent.
        canvas.pixels().iter().flat_map(|p| [unit(p.red()), unit(p.green()), unit(p.blue())]).collect()
    }
}

/// White in a third, one colour in another, two colours that run into each other in the last.
fn ground(canvas: &mut tiny_skia::Pixmap, dice: &mut Dice) {
    let side = canvas.width() as f32;
    let kind = dice.below(3);
    let mut colour =
        || tiny_skia::Color::from_rgba8(dice.below(256) as u8, dice.below(256) as u8, dice.below(256) as u8, 255);
    let shader = match kind {
        0 => tiny_skia::Shader::SolidColor(tiny_skia::Color::WHITE),
        1 => tiny_skia::Shader::SolidColor(colour()),
        _ => {
            let stops = vec![tiny_skia::GradientStop::new(0.0, colour()), tiny_skia::GradientStop::new(1.0, colour())];
            let angle = dice.between(0.0, std::f32::consts::TAU);
            let end = tiny_skia::Point::from_xy(side * angle.cos(), side * angle.sin());
            tiny_skia::LinearGradient::new(
                tiny_skia::Point::zero(),
                end,
                stops,
                tiny_skia::SpreadMode::Reflect,
                tiny_skia::Transform::identity(),
            )
            .unwrap_or(tiny_skia::Shader::SolidColor(tiny_skia::Color::WHITE))
        }
    };
    let paint = tiny_skia::Paint { shader, ..Default::default() };
    if let Some(all) = tiny_skia::Rect::from_xywh(0.0, 0.0, side, side) {
        canvas.fill_rect(all, &paint, tiny_skia::Transform::identity(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_opaque_varied_and_the_same_again() {
        let vectors = Vectors::squares();
        let patch = |index| vectors.patch(40, &mut Dice::new(3, index));
        let mut reds = 0;
        for index in 0..20 {
            let values = patch(index);
            assert_eq!(values.len(), 40 * 40 * 3);
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
            reds += usize::from(values.chunks_exact(3).any(|p| p == [1.0, 0.0, 0.0]));
            assert_eq!(values, patch(index));
        }
        assert!((3..20).contains(&reds), "{reds}");
    }
}
