//! Maps with a border of zeros, between which convolutions run row by row and without copies. They have no history.

use std::ops::Range;

use danqing_kernels::conv::{self as kernels, Conv2dShape, PackedConv, conv2d_plane, conv2d_within};
use danqing_kernels::gemm::Activation;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::packed::precision;
use crate::param::Param;
use crate::shape::Dims;
use crate::storage::{DType, Scalar, dispatch};
use crate::tensor::Tensor;

/// A map `[batch, height, width, channels]` of f32 or bf16 within a border of zeros, one pixel wide.
pub struct Plane(Values);

enum Values {
    F32(kernels::Plane<f32>),
    Bf16(kernels::Plane<half::bf16>),
}

/// A convolution of 3×3 or 1×1 that keeps height and width, with what is done to its sums:
/// `gain · activation(sum + bias) + residual`.
#[derive(Clone, Copy)]
pub struct PlaneConv<'a> {
    /// `[c_out, c_in, k, k]`.
    pub weight: &'a Param,
    /// `[c_out]`.
    pub bias: Option<&'a Param>,
    /// Applied to the sum.
    pub activation: Activation,
    /// PReLU after it: `[c_out]`, or one slope for all.
    pub slopes: Option<&'a Param>,
    /// What the value is multiplied with before the residual comes in.
    pub gain: f32,
    /// [`Tensor::sigmoid_gate`] with the residual instead of the sum.
    pub gate: bool,
}

/// What is added to the result of a convolution.
#[derive(Clone, Copy)]
pub enum PlaneResidual<'a> {
    /// Channels from this one on of another map of the same type and sides.
    Of(&'a Plane, usize),
    /// What the output holds already.
    Own,
}

/// An element type whose planes [`Plane`] can hold.
trait Held: Scalar {
    fn held_by(plane: &Plane) -> Option<&kernels::Plane<Self>>;
    fn held_by_mut(plane: &mut Plane) -> Option<&mut kernels::Plane<Self>>;
    fn hold(plane: kernels::Plane<Self>) -> Plane;
}

macro_rules! held {
    ($type:ty, $name:ident) => {
        impl Held for $type {
            fn held_by(plane: &Plane) -> Option<&kernels::Plane<Self>> {
                match &plane.0 {
                    Values::$name(plane) => Some(plane),
                    _ => None,
                }
            }
            fn held_by_mut(plane: &mut Plane) -> Option<&mut kernels::Plane<Self>> {
                match &mut plane.0 {
                    Values::$name(plane) => Some(plane),
                    _ => None,
                }
            }
            fn hold(plane: kernels::Plane<Self>) -> Plane {
                Plane(Values::$name(plane))
            }
        }
    };
}
held!(f32, F32);
held!(half::bf16, Bf16);

const OP: &str = "plane convolution";

/// Channels on either side from which minimal filtering saves more products than it costs.
const FILTERED: usize = 16;

/// Rows of a map in f32 should be asked for from a multiple of this on, and up to one or the map's end: then what a row holds does
/// not depend on how many were made at a time.
pub const ROWS_ALIGNMENT: usize = kernels::ROWS_ALIGNMENT;

fn misfit<T>(shapes: &[&[usize]], why: &str) -> Result<T> {
    shape_error(OP, shapes, why.to_owned())
}

impl Plane {
    /// A map of zeros; or of stale pixels, if whoever reads it reads all channels of pixels that were written, which is faster.
    ///
    /// # Errors
    /// If the shape has too many elements.
    pub fn new(shape: [usize; 4], dtype: DType, stale: bool) -> Result<Plane> {
        let [batch, height, width, channels] = shape;
        Dims::new(OP, &[batch, height.saturating_add(2), width.saturating_add(2), channels])?.checked_numel(OP)?;
        Ok(dispatch!(dtype, E => {
            let make = if stale { kernels::Plane::<E>::stale } else { kernels::Plane::<E>::zeroed };
            E::hold(make(batch, height, width, channels))
        }))
    }

    /// A copy of a map in f32.
    ///
    /// # Errors
    /// If it is not of rank four.
    pub fn of(x: &Tensor) -> Result<Plane> {
        let &[batch, height, width, channels] = x.shape() else {
            return misfit(&[x.shape()], "a map has four dimensions");
        };
        let x = crate::ops::converted(x, DType::F32);
        let mut plane = kernels::Plane::<f32>::zeroed(batch, height, width, channels);
        let (values, row) = (x.data::<f32>(), width * channels);
        plane.fill_rows(0..height, &|image, y, out| out.copy_from_slice(&values[(image * height + y) * row..][..row]));
        Ok(<f32 as Held>::hold(plane))
    }

    /// Batch, height, width, channels.
    pub fn shape(&self) -> [usize; 4] {
        match &self.0 {
            Values::F32(plane) => plane.shape(),
            Values::Bf16(plane) => plane.shape(),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self.0 {
            Values::F32(_) => DType::F32,
            Values::Bf16(_) => DType::Bf16,
        }
    }

    /// Rows `rows` of a convolution over `sources` (several only for 1×1 kernels, which then see their channels in this order) into
    /// the channels from `to` on. The sources' type decides the arithmetic.
    ///
    /// # Errors
    /// If shapes or types do not fit.
    pub fn conv2d(
        &mut self,
        sources: &[&Plane],
        conv: &PlaneConv<'_>,
        to: usize,
        rows: Range<usize>,
        residual: Option<PlaneResidual<'_>>,
    ) -> Result<()> {
        let Some(first) = sources.first() else { return misfit(&[], "there is no source") };
        let ([batch, height, width, channels], shape) = (first.shape(), self.shape());
        let same = |plane: &Plane| plane.shape() == first.shape() && plane.dtype() == first.dtype();
        if !sources.iter().all(|s| same(s)) || shape[..3] != [batch, height, width] || rows.end > height {
            return misfit(&[&first.shape(), &shape], "sources and result must be of one size, sources of one kind");
        }
        let pack = conv.packed(channels * sources.len(), sources.len(), first.dtype())?;
        let c_out = conv.weight.shape()[0];
        if to + c_out > shape[3] {
            return misfit(&[&shape, conv.weight.shape()], "the result has too few channels");
        }
        if let Some(PlaneResidual::Of(plane, from)) = residual {
            let other = plane.shape();
            if other[..3] != shape[..3] || from + c_out > other[3] || plane.dtype() != self.dtype() {
                return misfit(&[&other, &shape], "the residual must be of the result's size and type");
            }
        }
        dispatch!(first.dtype(), E => dispatch!(self.dtype(), O => {
            let sources: Vec<&kernels::Plane<E>> = sources.iter().filter_map(|s| <E as Held>::held_by(s)).collect();
            let Some(out) = <O as Held>::held_by_mut(self) else { return Ok(()) };
            conv.with_ends::<O>(residual, |ends| conv2d_plane(&sources, &pack, out, to, rows, ends))
        }))
    }

    /// As [`Plane::conv2d`], from this map's first channels into later ones.
    ///
    /// # Errors
    /// If shapes do not fit, or what is read (rounded up to 32 channels in bf16) reaches the channels that are written.
    pub fn conv2d_within(&mut self, conv: &PlaneConv<'_>, to: usize, rows: Range<usize>) -> Result<()> {
        let shape = self.shape();
        let [c_out, c_in, ..] = *conv.weight.shape() else { return misfit(&[conv.weight.shape()], "rank four") };
        let read = if self.dtype() == DType::Bf16 { c_in.next_multiple_of(32) } else { c_in };
        if read > to || to + c_out > shape[3] || rows.end > shape[1] {
            return misfit(&[&shape, conv.weight.shape()], "the channels do not lie one after the other");
        }
        let pack = conv.packed(shape[3], 1, self.dtype())?;
        dispatch!(self.dtype(), E => {
            let Some(map) = <E as Held>::held_by_mut(self) else { return Ok(()) };
            conv.with_ends::<E>(None, |ends| conv2d_within(map, &pack, to, rows, ends))
        })
    }

    /// Rows `rows` of this map as those of `from`, each pixel repeated `factor` times in both directions.
    ///
    /// # Errors
    /// If shapes or types do not fit.
    pub fn upsample_nearest(&mut self, from: &Plane, factor: usize, rows: Range<usize>) -> Result<()> {
        let ([batch, height, width, channels], shape) = (from.shape(), self.shape());
        if shape != [batch, height * factor, width * factor, channels] || rows.end > shape[1] || channels == 0 {
            return misfit(&[&from.shape(), &shape], "the sides are not multiples");
        }
        dispatch!(self.dtype(), E => match (<E as Held>::held_by_mut(self), <E as Held>::held_by(from)) {
            (Some(to), Some(from)) => to.upsample_nearest(from, factor, rows),
            _ => return misfit(&[&from.shape(), &shape], "the types differ"),
        });
        Ok(())
    }

    /// Adds `gain` times rows `rows` of `from` to this map's first channels.
    ///
    /// # Errors
    /// If shapes or types do not fit.
    pub fn add_scaled(&mut self, from: &Plane, gain: f32, rows: Range<usize>) -> Result<()> {
        let (theirs, shape) = (from.shape(), self.shape());
        if theirs[..3] != shape[..3] || theirs[3] > shape[3] || rows.end > shape[1] {
            return misfit(
                &[&theirs, &shape],
                "the other map must be of one size with this, and have no more channels",
            );
        }
        dispatch!(self.dtype(), E => match (<E as Held>::held_by_mut(self), <E as Held>::held_by(from)) {
            (Some(to), Some(from)) => to.add_scaled(from, gain, rows),
            _ => return misfit(&[&theirs, &shape], "the types differ"),
        });
        Ok(())
    }
}

/// A result that grows by rows: [`Tensor::pixel_shuffle`] of a plane, plus the nearest pixels of another.
pub struct Shuffled {
    values: PooledBuf<f32>,
    dims: Dims,
    factor: usize,
}

impl Shuffled {
    /// For planes of `shape`.
    ///
    /// # Errors
    /// If the channels are not a multiple of the squared factor.
    pub fn new([batch, height, width, wide]: [usize; 4], factor: usize) -> Result<Shuffled> {
        if factor == 0 || wide == 0 || !wide.is_multiple_of(factor * factor) {
            return misfit(&[&[batch, height, width, wide]], "the channels are no multiple of the squared factor");
        }
        let dims = Dims::new(OP, &[batch, height * factor, width * factor, wide / (factor * factor)])?;
        dims.checked_numel(OP)?;
        Ok(Shuffled { values: PooledBuf::dirty(dims.numel()), dims, factor })
    }

    /// Takes rows `rows` of `plane`, which are finished; `base` is added to each pixel that comes from its own.
    ///
    /// # Errors
    /// If shapes do not fit or a plane is not f32.
    pub fn take(&mut self, plane: &Plane, base: Option<&Plane>, rows: Range<usize>) -> Result<()> {
        let (Some(values), base) = (<f32 as Held>::held_by(plane), base.map(<f32 as Held>::held_by)) else {
            return misfit(&[&plane.shape()], "the plane must be f32");
        };
        let [batch, height, width, wide] = values.shape();
        let colours = wide / (self.factor * self.factor);
        let fits = self.values.len() == batch * height * width * wide && rows.end <= height;
        let based = match base {
            None => true,
            Some(base) => base.is_some_and(|base| base.shape() == [batch, height, width, colours]),
        };
        if !fits || !based {
            return misfit(&[&plane.shape(), &self.dims], "another plane's size, or another base");
        }
        values.pixel_shuffle(self.factor, base.flatten(), rows, &mut self.values);
        Ok(())
    }

    /// The result.
    pub fn finished(self) -> Tensor {
        Tensor::wrap(self.values, self.dims)
    }
}

impl PlaneConv<'_> {
    /// The weight for so many channels from so many sources.
    fn packed(&self, c_in: usize, parts: usize, dtype: DType) -> Result<PackedConv> {
        let weight = self.weight.shape();
        match *weight {
            [c_out, i, 1, 1] if c_out > 0 && i > 0 && i == c_in && parts > 1 => {
                Ok(self.weight.packed_parts(parts, precision(dtype)))
            }
            [c_out, i, kh, kw] if c_out > 0 && i > 0 && i <= c_in && parts == 1 && kh == kw && (kh == 1 || kh == 3) => {
                if dtype == DType::F32 && kh == 3 && i.min(c_out) >= FILTERED {
                    return Ok(self.weight.packed_filtered());
                }
                let shape = Conv2dShape::same(1, kh, kw, i, c_out, kh);
                let pack = self.weight.packed_conv(&shape, precision(dtype), false);
                if i < c_in && pack.is_fused() {
                    return misfit(&[weight, &[c_in]], "so few channels must be all that their map has");
                }
                Ok(pack)
            }
            _ => misfit(&[weight, &[c_in]], "kernels are 3x3 or 1x1 and take the channels of their sources"),
        }
    }

    fn with_ends<O: Held>(
        &self,
        residual: Option<PlaneResidual<'_>>,
        run: impl FnOnce(&kernels::PlaneEnds<'_, O>),
    ) -> Result<()> {
        let c_out = self.weight.shape()[0];
        let bias = self.bias.map(Param::wide);
        let slopes: Option<Vec<f32>> = self.slopes.map(|slopes| match slopes.wide().data::<f32>() {
            [slope] => vec![*slope; c_out],
            slopes => slopes.to_vec(),
        });
        let bias = bias.as_ref().map(|b| b.data::<f32>());
        if [bias, slopes.as_deref()].into_iter().flatten().any(|values| values.len() != c_out) {
            return misfit(&[self.weight.shape()], "bias and slopes have one value for each channel");
        }
        let residual = match residual {
            None => None,
            Some(PlaneResidual::Own) => Some(kernels::PlaneResidual::Own),
            Some(PlaneResidual::Of(plane, from)) => {
                O::held_by(plane).map(|plane| kernels::PlaneResidual::Of(plane, from))
            }
        };
        let (activation, gain, gate) = (self.activation, self.gain, self.gate);
        run(&kernels::PlaneEnds { bias, activation, slopes: slopes.as_deref(), gain, residual, gate });
        Ok(())
    }
}
