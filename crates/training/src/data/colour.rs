//! Colours that can be named: prototypes, OKLab (B. Ottosson, "A perceptual color space for image processing", 2020), recolouring of
//! a drawing, and the measurement that says which colour word a drawing deserves.

/// A colour word of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// English word.
    pub en: &'static str,
    /// Chinese word ending in 色.
    pub zh: &'static str,
    /// Chinese one-character form.
    pub zh_short: &'static str,
    /// The prototype, sRGB.
    pub rgb: [u8; 3],
}

const fn colour(en: &'static str, zh: &'static str, zh_short: &'static str, rgb: [u8; 3]) -> Colour {
    Colour { en, zh, zh_short, rgb }
}

/// The colours that objects are given; a colour id is an index into this list.
pub const OBJECT_COLOURS: [Colour; 8] = [
    colour("red", "红色", "红", [214, 36, 42]),
    colour("orange", "橙色", "橙", [247, 135, 28]),
    colour("yellow", "黄色", "黄", [250, 215, 48]),
    colour("green", "绿色", "绿", [58, 165, 68]),
    colour("blue", "蓝色", "蓝", [46, 102, 226]),
    colour("purple", "紫色", "紫", [132, 62, 190]),
    colour("pink", "粉色", "粉", [250, 142, 190]),
    colour("black", "黑色", "黑", [34, 34, 38]),
];

/// Further colours that a drawing may measure as, and that are never given to an object.
pub const OTHER_COLOURS: [Colour; 3] = [
    colour("brown", "棕色", "棕", [128, 82, 48]),
    colour("white", "白色", "白", [246, 246, 246]),
    colour("gray", "灰色", "灰", [150, 150, 152]),
];

/// A colour in OKLab: lightness 0–1, green–red, blue–yellow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lab {
    /// Lightness.
    pub l: f32,
    /// Green to red.
    pub a: f32,
    /// Blue to yellow.
    pub b: f32,
}

fn linear(value: f32) -> f32 {
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn encoded(value: f32) -> f32 {
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

impl Lab {
    /// From sRGB bytes.
    pub fn from_rgb(rgb: [u8; 3]) -> Self {
        let [r, g, b] = rgb.map(|v| linear(f32::from(v) / 255.0));
        let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
        let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
        let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
        Self {
            l: 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
            a: 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
            b: 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
        }
    }

    /// To sRGB bytes; colours outside the gamut lose chroma until they fit.
    pub fn to_rgb(self) -> [u8; 3] {
        let mut scale = 1.0;
        loop {
            let rgb = Self { l: self.l.clamp(0.0, 1.0), a: self.a * scale, b: self.b * scale }.linear_rgb();
            if scale < 0.1 || rgb.iter().all(|v| (-0.01..=1.01).contains(v)) {
                return rgb.map(|v| (encoded(v.clamp(0.0, 1.0)) * 255.0 + 0.5) as u8);
            }
            scale *= 0.93;
        }
    }

    fn linear_rgb(self) -> [f32; 3] {
        let l = (self.l + 0.396_337_78 * self.a + 0.215_803_76 * self.b).powi(3);
        let m = (self.l - 0.105_561_346 * self.a - 0.063_854_17 * self.b).powi(3);
        let s = (self.l - 0.089_484_18 * self.a - 1.291_485_5 * self.b).powi(3);
        [
            4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
            -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
            -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
        ]
    }

    /// Distance from grey.
    pub fn chroma(self) -> f32 {
        self.a.hypot(self.b)
    }

    /// Hue in radians, −π to π.
    pub fn hue(self) -> f32 {
        self.b.atan2(self.a)
    }

    /// Euclidean distance.
    pub fn distance(self, other: Self) -> f32 {
        let (l, a, b) = (self.l - other.l, self.a - other.a, self.b - other.b);
        (l * l + a * a + b * b).sqrt()
    }
}

/// All the colours a drawing can be measured as: the object colours, then the others.
pub fn named_colours() -> impl Iterator<Item = &'static Colour> {
    OBJECT_COLOURS.iter().chain(&OTHER_COLOURS)
}

/// What the pixels of a drawing say about its colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Index into [`named_colours`]; below 8 it is an object colour's id.
    pub colour: usize,
    /// Share of the votes that this colour had, 0–1.
    pub share: f32,
}

/// Measures the colour word of a drawing: every opaque pixel votes for the nearest prototype, coloured pixels four times as
/// strongly as grey ones. `rgba` is straight (not premultiplied). `None` for a picture with no opaque pixel.
pub fn measure(rgba: &[u8]) -> Option<Measured> {
    let prototypes: Vec<Lab> = named_colours().map(|c| Lab::from_rgb(c.rgb)).collect();
    let mut votes = [0.0_f32; OBJECT_COLOURS.len() + OTHER_COLOURS.len()];
    for pixel in rgba.chunks_exact(4).filter(|p| p[3] > 160) {
        let lab = Lab::from_rgb([pixel[0], pixel[1], pixel[2]]);
        votes[nearest(lab, &prototypes)] += if lab.chroma() > 0.05 { 1.0 } else { 0.25 };
    }
    let total: f32 = votes.iter().sum();
    let (colour, &most) = votes.iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1))?;
    (total > 0.0).then(|| Measured { colour, share: most / total })
}

fn nearest(lab: Lab, prototypes: &[Lab]) -> usize {
    // Shading moves lightness far more than it moves the word, so lightness counts half.
    let distance = |p: &Lab| {
        let (l, a, b) = (0.5 * (lab.l - p.l), lab.a - p.a, lab.b - p.b);
        l * l + a * a + b * b
    };
    let mut best = (0, f32::INFINITY);
    for (index, prototype) in prototypes.iter().enumerate() {
        let d = distance(prototype);
        if d < best.1 {
            best = (index, d);
        }
    }
    best.0
}

fn smooth(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn hue_distance(x: f32, y: f32) -> f32 {
    let d = (x - y).rem_euclid(std::f32::consts::TAU);
    d.min(std::f32::consts::TAU - d)
}

/// How much each pixel belongs to the drawing's body, the part that takes the colour: the pixels around its main hue, or
/// the grey ones where the drawing is mostly grey.
fn body_mask(pixels: &[(Lab, f32)]) -> Vec<f32> {
    let total: f32 = pixels.iter().map(|p| p.1).sum();
    let saturated: f32 = pixels.iter().filter(|p| p.0.chroma() > 0.06).map(|p| p.1).sum();
    let area = |mask: &[f32]| -> f32 { mask.iter().zip(pixels).map(|(m, p)| m * p.1).sum::<f32>() };
    let coloured = |lab: Lab| smooth(0.025, 0.06, lab.chroma());
    let grey: Vec<f32> = pixels.iter().map(|p| 1.0 - smooth(0.05, 0.09, p.0.chroma())).collect();
    if saturated < 0.3 * total {
        return grey;
    }
    const BINS: usize = 48;
    let mut bins = [0.0_f32; BINS];
    for (lab, weight) in pixels {
        let turn = lab.hue() / std::f32::consts::TAU + 0.5;
        bins[((turn * BINS as f32) as usize).min(BINS - 1)] += weight * lab.chroma();
    }
    let wide = |i: usize| -> f32 { (0..7).map(|k| bins[(i + BINS + k - 3) % BINS]).sum() };
    let peak = (0..BINS).max_by(|&x, &y| wide(x).total_cmp(&wide(y))).unwrap_or(0);
    let main = ((peak as f32 + 0.5) / BINS as f32 - 0.5) * std::f32::consts::TAU;
    let mask: Vec<f32> = pixels
        .iter()
        .map(|(lab, _)| coloured(*lab) * (1.0 - smooth(0.8, 1.25, hue_distance(lab.hue(), main))))
        .collect();
    if area(&mask) >= 0.4 * total {
        return mask;
    }
    let every_hue: Vec<f32> = pixels.iter().map(|p| coloured(p.0)).collect();
    if area(&every_hue) >= 0.45 * total {
        return every_hue;
    }
    vec![1.0; pixels.len()]
}

/// Gives a drawing (straight RGBA) the object colour `target`: the body's hue is set, its lightness and chroma are moved to
/// the prototype's while shading stays; the rest (eyes, a leaf, an outline) is kept.
pub fn recolour(rgba: &[u8], target: usize) -> Vec<u8> {
    let Some(colour) = OBJECT_COLOURS.get(target) else {
        return rgba.to_vec();
    };
    let goal = Lab::from_rgb(colour.rgb);
    let pixels: Vec<(Lab, f32)> =
        rgba.chunks_exact(4).map(|p| (Lab::from_rgb([p[0], p[1], p[2]]), f32::from(p[3]) / 255.0)).collect();
    let mask = body_mask(&pixels);
    let (mut weight, mut lightness, mut chroma) = (1e-6, 0.0, 0.0);
    for (m, (lab, alpha)) in mask.iter().zip(&pixels) {
        weight += m * alpha;
        lightness += m * alpha * lab.l;
        chroma += m * alpha * lab.chroma();
    }
    let (lightness, chroma) = (lightness / weight, chroma / weight);
    let black = goal.chroma() < 0.05;
    let contrast = if black { 0.5 } else { 0.75 };
    let mut out = rgba.to_vec();
    for ((pixel, m), (lab, _)) in out.chunks_exact_mut(4).zip(&mask).zip(&pixels) {
        if pixel[3] == 0 || *m <= 0.0 {
            continue;
        }
        let ratio = if chroma > 0.06 { (lab.chroma() / chroma).clamp(0.6, 1.2) } else { 1.0 };
        let l = (goal.l + (lab.l - lightness) * contrast).clamp(0.08, 0.97);
        // Very light and very dark pixels hold less colour.
        let fade = if black { 1.0 } else { 1.0 - 0.6 * smooth(0.18, 0.45, (l - goal.l).abs()) };
        let painted = Lab { l, a: goal.a * ratio * fade, b: goal.b * ratio * fade };
        let mixed = Lab {
            l: lab.l + (painted.l - lab.l) * m,
            a: lab.a + (painted.a - lab.a) * m,
            b: lab.b + (painted.b - lab.b) * m,
        };
        pixel[..3].copy_from_slice(&mixed.to_rgb());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oklab_of_known_colours() {
        // Values from Ottosson's article and the CSS Color 4 sample conversions.
        for (rgb, lab) in [
            ([255, 255, 255], [1.0, 0.0, 0.0]),
            ([255, 0, 0], [0.627_96, 0.224_86, 0.125_85]),
            ([0, 255, 0], [0.866_44, -0.233_89, 0.179_5]),
            ([0, 0, 255], [0.452_01, -0.032_46, -0.311_53]),
        ] {
            let got = Lab::from_rgb(rgb);
            for (x, y) in [got.l, got.a, got.b].into_iter().zip(lab) {
                assert!((x - y).abs() < 2e-4, "{rgb:?}: {got:?}");
            }
            assert_eq!(got.to_rgb(), rgb);
        }
    }

    #[test]
    fn prototypes_measure_as_themselves() {
        for (index, colour) in named_colours().enumerate() {
            let [r, g, b] = colour.rgb;
            let found = measure(&[r, g, b, 255].repeat(9)).expect("opaque");
            assert_eq!((found.colour, found.share), (index, 1.0), "{}", colour.en);
        }
        assert_eq!(measure(&[9, 9, 9, 0]), None);
    }

    #[test]
    fn recoloured_drawings_measure_right_and_keep_their_alpha() {
        // A shaded brown disc with a white eye and a soft edge.
        let mut picture = Vec::new();
        for i in 0..400_u32 {
            let shade = (i % 20) as u8;
            let alpha = if i % 20 == 0 { 90 } else { 255 };
            if i < 40 {
                picture.extend([250, 250, 250, alpha]);
            } else {
                picture.extend([110 + shade * 3, 70 + shade * 2, 40 + shade, alpha]);
            }
        }
        for target in 0..OBJECT_COLOURS.len() {
            let painted = recolour(&picture, target);
            let found = measure(&painted).expect("opaque");
            assert_eq!(found.colour, target);
            assert!(found.share > 0.8);
            assert!(painted.chunks(4).zip(picture.chunks(4)).all(|(x, y)| x[3] == y[3]));
            let eye = &painted[4 * 5..4 * 5 + 3];
            assert!(eye.iter().all(|&v| v > 235), "the eye changed: {eye:?}");
        }
    }
}
