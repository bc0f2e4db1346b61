//! Networks of small convolutions at full size, run so that what one makes is still cached when the next reads it: each step
//! makes a strip of rows as soon as the rows that it sees are there, and the steps behind follow some rows later.
//!
//! A map may be written again by a later step: that step is always behind those that still read the old rows, since every 3×3
//! convolution between them costs a row.

use danqing_kernels::threads::threads;
use danqing_nn::Conv2d;
use danqing_tensor::{
    Activation, DType, Param, Plane, PlaneConv, PlaneResidual, ROWS_ALIGNMENT, Shuffled, Tensor, TensorError,
};

/// Bytes of a strip of the widest map for each thread: some of them stay in its second-level cache.
const STRIP: usize = 1 << 20;
/// Rows of a strip at least: each costs some starting.
const LEAST: usize = 4;

/// A map of a [`Staggered`] network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map(usize);

/// What is done to the sums of a convolution; see [`PlaneConv`].
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub activation: Activation,
    pub slopes: Option<&'a Param>,
    pub gain: f32,
    /// Channels of a map from its first on; of the output itself, what it holds.
    pub residual: Option<Map>,
    pub gate: bool,
}

impl Default for Ends<'_> {
    fn default() -> Self {
        Self { activation: Activation::None, slopes: None, gain: 1.0, residual: None, gate: false }
    }
}

impl Ends<'_> {
    pub fn activated(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }
}

enum Work<'a> {
    Conv {
        conv: &'a Conv2d,
        ends: Ends<'a>,
        /// First channel that is written.
        at: usize,
    },
    Upsample(usize),
    AddScaled(f32),
}

struct Step<'a> {
    from: Vec<usize>,
    to: usize,
    work: Work<'a>,
    /// Rows that it has made.
    done: usize,
}

/// Maps and the steps between them.
pub(super) struct Staggered<'a> {
    dtype: DType,
    planes: Vec<Option<Plane>>,
    /// Rows of each map that its last writer has made.
    ready: Vec<usize>,
    steps: Vec<Step<'a>>,
    /// Bytes of a strip of the widest map, and rows of it at least.
    strip: (usize, usize),
}

fn lost() -> TensorError {
    TensorError::Argument { op: "staggered network", why: "a map is read and written by one step".into() }
}

impl<'a> Staggered<'a> {
    /// The input, map 0; maps between are of `dtype`.
    pub fn new(x: &Tensor, dtype: DType) -> Result<(Self, Map), TensorError> {
        let plane = Plane::of(x)?;
        let rows = plane.shape()[1];
        Ok((
            Self {
                dtype,
                planes: vec![Some(plane)],
                ready: vec![rows],
                steps: Vec::new(),
                strip: (STRIP * threads(), LEAST),
            },
            Map(0),
        ))
    }

    /// A map of so many channels, `factor` times the sides of the input, all channels of which are read together.
    pub fn map(&mut self, channels: usize, factor: usize) -> Result<Map, TensorError> {
        self.add(channels, factor, self.dtype, true)
    }

    /// A map that grows channel by channel.
    pub fn wide_map(&mut self, channels: usize) -> Result<Map, TensorError> {
        self.add(channels, 1, self.dtype, false)
    }

    /// A map in f32, for results.
    pub fn result_map(&mut self, channels: usize, factor: usize) -> Result<Map, TensorError> {
        self.add(channels, factor, DType::F32, true)
    }

    fn add(&mut self, channels: usize, factor: usize, dtype: DType, stale: bool) -> Result<Map, TensorError> {
        let [batch, height, width, _] = self.plane(0)?.shape();
        let plane = Plane::new([batch, height * factor, width * factor, channels], dtype, stale)?;
        self.planes.push(Some(plane));
        self.ready.push(0);
        Ok(Map(self.planes.len() - 1))
    }

    fn plane(&self, index: usize) -> Result<&Plane, TensorError> {
        self.planes.get(index).and_then(Option::as_ref).ok_or_else(lost)
    }

    /// A convolution; of several maps by a 1×1 kernel.
    pub fn conv(&mut self, conv: &'a Conv2d, from: &[Map], to: Map, ends: Ends<'a>) {
        self.push(from, to, Work::Conv { conv, ends, at: 0 });
    }

    /// A convolution of the first channels of a map into those from `at` on.
    pub fn grow(&mut self, conv: &'a Conv2d, map: Map, at: usize, ends: Ends<'a>) {
        self.push(&[map], map, Work::Conv { conv, ends, at });
    }

    /// `to`, which is `factor` times as large, becomes `from` with its pixels repeated.
    pub fn upsample(&mut self, from: Map, to: Map, factor: usize) {
        self.push(&[from], to, Work::Upsample(factor));
    }

    /// Adds `gain` times `from` to the first channels of `to`.
    pub fn add_scaled(&mut self, from: Map, to: Map, gain: f32) {
        self.push(&[from], to, Work::AddScaled(gain));
    }

    fn push(&mut self, from: &[Map], to: Map, work: Work<'a>) {
        self.steps.push(Step { from: from.iter().map(|map| map.0).collect(), to: to.0, work, done: 0 });
    }

    /// Runs everything; the result is `last` (in f32) with squares of `factor` channels laid out as pixels, plus `base`'s nearest.
    pub fn run(mut self, last: Map, factor: usize, base: Option<Map>) -> Result<Tensor, TensorError> {
        let mut result = Shuffled::new(self.plane(last.0)?.shape(), factor)?;
        let [_, height, ..] = self.plane(0)?.shape();
        let row = |plane: &Plane| plane.shape()[2] * plane.shape()[3] * plane.dtype().bytes();
        let widest = self.planes.iter().flatten().filter(|p| p.shape()[1] == height).map(row).max().unwrap_or(1);
        let strip = (self.strip.0 / widest.max(1)).max(self.strip.1);
        let (mut given, mut taken) = (0, 0);
        let rows = self.plane(last.0)?.shape()[1];
        while taken < rows {
            given = (given + strip).min(height);
            self.ready[0] = given;
            let mut steps = std::mem::take(&mut self.steps);
            for step in &mut steps {
                self.advance(step)?;
            }
            self.steps = steps;
            let ready = self.ready[last.0];
            if ready > taken {
                let base = base.map(|base| self.plane(base.0)).transpose()?;
                result.take(self.plane(last.0)?, base, taken..ready)?;
                taken = ready;
            }
        }
        Ok(result.finished())
    }

    /// Makes the rows of a step that can be made now.
    fn advance(&mut self, step: &mut Step<'_>) -> Result<(), TensorError> {
        let height = self.plane(step.to)?.shape()[1];
        let mut ready = step.from.iter().map(|from| self.ready[*from]).min().unwrap_or(0);
        let source = self.plane(*step.from.first().ok_or_else(lost)?)?.shape()[1];
        match &step.work {
            // The row below is seen too, where there is one.
            Work::Conv { conv, .. } if ready < source => ready = ready.saturating_sub(conv.weight.shape()[2] / 2),
            Work::Upsample(factor) => ready *= factor,
            Work::Conv { .. } | Work::AddScaled(_) => {}
        }
        if self.dtype == DType::F32 && ready < height {
            ready -= ready % ROWS_ALIGNMENT;
        }
        let rows = step.done..ready.min(height).max(step.done);
        step.done = rows.end;
        self.ready[step.to] = rows.end;
        if rows.is_empty() {
            return Ok(());
        }
        let mut out = self.planes[step.to].take().ok_or_else(lost)?;
        let made = match &step.work {
            Work::Upsample(factor) => out.upsample_nearest(self.plane(step.from[0])?, *factor, rows),
            Work::AddScaled(gain) => out.add_scaled(self.plane(step.from[0])?, *gain, rows),
            Work::Conv { conv, ends, at } => {
                let Ends { activation, slopes, gain, gate, .. } = *ends;
                let layer =
                    PlaneConv { weight: &conv.weight, bias: conv.bias.as_ref(), activation, slopes, gain, gate };
                if step.from == [step.to] {
                    out.conv2d_within(&layer, *at, rows)
                } else {
                    let sources = step.from.iter().map(|from| self.plane(*from)).collect::<Result<Vec<_>, _>>()?;
                    let residual = match ends.residual {
                        None => None,
                        Some(Map(index)) if index == step.to => Some(PlaneResidual::Own),
                        Some(Map(index)) => Some(PlaneResidual::Of(self.plane(index)?, 0)),
                    };
                    out.conv2d(&sources, &layer, *at, rows, residual)
                }
            }
        };
        self.planes[step.to] = Some(out);
        made
    }
}

#[cfg(test)]
mod tests {
    use danqing_nn::{Conv2d, LoadOptions, Loader};
    use danqing_tensor::{Conv2dOptions, ConvFusion, Rng};

    use super::*;
    use crate::upscalers::layers::activated;

    const LEAKY: Activation = Activation::LeakyRelu(0.2);

    /// A convolution that grows a map in place, one that reads all of it and adds to what is there, a gate, an enlargement, a joint of
    /// two maps, and a result of 2 x 2 squares on the enlarged input.
    fn layers() -> Vec<Conv2d> {
        let loader = Loader::random_with(3, LoadOptions::inference(DType::F32));
        let sizes = [(3, 32, 3), (32, 32, 3), (64, 32, 3), (32, 32, 3), (32, 32, 3), (64, 40, 1), (40, 12, 3)];
        let layer = |(i, (c_in, c_out, kernel)): (usize, (usize, usize, usize))| {
            Conv2d::load(&loader.at(i), c_in, c_out, kernel, Conv2dOptions::padded(kernel / 2)).unwrap()
        };
        sizes.into_iter().enumerate().map(layer).collect()
    }

    fn plainly(layers: &[Conv2d], x: &Tensor) -> Tensor {
        let first = layers[0].forward(x).unwrap();
        let grown = Tensor::concat(&[&first, &activated(&layers[1], &first, LEAKY).unwrap()], 3).unwrap();
        let second = layers[2].forward(&grown).unwrap().mul_scalar(0.5).unwrap().add(&first).unwrap();
        let third = layers[3].forward(&second).unwrap().sigmoid_gate(&second).unwrap();
        let fusion = ConvFusion { residual: Some(&third), ..ConvFusion::default() };
        let fourth = layers[4].forward_with(&second, fusion).unwrap().add(&third.mul_scalar(0.3).unwrap()).unwrap();
        let joined = layers[5].forward(&Tensor::concat(&[&fourth, &second], 3).unwrap()).unwrap();
        let large = layers[6].forward(&joined.upsample_nearest(2).unwrap()).unwrap();
        let shuffled = large.pixel_shuffle(2).unwrap();
        shuffled.add(&x.upsample_nearest(4).unwrap()).unwrap()
    }

    fn staggered(layers: &[Conv2d], x: &Tensor, dtype: DType, rows: usize) -> Tensor {
        let (mut net, picture) = Staggered::new(x, dtype).unwrap();
        net.strip = (1, rows);
        let wide = net.wide_map(64).unwrap();
        let [second, third, fourth] = [(); 3].map(|()| net.map(32, 1).unwrap());
        net.conv(&layers[0], &[picture], wide, Ends::default());
        net.grow(&layers[1], wide, 32, Ends::activated(LEAKY));
        net.conv(&layers[2], &[wide], second, Ends { gain: 0.5, residual: Some(wide), ..Ends::default() });
        net.conv(&layers[3], &[second], third, Ends { residual: Some(second), gate: true, ..Ends::default() });
        net.conv(&layers[4], &[second], fourth, Ends { residual: Some(third), ..Ends::default() });
        net.add_scaled(third, fourth, 0.3);
        let (joined, large) = (net.map(40, 1).unwrap(), net.map(40, 2).unwrap());
        net.conv(&layers[5], &[fourth, second], joined, Ends::default());
        net.upsample(joined, large, 2);
        let result = net.result_map(12, 2).unwrap();
        net.conv(&layers[6], &[large], result, Ends::default());
        let base = net.result_map(3, 2).unwrap();
        net.upsample(picture, base, 2);
        net.run(result, 2, Some(base)).unwrap()
    }

    #[test]
    fn strips_of_any_height_equal_whole_maps() {
        let layers = layers();
        for shape in [[1, 1, 1, 3], [1, 5, 17, 3], [2, 13, 9, 3], [1, 40, 33, 3]] {
            let mut values = vec![0.0; shape.iter().product()];
            Rng::new(4).fill_uniform(&mut values, 0.0, 1.0);
            let x = Tensor::from_vec(values, &shape).unwrap();
            let want = plainly(&layers, &x);
            let one = staggered(&layers, &x, DType::F32, 1);
            let far = |a: &Tensor, b: &Tensor| {
                a.to_vec().iter().zip(b.to_vec()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            assert_eq!(one.shape(), want.shape());
            assert!(far(&one, &want) < 1e-5, "{shape:?}: {}", far(&one, &want));
            for rows in [2, 3, 7, 100] {
                assert_eq!(staggered(&layers, &x, DType::F32, rows).to_vec(), one.to_vec(), "{shape:?}, {rows} rows");
            }
            // Maps in bf16 keep 8 bits of a value; errors of the layers add up.
            let narrow = [1, 7].map(|rows| staggered(&layers, &x, DType::Bf16, rows));
            assert_eq!(narrow[0].to_vec(), narrow[1].to_vec());
            assert!(far(&narrow[0], &want) < 0.05, "{shape:?}: {}", far(&narrow[0], &want));
        }
    }
}
