//! UniPC: Zhao et al. 2023, arXiv 2302.04867, algorithms 1 and 2, predicting the clean picture.
//!
//! Each evaluation first corrects the state that it was made at, then serves to predict the next: two orders for the price
//! of one. `bh1` scales the differences by `-h`, `bh2` by `exp(-h) - 1`.

use super::transition::{lambda_step, towards};
use crate::error::SampleError;
use crate::path::NoisePath;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// UniPC with `B(h) = -h`.
#[derive(Debug)]
pub(super) struct UniPc;

/// UniPC with `B(h) = exp(-h) - 1`.
#[derive(Debug)]
pub(super) struct UniPcBh2;

impl Sampler for UniPc {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "uni_pc",
            name: "UniPC",
            aliases: &["unipc", "uni_pc_bh1"],
            order: 3,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: true,
            default_eta: 0.0,
            paper: "Zhao et al. 2023, arXiv 2302.04867",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        predict_and_correct(step, |hh| hh)
    }
}

impl Sampler for UniPcBh2 {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "uni_pc_bh2",
            name: "UniPC bh2",
            aliases: &["unipc_bh2", "UniPCMultistepScheduler"],
            order: 3,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: true,
            default_eta: 0.0,
            paper: "Zhao et al. 2023, arXiv 2302.04867",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        predict_and_correct(step, libm::expm1)
    }
}

/// Remembered are, newest first, the corrected state of the step before, then the clean pictures.
fn predict_and_correct(step: &mut Step<'_>, b_of: fn(f64) -> f64) -> Result<(), SampleError> {
    let wanted = step.options().order.unwrap_or(2).min(3);
    let (path, sigma, next) = (step.path(), step.sigma(), step.next());
    let x0 = step.denoise(sigma)?;
    if step.memory() > 0 {
        let known = step.memory() - 1;
        let order = wanted.min(step.total() + 1 - step.index()).min(known);
        let corrected = correct(step, &x0, order, b_of);
        step.set(corrected);
    }
    let mut pictures: Vec<Vec<f32>> = vec![x0];
    pictures.extend((1..step.memory()).filter_map(|back| step.remembered(back).map(<[f32]>::to_vec)));
    pictures.truncate(wanted);

    let order = wanted.min(step.total() - step.index()).min(pictures.len());
    let mut x = towards(path, step.x(), &pictures[0], sigma, next);
    if order > 1 {
        let h = lambda_step(path, sigma, next);
        let nodes = ratios(step, path, 0, order, h);
        let weights = if order == 2 { vec![0.5] } else { solve(&nodes, -h, b_of(-h)) };
        let scale = -path.alpha(next) * b_of(-h);
        x = add_differences(&x, scale, &weights, &nodes, &pictures[0], &pictures[1..order]);
    }
    step.forget();
    for picture in pictures.into_iter().rev() {
        step.remember(picture, wanted + 1);
    }
    step.remember(step.x().to_vec(), wanted + 1);
    step.set(x);
    Ok(())
}

/// The state of this noise level again, from the step before with the clean picture `x0` seen at its end.
fn correct(step: &Step<'_>, x0: &[f32], order: usize, b_of: fn(f64) -> f64) -> Vec<f32> {
    let (path, before, sigma) = (step.path(), step.earlier(1), step.sigma());
    let remembered = |back: usize| step.remembered(back).unwrap_or(&[]);
    let h = lambda_step(path, before, sigma);
    let mut nodes = ratios(step, path, 1, order, h);
    nodes.push(1.0);
    let weights = if order == 1 { vec![0.5] } else { solve(&nodes, -h, b_of(-h)) };
    let start = towards(path, remembered(0), remembered(1), before, sigma);
    let others: Vec<Vec<f32>> = (2..=order).map(|back| remembered(back).to_vec()).chain([x0.to_vec()]).collect();
    add_differences(&start, -path.alpha(sigma) * b_of(-h), &weights, &nodes, remembered(1), &others)
}

/// Where earlier clean pictures lie, in steps of `h` from the one `back` steps ago.
fn ratios(step: &Step<'_>, path: NoisePath, back: usize, order: usize, h: f64) -> Vec<f64> {
    (1..order).map(|i| lambda_step(path, step.earlier(back), step.earlier(back + i)) / h).collect()
}

/// `x + scale * sum of weight * (other - newest) / node`.
fn add_differences(
    x: &[f32],
    scale: f64,
    weights: &[f64],
    nodes: &[f64],
    newest: &[f32],
    others: &[Vec<f32>],
) -> Vec<f32> {
    let parts: Vec<f64> = weights.iter().zip(nodes).map(|(w, node)| scale * w / node).collect();
    let mut terms = vec![(1.0, x), (-parts.iter().sum::<f64>(), newest)];
    terms.extend(parts.iter().zip(others).map(|(part, other)| (*part, other.as_slice())));
    combine(&terms)
}

/// Solves the paper's `R(h) a = phi(h) / B(h)`, with powers of the nodes as rows; at most three unknowns.
fn solve(nodes: &[f64], hh: f64, b: f64) -> Vec<f64> {
    let n = nodes.len();
    let mut phi = libm::expm1(hh) / hh - 1.0;
    let mut factorial = 1.0;
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for i in 0..n {
        let mut row: Vec<f64> = nodes.iter().map(|r| libm::pow(*r, i as f64)).collect();
        row.push(phi * factorial / b);
        rows.push(row);
        factorial *= (i + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    for i in 0..n {
        let pivot = (i..n).max_by(|a, b| rows[*a][i].abs().total_cmp(&rows[*b][i].abs())).unwrap_or(i);
        rows.swap(i, pivot);
        let top = rows[i].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != i) {
            let factor = row[i] / top[i];
            row.iter_mut().zip(&top).for_each(|(value, above)| *value -= factor * above);
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}
