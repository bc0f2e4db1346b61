//! At what size a picture is drawn that shall have a given one.

use serde::{Deserialize, Serialize};

/// What is done with sizes for which a model was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sizing {
    /// They are drawn where the network can at all, as A1111 does.
    #[default]
    Exact,
    /// What lies far from the model's own size is drawn near it, in the same proportions, and brought to size afterwards.
    Native,
}

/// Width and height in pixels at which a picture is drawn, and those it shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawnSize {
    /// Drawn.
    pub drawn: (u32, u32),
    /// Wished.
    pub wished: (u32, u32),
}

/// Sizes that a network can draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Native {
    /// Side of the squares that it was trained on.
    pub side: u32,
    /// Sides are multiples of this.
    pub multiple: u32,
    /// It draws nothing but pictures whose shorter side is its own.
    pub only: bool,
    /// Side of what it gives where nothing is wished.
    pub usual: u32,
}

/// Areas up to this many times the native one are drawn as they are: both Stable Diffusion 1.x at 768×512 and XL at its widest buckets
/// stay whole, and at twice the area things begin to appear twice.
const NEAR: f64 = 1.6;

impl Native {
    pub(super) fn size(&self, wished: Option<(u32, u32)>, sizing: Sizing) -> DrawnSize {
        let wished = wished.unwrap_or((self.usual, self.usual));
        let (w, h) = (f64::from(wished.0.max(1)), f64::from(wished.1.max(1)));
        let own = f64::from(self.side);
        let far = w * h > NEAR * own * own || w * h * NEAR < own * own;
        let times = match (self.only, sizing) {
            (true, _) => own / w.min(h),
            (false, Sizing::Native) if far => own / (w * h).sqrt(),
            (false, _) => 1.0,
        };
        let side = |n: f64| {
            let multiple = f64::from(self.multiple);
            ((n * times / multiple).round().max(1.0) * multiple) as u32
        };
        DrawnSize { drawn: (side(w), side(h)), wished }
    }
}

impl DrawnSize {
    /// How many times larger the picture becomes, by its side that grows most.
    pub(super) fn factor(&self) -> f64 {
        let times = |to: u32, from: u32| f64::from(to) / f64::from(from.max(1));
        times(self.wished.0, self.drawn.0).max(times(self.wished.1, self.drawn.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SD: Native = Native { side: 512, multiple: 8, only: false, usual: 512 };

    #[test]
    fn exact_sizes_are_only_rounded_to_what_the_network_can() {
        let size = |wished| SD.size(wished, Sizing::Exact).drawn;
        assert_eq!(size(None), (512, 512));
        assert_eq!(size(Some((1024, 1024))), (1024, 1024));
        assert_eq!(size(Some((1000, 517))), (1000, 520));
        assert_eq!(size(Some((1, 1))), (8, 8));
    }

    #[test]
    fn far_sizes_are_drawn_near_the_native_one() {
        let size = |wished| SD.size(Some(wished), Sizing::Native);
        assert_eq!(size((768, 512)).drawn, (768, 512));
        assert_eq!(size((1024, 1024)).drawn, (512, 512));
        assert_eq!(size((1536, 1024)).drawn, (624, 416));
        assert_eq!(size((256, 256)).drawn, (512, 512));
        assert_eq!(size((1024, 1024)).factor(), 2.0);
        assert_eq!(size((256, 256)).factor(), 0.5);
    }

    #[test]
    fn the_starter_keeps_its_shorter_side() {
        let starter = Native { side: 64, multiple: 1, only: true, usual: 512 };
        let size = |wished| starter.size(wished, Sizing::Exact);
        assert_eq!((size(None).drawn, size(None).wished), ((64, 64), (512, 512)));
        assert_eq!(size(Some((1536, 1024))).drawn, (96, 64));
        assert_eq!(size(Some((64, 64))).factor(), 1.0);
        assert_eq!(size(Some((1024, 1536))).factor(), 16.0);
    }
}
