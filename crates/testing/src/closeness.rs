//! Are two lists of numbers the same, and if not, where and by how much do they differ.

use std::fmt;

/// Largest allowed difference of one number: `absolute + relative * |want|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Allowed whatever the size of the number.
    pub absolute: f32,
    /// Allowed per unit of the wanted number's size.
    pub relative: f32,
}

impl From<f32> for Tolerance {
    /// The same bound absolute and relative.
    fn from(bound: f32) -> Self {
        Self { absolute: bound, relative: bound }
    }
}

impl From<(f32, f32)> for Tolerance {
    /// `(absolute, relative)`.
    fn from((absolute, relative): (f32, f32)) -> Self {
        Self { absolute, relative }
    }
}

/// How near `got` is to `want`.
#[derive(Clone, Debug)]
pub struct Closeness {
    /// Numbers compared.
    pub count: usize,
    /// Largest difference; NaN when one side alone is NaN somewhere.
    pub max_abs: f32,
    /// `|got - want| / |want|` over the whole list (Euclidean).
    pub relative_l2: f64,
    /// Cosine of the angle between the lists.
    pub cosine: f64,
    /// Largest distance in representable numbers between two finite values.
    pub max_ulp: u64,
    /// Numbers outside the tolerance.
    pub bad: usize,
    /// The first of them: index, got, want.
    pub first_bad: Option<(usize, f32, f32)>,
}

impl Closeness {
    /// Compares two lists.
    ///
    /// A NaN or infinity is only close to the same value.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn of(got: &[f32], want: &[f32], tolerance: impl Into<Tolerance>) -> Self {
        assert_eq!(got.len(), want.len(), "got {} numbers where {} are wanted", got.len(), want.len());
        let Tolerance { absolute, relative } = tolerance.into();
        let mut report =
            Self { count: got.len(), max_abs: 0.0, relative_l2: 0.0, cosine: 1.0, max_ulp: 0, bad: 0, first_bad: None };
        let (mut dot, mut gg, mut ww, mut dd) = (0f64, 0f64, 0f64, 0f64);
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            let same = g == w || g.is_nan() && w.is_nan();
            let difference = if same { 0.0 } else { (g - w).abs() };
            if difference.is_nan() || difference > report.max_abs {
                report.max_abs = difference;
            }
            let near = g.is_finite() && w.is_finite() && difference <= absolute + relative * w.abs();
            if !same && !near {
                report.bad += 1;
                report.first_bad.get_or_insert((i, g, w));
            }
            if g.is_finite() && w.is_finite() {
                report.max_ulp = report.max_ulp.max(ordered(g).abs_diff(ordered(w)));
                let (g, w) = (f64::from(g), f64::from(w));
                (dot, gg, ww, dd) = (dot + g * w, gg + g * g, ww + w * w, dd + (g - w) * (g - w));
            }
        }
        if gg > 0.0 && ww > 0.0 {
            report.cosine = dot / (gg * ww).sqrt();
        } else if gg != ww {
            report.cosine = 0.0;
        }
        if dd > 0.0 {
            report.relative_l2 = if ww > 0.0 { (dd / ww).sqrt() } else { f64::INFINITY };
        }
        report
    }

    /// True when no number was outside the tolerance.
    pub fn is_close(&self) -> bool {
        self.bad == 0
    }
}

/// The place of a float among all floats, so that neighbours differ by one.
fn ordered(value: f32) -> i64 {
    let bits = i64::from(value.to_bits() & 0x7fff_ffff);
    if value.is_sign_negative() { -bits } else { bits }
}

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "max abs {:.3e}, relative l2 {:.3e}, cosine {:.9}, max ulp {}",
            self.max_abs, self.relative_l2, self.cosine, self.max_ulp
        )?;
        if let Some((index, got, want)) = self.first_bad {
            write!(f, "; {} of {} outside, first [{index}]: got {got:e}, want {want:e}", self.bad, self.count)?;
        }
        Ok(())
    }
}

/// Fails with a report when a number of `got` is further from `want` than `tolerance` allows.
///
/// # Panics
/// When the lists differ in length or value.
#[track_caller]
pub fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: impl Into<Tolerance>) {
    assert_eq!(got.len(), want.len(), "{name}: got {} numbers where {} are wanted", got.len(), want.len());
    let tolerance = tolerance.into();
    let report = Closeness::of(got, want, tolerance);
    assert!(report.is_close(), "{name}: {report} (allowed {tolerance:?})");
}

/// Fails when `|got - want| / |want|` over the whole list exceeds `bound`: the measure for bf16 outputs.
///
/// # Panics
/// When the lists differ in length, by more than the bound, or in which numbers are finite.
#[track_caller]
pub fn assert_relative_l2(name: &str, got: &[f32], want: &[f32], bound: f64) {
    assert_eq!(got.len(), want.len(), "{name}: got {} numbers where {} are wanted", got.len(), want.len());
    let report = Closeness::of(got, want, (f32::MAX, 0.0));
    assert!(report.is_close() && report.relative_l2 <= bound, "{name}: {report} (allowed relative l2 {bound:e})");
}

/// Compares a network block by block and reports the first block that differs.
///
/// ```
/// let mut blocks = danqing_testing::Blocks::new("unet");
/// blocks.check("conv_in", &[1.0, 2.0], &[1.0, 2.0], 1e-5);
/// blocks.check("mid", &[0.5], &[0.5], 1e-5);
/// blocks.finish();
/// ```
#[derive(Debug)]
pub struct Blocks {
    network: String,
    lines: Vec<String>,
    first_bad: Option<String>,
}

impl Blocks {
    /// An empty comparison of `network`.
    pub fn new(network: &str) -> Self {
        Self { network: network.to_owned(), lines: Vec::new(), first_bad: None }
    }

    /// Compares the output of one block; blocks are given in the order of computation.
    pub fn check(&mut self, block: &str, got: &[f32], want: &[f32], tolerance: impl Into<Tolerance>) -> &mut Self {
        let (close, text) = if got.len() == want.len() {
            let report = Closeness::of(got, want, tolerance);
            (report.is_close(), report.to_string())
        } else {
            (false, format!("got {} numbers where {} are wanted", got.len(), want.len()))
        };
        if !close && self.first_bad.is_none() {
            self.first_bad = Some(block.to_owned());
        }
        self.lines.push(format!("{} {block}: {text}", if close { "  ok " } else { "DIFF " }));
        self
    }

    /// Ends the comparison.
    ///
    /// # Panics
    /// When a block differed: the message names the first one and lists all.
    #[track_caller]
    pub fn finish(&self) {
        if let Some(first) = &self.first_bad {
            panic!("{}: first block that differs: {first}\n{}", self.network, self.lines.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_name_the_first_bad_number() {
        let report = Closeness::of(&[1.0, 2.0, 3.5], &[1.0, 2.0, 3.0], 0.01);
        assert_eq!((report.bad, report.first_bad, report.max_abs), (1, Some((2, 3.5, 3.0)), 0.5));
        assert!(report.to_string().contains("first [2]: got 3.5e0, want 3e0"), "{report}");
    }

    #[test]
    fn nan_and_infinity_are_close_only_to_themselves() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(Closeness::of(&[nan, inf, -inf], &[nan, inf, -inf], 0.0).is_close());
        for (got, want) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (f32::MAX, inf)] {
            assert!(!Closeness::of(&[got], &[want], 1e30).is_close(), "{got} {want}");
        }
    }

    #[test]
    fn neighbours_are_one_ulp_apart() {
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert_eq!(Closeness::of(&[next], &[1.0], 1.0).max_ulp, 1);
        assert_eq!(Closeness::of(&[-0.0], &[0.0], 0.0).max_ulp, 0);
        assert_eq!(Closeness::of(&[f32::from_bits(1)], &[-f32::from_bits(1)], 1.0).max_ulp, 2);
    }

    #[test]
    #[should_panic(expected = "first block that differs: b")]
    fn bisecting_names_the_first_block() {
        let mut blocks = Blocks::new("net");
        blocks.check("a", &[1.0], &[1.0], 0.0).check("b", &[1.0], &[2.0], 0.1).check("c", &[1.0], &[2.0], 0.1);
        blocks.finish();
    }
}
