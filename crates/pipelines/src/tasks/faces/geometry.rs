//! Where a face lies in a picture and where in the square that a network draws.
//!
//! Pixels are counted from the centre of the first, as landmarks are.

use danqing_models::detectors::Face;

/// Where FFHQ's alignment has eyes, nose and corners of the mouth in a square of 512 pixels (facexlib's template).
const TEMPLATE: [[f64; 2]; 5] = [
    [192.981_38, 239.947_08],
    [318.902_77, 240.193_6],
    [256.634_16, 314.019_35],
    [201.261_17, 371.410_43],
    [313.089_05, 371.151_18],
];
/// The template's side.
const SIDE: f64 = 512.0;
/// Where the area of an upright face has its centre in such a square, and the root of what it covers: from forehead to chin.
const BOX_CENTRE: [f64; 2] = [256.0, 280.0];
const BOX_SIDE: f64 = 330.0;

/// A turn, a scaling and a move: `[x, y]` → `[a·x − b·y + c, b·x + a·y + d]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Similarity {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
}

impl Similarity {
    /// The one that brings `from` as near to `to` as can be in the sum of squares (Umeyama 1991, of which this is what two
    /// dimensions without a reflection leave). `None` where the points do not tell, all lying on one spot.
    pub fn between(from: &[[f64; 2]], to: &[[f64; 2]]) -> Option<Self> {
        let mean = |points: &[[f64; 2]], axis: usize| points.iter().map(|p| p[axis]).sum::<f64>() / points.len() as f64;
        let (f, t) = ([mean(from, 0), mean(from, 1)], [mean(to, 0), mean(to, 1)]);
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (px, py, qx, qy) = (p[0] - f[0], p[1] - f[1], q[0] - t[0], q[1] - t[1]);
            along += px * qx + py * qy;
            across += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (along / spread, across / spread);
        let found = Self { a, b, c: t[0] - a * f[0] + b * f[1], d: t[1] - b * f[0] - a * f[1] };
        (found.scale().is_finite() && found.scale() > 0.0).then_some(found)
    }

    /// From a picture to a square of `side` pixels: by the landmarks where there are some that tell, else by the area. The second
    /// value says whether by landmarks.
    pub fn of_face(face: &Face, side: usize) -> Option<(Self, bool)> {
        // The template's pixels become larger or smaller ones, counted from their centres.
        let factor = side as f64 / SIDE;
        let place = |[x, y]: [f64; 2]| [(x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5];
        let by_points = face.landmarks.and_then(|points| {
            let from = points.map(|point| point.map(f64::from));
            Self::between(&from, &TEMPLATE.map(place))
        });
        if let Some(found) = by_points {
            return Some((found, true));
        }
        let [width, height] = face.size().map(f64::from);
        let a = BOX_SIDE * factor / (width * height).sqrt();
        let middle = |axis: usize| f64::from(face.area[axis] + face.area[axis + 2]) / 2.0 - 0.5;
        let [u, v] = place(BOX_CENTRE);
        let found = Self { a, b: 0.0, c: u - a * middle(0), d: v - a * middle(1) };
        (found.scale().is_finite() && found.scale() > 0.0).then_some((found, false))
    }

    pub fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.c, self.b * x + self.a * y + self.d]
    }

    /// How many times longer distances become.
    pub fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        Self { a, b, c: -(a * self.c - b * self.d), d: -(b * self.c + a * self.d) }
    }

    /// As this one, into a square `factor` times as large.
    pub fn enlarged(&self, factor: f64) -> Self {
        let Self { a, b, c, d } = *self;
        let place = |v: f64| (v + 0.5) * factor - 0.5;
        Self { a: a * factor, b: b * factor, c: place(c), d: place(d) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-3 && (a[1] - b[1]).abs() < 1e-3
    }

    #[test]
    fn a_known_turn_is_found_again() {
        let known = Similarity { a: 1.5, b: 0.7, c: -40.0, d: 12.0 };
        let back = known.inverse();
        let points = TEMPLATE.map(|point| back.at(point));
        let found = Similarity::between(&points, &TEMPLATE).unwrap();
        assert!((found.a - 1.5).abs() < 1e-9 && (found.d - 12.0).abs() < 1e-6, "{found:?}");
        for point in [[0.0, 0.0], [17.0, -4.0]] {
            assert!(near(back.at(known.at(point)), point));
        }
        assert_eq!(Similarity::between(&[[3.0, 4.0]; 5], &TEMPLATE), None);
    }

    #[test]
    fn faces_come_to_lie_on_the_template() {
        let landmarks = TEMPLATE.map(|[x, y]| [100.0 + 0.25 * x as f32, 50.0 + 0.25 * y as f32]);
        let face = Face { area: [100.0, 50.0, 228.0, 178.0], score: 1.0, landmarks: Some(landmarks) };
        let (by_points, told) = Similarity::of_face(&face, 512).unwrap();
        assert!(told && near(by_points.at(landmarks[2].map(f64::from)), TEMPLATE[2]));
        assert!((by_points.scale() - 4.0).abs() < 1e-5);

        // Half the square: half the template, by the centres of pixels.
        let (small, _) = Similarity::of_face(&face, 256).unwrap();
        let place = TEMPLATE[1].map(|v| (v + 0.5) / 2.0 - 0.5);
        assert!(near(small.at(landmarks[1].map(f64::from)), place));
        assert!(near(small.enlarged(2.0).at(landmarks[1].map(f64::from)), TEMPLATE[1]));

        let (by_area, told) = Similarity::of_face(&Face { landmarks: None, ..face }, 512).unwrap();
        assert!(!told && near(by_area.at([163.5, 113.5]), BOX_CENTRE));
        assert!((by_area.scale() * 128.0 - BOX_SIDE).abs() < 1e-6);
        let nothing = Face { area: [5.0; 4], score: 1.0, landmarks: Some([[1.0; 2]; 5]) };
        assert_eq!(Similarity::of_face(&nothing, 512), None);
    }
}
