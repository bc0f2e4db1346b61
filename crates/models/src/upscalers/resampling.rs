//! Other sizes of maps as ONNX describes them: nearest, linear and cubic, with its ways of laying the new grid over the old one.
//!
//! Nothing is averaged where a map becomes smaller, as in the definition without `antialias`.

use danqing_tensor::{Tensor, TensorError};

/// How the new pixels lie over the old ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Grid {
    /// The borders of both lie on each other (`half_pixel`).
    Borders,
    /// The centres of the first and of the last pixels do (`align_corners`).
    Corners,
    /// The centres of the first pixels do, and distances keep the factor (`asymmetric`).
    First,
}

/// A way to make values between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sampling {
    /// Pixel `floor(i · old / new)`.
    Nearest,
    Linear(Grid),
    /// Keys' cubic with its free number.
    Cubic(Grid, f32),
}

impl Sampling {
    /// How many pixels on each side a value depends on; `None` where the place in the picture tells which.
    pub fn reach(self) -> Option<f64> {
        match self {
            Self::Linear(Grid::Corners) | Self::Cubic(Grid::Corners, _) => None,
            Self::Nearest | Self::Linear(_) => Some(1.0),
            Self::Cubic(..) => Some(2.0),
        }
    }

    /// `[b, h, w, c]` → `[b, height, width, c]`.
    pub fn run(self, x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor, TensorError> {
        match self {
            Self::Nearest => x.resize_nearest(height, width),
            Self::Linear(Grid::Borders) => x.resize_bilinear(height, width),
            _ => self.along(2, &self.along(1, x, height)?, width),
        }
    }

    fn along(self, axis: usize, x: &Tensor, to: usize) -> Result<Tensor, TensorError> {
        let from = x.dim(axis);
        if from == to {
            return Ok(x.clone());
        }
        let taps: Vec<[(u32, f32); 4]> = (0..to).map(|i| self.taps(i, from, to)).collect();
        let shape: &[usize] = if axis == 1 { &[to, 1, 1] } else { &[to, 1] };
        let mut sum: Option<Tensor> = None;
        for tap in 0..4 {
            let weights: Vec<f32> = taps.iter().map(|taps| taps[tap].1).collect();
            if weights.iter().all(|weight| *weight == 0.0) {
                continue;
            }
            let ids: Vec<u32> = taps.iter().map(|taps| taps[tap].0).collect();
            let weights = Tensor::from_vec(weights, shape)?.cast(x.dtype())?;
            let part = x.index_select(axis, &ids)?.mul(&weights)?;
            sum = Some(match sum {
                Some(sum) => sum.add(&part)?,
                None => part,
            });
        }
        Ok(sum.unwrap_or_else(|| x.clone()))
    }

    /// The old pixels that make up the new one of number `i`, with their weights.
    fn taps(self, i: usize, from: usize, to: usize) -> [(u32, f32); 4] {
        let (i, old, new) = (i as f64, from as f64, to as f64);
        let grid = match self {
            Self::Nearest => Grid::First,
            Self::Linear(grid) | Self::Cubic(grid, _) => grid,
        };
        let at = match grid {
            Grid::Borders => (i + 0.5) * old / new - 0.5,
            Grid::First => i * old / new,
            Grid::Corners if to == 1 => 0.0,
            Grid::Corners => i * (old - 1.0) / (new - 1.0),
        };
        let first = at.floor();
        let t = (at - first) as f32;
        let weights = match self {
            Self::Nearest => [0.0, 1.0, 0.0, 0.0],
            Self::Linear(_) => [0.0, 1.0 - t, t, 0.0],
            Self::Cubic(_, a) => {
                let near = |d: f32| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                let far = |d: f32| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
            }
        };
        let place = |tap: usize| (first as i64 + tap as i64 - 1).clamp(0, from as i64 - 1) as u32;
        std::array::from_fn(|tap| (place(tap), weights[tap]))
    }
}
