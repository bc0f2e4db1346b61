//! Layer norm over rows: mean, then squared deviations, then the result, each over a row that lies in L1.

use crate::element::Element;
use crate::elementwise::Reduction;
use crate::elementwise::map::{Same, for_pieces};
use crate::elementwise::reduce::{reduce, sum_with};
use crate::pool::PooledBuf;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Shared;

/// Values per task.
const GRAIN: usize = 16 * 1024;

/// `out = (x - mean) / sqrt(variance + epsilon) · gamma + beta` in every row of `gamma.len()` values; mean and
/// 1/deviation are left in `stats` (`[rows, 2]`) for the gradient.
///
/// # Panics
/// If lengths do not fit.
pub fn layer_norm<E: Element>(
    x: &[E],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    out: &mut [E],
    stats: Option<&mut [f32]>,
) {
    let columns = gamma.len();
    let rows = check(columns, beta.len(), x.len());
    assert_eq!(out.len(), x.len(), "operand and result must have one length");
    let keep = stats.is_some();
    let mut none = [];
    let stats = stats.unwrap_or(&mut none);
    assert!(!keep || stats.len() == 2 * rows, "statistics are [rows, 2]");
    let (stats, out) = (Shared::new(stats), Shared::new(out));
    for_pieces(rows, GRAIN.div_ceil(columns), &|start, len| {
        for row in start..start + len {
            // SAFETY: every row is visited by one task.
            let out = unsafe { out.range(row * columns, columns) };
            let moments = dispatch(Row { x: &x[row * columns..(row + 1) * columns], gamma, beta, epsilon, out });
            if keep {
                // SAFETY: as above.
                unsafe { stats.range(2 * row, 2) }.copy_from_slice(&moments);
            }
        }
    });
}

fn check(columns: usize, other: usize, len: usize) -> usize {
    assert!(columns > 0 && other == columns, "gamma and beta must have one length, not zero");
    assert_eq!(len % columns, 0, "whole rows of {columns} values expected");
    len / columns
}

struct Row<'a, E> {
    x: &'a [E],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    out: &'a mut [E],
}

impl<E: Element> Kernel for Row<'_, E> {
    type Output = [f32; 2];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 2] {
        let n = self.x.len() as f32;
        let mean = sum_with(s, self.x, Same) / n;
        let center = s.splat(mean);
        let mut squares = [s.splat(0.0); 2];
        for (i, x) in self.x.chunks(S::LANES).enumerate() {
            // Lanes beyond the row are filled with the mean: deviation 0.
            let x = if x.len() == S::LANES { s.load_of(x) } else { s.load_part(x, mean) };
            let d = s.sub(x, center);
            squares[i % 2] = s.fma(d, d, squares[i % 2]);
        }
        let rstd = 1.0 / (s.sum(s.add(squares[0], squares[1])) / n + self.epsilon).sqrt();
        let factor = s.splat(rstd);
        let lines = self.gamma.chunks(S::LANES).zip(self.beta.chunks(S::LANES));
        for ((x, out), (gamma, beta)) in self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES)).zip(lines) {
            let normal = s.mul(s.sub(s.load_any(x), center), factor);
            s.store_any(s.fma(normal, s.load_any(gamma), s.load_any(beta)), out);
        }
        [mean, rstd]
    }
}

/// Gradient of [`layer_norm`]: `dx` and, summed over rows, `dgamma` and `dbeta`.
///
/// # Panics
/// If lengths do not fit.
pub fn layer_norm_grad<E: Element>(
    x: &[E],
    dy: &[E],
    gamma: &[f32],
    stats: &[f32],
    dx: &mut [E],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let columns = gamma.len();
    let rows = check(columns, dbeta.len(), x.len());
    assert!(
        dy.len() == x.len() && dx.len() == x.len() && dgamma.len() == columns,
        "gradients must have their operands' lengths"
    );
    assert_eq!(stats.len(), 2 * rows, "statistics are [rows, 2]");
    let block = GRAIN.div_ceil(columns);
    let blocks = rows.div_ceil(block);
    let mut sums = PooledBuf::<f32>::zeroed(blocks * 2 * columns);
    let (shared, out) = (Shared::new(&mut sums), Shared::new(dx));
    for_pieces(rows, block, &|start, len| {
        // SAFETY: every block has its own sums.
        let (gamma_sums, beta_sums) =
            unsafe { shared.range(start / block * 2 * columns, 2 * columns) }.split_at_mut(columns);
        for row in start..start + len {
            let at = row * columns..(row + 1) * columns;
            // SAFETY: every row is visited by one task.
            let dx = unsafe { out.range(at.start, columns) };
            let (x, dy, stats) = (&x[at.clone()], &dy[at], [stats[2 * row], stats[2 * row + 1]]);
            dispatch(GradRow { x, dy, gamma, stats, dx, gamma_sums: &mut *gamma_sums, beta_sums: &mut *beta_sums });
        }
    });
    if blocks == 0 {
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        return;
    }
    let mut both = vec![0.0f32; 2 * columns];
    reduce(Reduction::Sum, &sums[..], &[blocks, 2 * columns], &[true, false], &mut both);
    dgamma.copy_from_slice(&both[..columns]);
    dbeta.copy_from_slice(&both[columns..]);
}

struct GradRow<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    gamma: &'a [f32],
    stats: [f32; 2],
    dx: &'a mut [E],
    gamma_sums: &'a mut [f32],
    beta_sums: &'a mut [f32],
}

impl<E: Element> Kernel for GradRow<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = self.x.len();
        let (mean, rstd) = (s.splat(self.stats[0]), s.splat(self.stats[1]));
        let (mut plain, mut weighted) = (s.splat(0.0), s.splat(0.0));
        for c in (0..columns).step_by(S::LANES) {
            let at = c..columns.min(c + S::LANES);
            let normal = s.mul(s.sub(s.load_any(&self.x[at.clone()]), mean), rstd);
            let dy = s.load_any(&self.dy[at.clone()]);
            let scaled = s.mul(dy, s.load_any(&self.gamma[at.clone()]));
            plain = s.add(plain, scaled);
            weighted = s.fma(scaled, normal, weighted);
            let gamma_sums = &mut self.gamma_sums[at.clone()];
            s.store_any(s.fma(dy, normal, s.load_any(gamma_sums)), gamma_sums);
            let beta_sums = &mut self.beta_sums[at];
            s.store_any(s.add(dy, s.load_any(beta_sums)), beta_sums);
        }
        let n = columns as f32;
        let (level, slope) = (s.splat(s.sum(plain) / n), s.splat(s.sum(weighted) / n));
        for c in (0..columns).step_by(S::LANES) {
            let at = c..columns.min(c + S::LANES);
            let normal = s.mul(s.sub(s.load_any(&self.x[at.clone()]), mean), rstd);
            let scaled = s.mul(s.load_any(&self.dy[at.clone()]), s.load_any(&self.gamma[at.clone()]));
            let rest = s.fma(normal, slope, level);
            s.store_any(s.mul(s.sub(scaled, rest), rstd), &mut self.dx[at]);
        }
    }
}
