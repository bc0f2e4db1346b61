//! Rectangles inside a picture: what a masked edit cuts out.

/// A rectangle of pixels, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Region {
    /// The region with `margin` pixels more on every side, cut at the edges of a picture of size `bounds`.
    #[must_use]
    pub fn padded(self, margin: u32, bounds: (u32, u32)) -> Self {
        let side = |start: u32, length: u32, bound: u32| {
            let from = start.saturating_sub(margin);
            let to = start.saturating_add(length).saturating_add(margin).min(bound);
            (from, to.saturating_sub(from).max(1))
        };
        let (left, width) = side(self.left, self.width, bounds.0);
        let (top, height) = side(self.top, self.height, bounds.1);
        Self { left, top, width, height }
    }

    /// The smallest region around this one whose proportions are those of `aspect` (width, height), as far as
    /// `bounds` allow; it is moved inwards where it would reach outside.
    #[must_use]
    pub fn with_aspect(self, aspect: (u32, u32), bounds: (u32, u32)) -> Self {
        let (wanted_width, wanted_height) = (f64::from(aspect.0.max(1)), f64::from(aspect.1.max(1)));
        let ratio = wanted_width / wanted_height;
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        let new_width = (height * ratio).round().max(width) as u32;
        let new_height = (width / ratio).round().max(height) as u32;
        self.grown_to(new_width, new_height, bounds)
    }

    /// The smallest region around this one whose sides are multiples of `multiple`, as far as `bounds` allow.
    #[must_use]
    pub fn aligned(self, multiple: u32, bounds: (u32, u32)) -> Self {
        let up = |side: u32, bound: u32| {
            let wanted = side.checked_next_multiple_of(multiple).unwrap_or(side);
            // Where the picture itself is too small, the largest multiple that still covers the region, if any.
            let largest = bound.checked_div(multiple).map_or(bound, |n| n * multiple);
            if wanted <= bound { wanted } else { largest.max(side) }
        };
        self.grown_to(up(self.width, bounds.0), up(self.height, bounds.1), bounds)
    }

    fn grown_to(self, width: u32, height: u32, bounds: (u32, u32)) -> Self {
        let side = |start: u32, length: u32, wanted: u32, bound: u32| {
            let new = wanted.min(bound).max(length.min(bound)).max(1);
            let from = start.saturating_sub(new.saturating_sub(length) / 2);
            (from.min(bound.saturating_sub(new)), new)
        };
        let (left, width) = side(self.left, self.width, width, bounds.0);
        let (top, height) = side(self.top, self.height, height, bounds.1);
        Self { left, top, width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(outer: Region, inner: Region) -> bool {
        outer.left <= inner.left
            && outer.top <= inner.top
            && outer.left + outer.width >= inner.left + inner.width
            && outer.top + outer.height >= inner.top + inner.height
    }

    #[test]
    fn every_growth_covers_the_region_and_stays_inside() {
        for bounds in [(100, 80), (7, 200), (64, 64)] {
            for (left, top, width, height) in [(0, 0, 1, 1), (3, 5, 4, 50), (2, 2, 5, 6), (0, 0, 7, 64)] {
                let region = Region { left, top, width, height };
                for grown in [
                    region.padded(9, bounds),
                    region.with_aspect((2, 1), bounds),
                    region.with_aspect((1, 3), bounds),
                    region.aligned(8, bounds),
                    region.aligned(0, bounds),
                ] {
                    assert!(contains(grown, region), "{grown:?} {region:?}");
                    assert!(grown.left + grown.width <= bounds.0 && grown.top + grown.height <= bounds.1, "{grown:?}");
                }
            }
        }
    }

    #[test]
    fn room_enough_gives_the_wished_shape() {
        let region = Region { left: 50, top: 40, width: 10, height: 10 };
        let wide = region.with_aspect((2, 1), (200, 200));
        assert_eq!((wide.left, wide.top, wide.width, wide.height), (45, 40, 20, 10));
        let aligned = region.aligned(8, (200, 200));
        assert_eq!((aligned.width, aligned.height, aligned.left), (16, 16, 47));
        let corner = Region { left: 0, top: 0, width: 3, height: 3 }.aligned(8, (200, 200));
        assert_eq!(corner, Region { left: 0, top: 0, width: 8, height: 8 });
    }
}
