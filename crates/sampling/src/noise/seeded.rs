//! Noise from seeds, drawn in the order of the program whose pictures are wanted again.

use super::own::{self, Stream};
use super::torch_cpu::{DrawType, TorchCpu};
use super::variation::slerp;
use super::{Draw, NoiseSource, Variation, brownian, nv::NvPhilox, torch_tree};
use crate::error::{SampleError, check_length};

/// Which generator makes the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// Torch on a CPU (A1111's "CPU", ComfyUI, diffusers with a CPU generator).
    Cpu(DrawType),
    /// Torch on an NVIDIA card, in f32 (A1111's "NV").
    Nv,
    /// Our own, counter-based; with our own Brownian paths for SDE samplers.
    Own,
}

/// Who draws what. For SDE samplers A1111 and ComfyUI walk torchsde's Brownian tree, diffusers draws as for any step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawOrder {
    /// Picture `i` of a batch has a generator of its own, seeded with `seed + i`, and goes on with it in every step. Also
    /// diffusers with a list of generators, and stable-diffusion.cpp.
    A1111,
    /// One generator draws for the whole batch; step noise comes from a second one seeded with `seed + 1`, as on a CPU.
    ComfyUi,
    /// One generator draws for the whole batch and goes on in every step.
    Diffusers,
}

/// The shape of a state, which is also the order of drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseShape {
    /// Pictures.
    pub batch: usize,
    /// Channels of each.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl NoiseShape {
    /// Elements of one picture.
    pub fn picture(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Elements of the batch.
    pub fn numel(self) -> usize {
        self.batch * self.picture()
    }
}

/// A source of noise from a seed.
#[derive(Debug, Clone)]
pub struct SeededNoise {
    generator: Generator,
    order: DrawOrder,
    shape: NoiseShape,
    seed: u64,
    variation: Option<Variation>,
    step_seed_delta: u64,
    running: Vec<Running>,
    started: bool,
    /// Lowest and highest sigma of the run that is not 0.
    range: Option<(f64, f64)>,
}

impl SeededNoise {
    /// Noise for a batch of pictures that begins with `seed`.
    pub fn new(generator: Generator, order: DrawOrder, shape: NoiseShape, seed: u64) -> Self {
        let (variation, step_seed_delta, range) = (None, 0, None);
        let (running, started) = (Vec::new(), false);
        SeededNoise { generator, order, shape, seed, variation, step_seed_delta, running, started, range }
    }

    /// Goes some way towards another seed's noise. With a strength above 0 every picture of the batch keeps `seed`, and the
    /// other seed counts up, as in A1111.
    ///
    /// # Errors
    /// Where the strength is outside 0..=1.
    pub fn with_variation(mut self, variation: Variation) -> Result<Self, SampleError> {
        if !(0.0..=1.0).contains(&variation.strength) {
            return Err(SampleError::parameter("variation strength", variation.strength, "between 0 and 1"));
        }
        self.variation = (variation.strength > 0.0).then_some(variation);
        Ok(self)
    }

    /// Step noise from generators seeded anew with `seed + delta` (A1111's "eta noise seed delta", often 31337). 0: none.
    pub fn with_step_seed_delta(mut self, delta: u64) -> Self {
        self.step_seed_delta = delta;
        self
    }

    /// The seed of picture `i`: what to write into its metadata.
    pub fn seed_of(&self, i: usize) -> u64 {
        if self.variation.is_some() { self.seed } else { self.seed.wrapping_add(i as u64) }
    }

    /// How many generators there are, and how many values each draws.
    fn parts(&self) -> (usize, usize) {
        match self.order {
            DrawOrder::A1111 => (self.shape.batch, self.shape.picture()),
            DrawOrder::ComfyUi | DrawOrder::Diffusers => (1, self.shape.numel()),
        }
    }

    fn start(&self, delta: u64) -> Vec<Running> {
        let seeds = (0..self.parts().0).map(|i| self.seed_of(i).wrapping_add(delta));
        seeds.map(|seed| Running::new(self.generator, seed)).collect()
    }

    fn initial(&mut self, out: &mut [f32]) {
        self.running = self.start(0);
        let (_, len) = self.parts();
        for (part, running) in out.chunks_exact_mut(len).zip(&mut self.running) {
            running.draw(Draw::Initial, part);
        }
        if let Some(variation) = self.variation {
            let one = NoiseShape { batch: 1, ..self.shape };
            for (i, picture) in out.chunks_exact_mut(one.numel()).enumerate() {
                let mut other = vec![0f32; picture.len()];
                Running::new(self.generator, variation.seed.wrapping_add(i as u64)).draw(Draw::Initial, &mut other);
                picture.copy_from_slice(&slerp(one, variation.strength, picture, &other));
            }
        }
        let renewed = self.step_seed_delta + u64::from(self.order == DrawOrder::ComfyUi);
        if renewed != 0 {
            self.running = self.start(renewed);
        }
        self.started = true;
    }
}

impl SeededNoise {
    /// The increment on torchsde's tree, where the program imitated has one.
    fn draw_tree(&self, from: f64, to: f64, out: &mut [f32]) -> bool {
        let Some(range) = self.range else { return false };
        if self.generator == Generator::Own || self.order == DrawOrder::Diffusers {
            return false;
        }
        let (_, len) = self.parts();
        let normal = |seed: u64, out: &mut [f32]| Running::new(self.generator, seed).draw(Draw::Initial, out);
        for (i, part) in out.chunks_exact_mut(len).enumerate() {
            torch_tree::increment(self.seed_of(i), range, (from, to), &normal, part);
        }
        true
    }
}

impl NoiseSource for SeededNoise {
    fn begin(&mut self, sigmas: &[f64]) {
        let low = sigmas.iter().copied().filter(|s| *s > 0.0).fold(f64::INFINITY, f64::min);
        let high = sigmas.iter().copied().fold(0.0, f64::max);
        self.range = (low < high).then_some((low, high));
    }

    fn draw(&mut self, draw: Draw, out: &mut [f32]) -> Result<(), SampleError> {
        check_length("the buffer for noise", out.len(), self.shape.numel())?;
        if draw == Draw::Initial {
            self.initial(out);
            return Ok(());
        }
        if let Draw::Between { from, to } = draw
            && self.draw_tree(from, to, out)
        {
            return Ok(());
        }
        if !self.started {
            self.initial(&mut vec![0f32; out.len()]);
        }
        let (_, len) = self.parts();
        for (part, running) in out.chunks_exact_mut(len).zip(&mut self.running) {
            running.draw(draw, part);
        }
        Ok(())
    }

    fn seek(&mut self, draws: u64, len: usize) -> Result<(), SampleError> {
        check_length("the state", len, self.shape.numel())?;
        let mut scratch = vec![0f32; len];
        self.initial(&mut scratch);
        for _ in 0..draws {
            self.draw(Draw::Step { from: 1.0, to: 0.0 }, &mut scratch)?;
        }
        Ok(())
    }
}

/// A generator at some place of its sequence.
#[derive(Debug, Clone)]
enum Running {
    Cpu(Box<TorchCpu>, DrawType),
    Nv(NvPhilox),
    Own { seed: u64, draws: u32 },
}

impl Running {
    fn new(generator: Generator, seed: u64) -> Self {
        match generator {
            Generator::Cpu(draw_type) => Running::Cpu(Box::new(TorchCpu::new(seed)), draw_type),
            Generator::Nv => Running::Nv(NvPhilox::new(seed)),
            Generator::Own => Running::Own { seed, draws: 0 },
        }
    }

    fn draw(&mut self, draw: Draw, out: &mut [f32]) {
        match self {
            Running::Cpu(torch, draw_type) => torch.normal(*draw_type, out),
            Running::Nv(nv) => nv.normal(out),
            Running::Own { seed, .. } if draw == Draw::Initial => own::normal(*seed, Stream::Initial, 0, out),
            Running::Own { seed, draws } => {
                match draw {
                    Draw::Between { from, to } => brownian::increment(*seed, from, to, out),
                    _ => own::normal(*seed, Stream::Step, *draws, out),
                }
                *draws += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: NoiseShape = NoiseShape { batch: 2, channels: 4, height: 4, width: 4 };
    const CPU: Generator = Generator::Cpu(DrawType::F32);

    fn draws(mut source: SeededNoise, n: usize) -> Vec<Vec<f32>> {
        let step = Draw::Step { from: 2.0, to: 1.0 };
        (0..=n)
            .map(|i| {
                let mut out = vec![0f32; SHAPE.numel()];
                source.draw(if i == 0 { Draw::Initial } else { step }, &mut out).unwrap();
                out
            })
            .collect()
    }

    #[test]
    fn a1111s_second_picture_is_the_next_seed() {
        for generator in [CPU, Generator::Nv, Generator::Own] {
            let two = draws(SeededNoise::new(generator, DrawOrder::A1111, SHAPE, 5), 2);
            let one = draws(SeededNoise::new(generator, DrawOrder::A1111, SHAPE, 6), 2);
            for (two, one) in two.iter().zip(&one) {
                assert_eq!(two[SHAPE.picture()..], one[..SHAPE.picture()]);
            }
        }
    }

    #[test]
    fn orders_agree_on_the_first_picture_and_differ_after() {
        let [a, c, d] = [DrawOrder::A1111, DrawOrder::ComfyUi, DrawOrder::Diffusers]
            .map(|order| draws(SeededNoise::new(CPU, order, SHAPE, 5), 1));
        let n = SHAPE.picture();
        assert_eq!(a[0][..n], c[0][..n]);
        assert_eq!(c[0], d[0]);
        assert_ne!(a[0][n..], c[0][n..]);
        assert_ne!(a[1], d[1]);
        let next_seed = draws(SeededNoise::new(CPU, DrawOrder::Diffusers, SHAPE, 6), 0);
        assert_eq!(c[1], next_seed[0]);
    }

    #[test]
    fn seeking_is_drawing_on() {
        for generator in [CPU, Generator::Nv, Generator::Own] {
            for order in [DrawOrder::A1111, DrawOrder::ComfyUi, DrawOrder::Diffusers] {
                let source = SeededNoise::new(generator, order, SHAPE, 9).with_step_seed_delta(31337);
                let straight = draws(source.clone(), 3);
                let mut resumed = source;
                resumed.seek(2, SHAPE.numel()).unwrap();
                let mut out = vec![0f32; SHAPE.numel()];
                resumed.draw(Draw::Step { from: 2.0, to: 1.0 }, &mut out).unwrap();
                assert_eq!(out, straight[3]);
            }
        }
    }

    #[test]
    fn variations_keep_the_seed_and_vary_the_other() {
        let full = Variation { seed: 100, strength: 1.0 };
        let source = SeededNoise::new(CPU, DrawOrder::A1111, SHAPE, 5).with_variation(full).unwrap();
        assert_eq!((source.seed_of(0), source.seed_of(1)), (5, 5));
        let varied = draws(source, 0);
        let other = draws(SeededNoise::new(CPU, DrawOrder::A1111, SHAPE, 100), 0);
        assert!(varied[0].iter().zip(&other[0]).all(|(a, b)| (a - b).abs() < 1e-5));
        let bad = Variation { seed: 1, strength: 1.5 };
        assert!(SeededNoise::new(CPU, DrawOrder::A1111, SHAPE, 5).with_variation(bad).is_err());
    }
}
