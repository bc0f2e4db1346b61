//! What a weight does to the text encoder's output.

/// How token weights act on the encoder's output `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emphasis {
    /// A1111 "Original": `z *= w`, then the whole chunk is scaled so that its mean is what it was.
    #[default]
    Original,
    /// A1111 "No norm": `z *= w` alone; better for SDXL, where the mean is close to 0.
    NoNorm,
    /// Weights are read but do nothing.
    Ignore,
    /// ComfyUI: `z = (z - z_empty) * w + z_empty` with the encoding of the empty prompt.
    FromEmpty,
}

/// Every emphasis with its name, for option lists and help.
pub const EMPHASES: [(&str, Emphasis); 4] = [
    ("original", Emphasis::Original),
    ("no-norm", Emphasis::NoNorm),
    ("ignore", Emphasis::Ignore),
    ("comfyui", Emphasis::FromEmpty),
];

impl Emphasis {
    /// Whether [`apply`](Self::apply) needs the encoding of [`Chunk::empty`](super::Chunk::empty).
    #[must_use]
    pub fn needs_empty(self) -> bool {
        self == Self::FromEmpty
    }

    /// Applies `weights` (one per position) to the encoding `z` of one chunk, `[positions, width]` row by row. `empty` is the
    /// encoding of the empty chunk in the same shape, read only where [`needs_empty`](Self::needs_empty).
    pub fn apply(self, z: &mut [f32], weights: &[f32], empty: &[f32]) {
        if self == Self::Ignore || weights.is_empty() || weights.iter().all(|&weight| weight == 1.0) {
            return;
        }
        let width = z.len() / weights.len();
        if width == 0 {
            return;
        }
        let mean = |z: &[f32]| z.iter().map(|&value| f64::from(value)).sum::<f64>() / z.len() as f64;
        let before = mean(z);
        for (position, (row, &weight)) in z.chunks_exact_mut(width).zip(weights).enumerate() {
            if weight == 1.0 {
                continue;
            }
            let origin = if self == Self::FromEmpty { empty.get(position * width..) } else { None };
            match origin {
                Some(origin) => row.iter_mut().zip(origin).for_each(|(value, &o)| *value = (*value - o) * weight + o),
                None => row.iter_mut().for_each(|value| *value *= weight),
            }
        }
        let after = mean(z);
        if self == Self::Original && after != 0.0 {
            let scale = (before / after) as f32;
            if scale.is_finite() {
                z.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
    const WEIGHTS: [f32; 3] = [1.0, 2.0, 1.0];

    fn applied(emphasis: Emphasis) -> Vec<f32> {
        let mut z = Z.to_vec();
        emphasis.apply(&mut z, &WEIGHTS, &[1.0; 6]);
        z
    }

    #[test]
    fn each_mode_does_what_its_formula_says() {
        assert_eq!(applied(Emphasis::NoNorm), [1.0, 2.0, 6.0, 8.0, 5.0, 9.0]);
        assert_eq!(applied(Emphasis::Ignore), Z);
        assert_eq!(applied(Emphasis::FromEmpty), [1.0, 2.0, 5.0, 7.0, 5.0, 9.0]);
        let scale = 24.0 / 31.0;
        let expected = [1.0, 2.0, 6.0, 8.0, 5.0, 9.0].map(|value: f32| value * scale);
        for (got, expected) in applied(Emphasis::Original).iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn odd_shapes_do_not_panic() {
        Emphasis::Original.apply(&mut [], &[2.0], &[]);
        Emphasis::FromEmpty.apply(&mut [1.0, 2.0], &[2.0, 0.5], &[]);
        Emphasis::Original.apply(&mut [1.0, -1.0], &[0.0, 0.0], &[]);
    }
}
