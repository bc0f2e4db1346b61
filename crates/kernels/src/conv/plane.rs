//! Convolutions between maps that carry a border of zeros, for networks of many small convolutions at full size: nothing is
//! copied between them, rows can be made in any order, and results go into some channels of a wider map.

use std::ops::Range;

use super::{PackedConv, winograd};
use crate::element::Element;
use crate::gemm::engine::{self, Product, Tile, Tiles};
use crate::gemm::finish::Finish;
use crate::gemm::micro::{TILE, Tap};
use crate::gemm::packed::BLOCK;
use crate::gemm::{Activation, Epilogue, Precision};
use crate::pool::PooledBuf;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{Shared, parallel_for};

/// A map `[batch, height, width, channels]` within one row and one column of zeros on each side.
pub struct Plane<E: Element> {
    values: PooledBuf<E>,
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
}

/// Elements behind the last pixel that products may read, and must find finite.
const BEHIND: usize = 2 * BLOCK;

impl<E: Element> Plane<E> {
    /// A map of zeros.
    pub fn zeroed(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        let len = batch * (height + 2) * (width + 2) * channels + BEHIND;
        Plane { values: PooledBuf::zeroed(len), batch, height, width, channels }
    }

    /// A map whose pixels are stale and must be written, rows as a whole, before they are read. Every convolution that reads it must
    /// take all of its channels.
    pub fn stale(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        if channels == 0 {
            return Self::zeroed(batch, height, width, channels);
        }
        let len = batch * (height + 2) * (width + 2) * channels + BEHIND;
        let mut plane = Plane { values: PooledBuf::dirty(len), batch, height, width, channels };
        let (line, lines) = ((width + 2) * channels, height + 2);
        // Products over one or three pixels are rounded up to blocks. At the end of a row that reaches into the next, which may not
        // be written yet.
        let beyond = |k: usize| k.next_multiple_of(BLOCK) - k;
        let reached = channels + beyond(channels).max(beyond(3 * channels));
        for image in plane.values[..len - BEHIND].chunks_exact_mut((line * lines).max(1)) {
            for (y, row) in image.chunks_exact_mut(line).enumerate() {
                if y == 0 || y + 1 == lines {
                    row.fill(E::ZERO);
                } else {
                    row[..reached.min(line)].fill(E::ZERO);
                    row[line - channels..].fill(E::ZERO);
                }
            }
        }
        plane.values[len - BEHIND..].fill(E::ZERO);
        plane
    }

    /// Batch, height, width, channels.
    pub fn shape(&self) -> [usize; 4] {
        [self.batch, self.height, self.width, self.channels]
    }

    /// The first element of a row.
    fn at(&self, image: usize, y: usize) -> usize {
        ((image * (self.height + 2) + y + 1) * (self.width + 2) + 1) * self.channels
    }

    /// Row `y` of a picture, `[width, channels]`.
    pub fn row(&self, image: usize, y: usize) -> &[E] {
        &self.values[self.at(image, y)..][..self.width * self.channels]
    }

    /// Calls `fill(image, y, row)` for each of `rows` of every picture, on several threads.
    pub fn fill_rows(&mut self, rows: Range<usize>, fill: &(dyn Fn(usize, usize, &mut [E]) + Sync)) {
        assert!(rows.end <= self.height, "rows {rows:?} of {}", self.height);
        let (height, width, channels) = (self.height, self.width, self.channels);
        let row = width * channels;
        let values = Shared::new(&mut self.values);
        let count = rows.len();
        parallel_for(self.batch * count, &|i| {
            let (image, y) = (i / count, rows.start + i % count);
            let at = ((image * (height + 2) + y + 1) * (width + 2) + 1) * channels;
            // SAFETY: rows are disjoint and each is one task's.
            fill(image, y, unsafe { values.range(at, row) });
        });
    }
}

impl<E: Element> Plane<E> {
    /// Rows `rows` of this map as those of `from`, a map of `1 / factor` the sides, each pixel repeated.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn upsample_nearest(&mut self, from: &Plane<E>, factor: usize, rows: Range<usize>) {
        let [batch, height, width, channels] = from.shape();
        assert_eq!(self.shape(), [batch, height * factor, width * factor, channels], "not {factor} times the map");
        self.fill_rows(rows, &|image, y, row| {
            let pixels = from.row(image, y / factor).chunks_exact(channels);
            for (pixel, out) in pixels.zip(row.chunks_exact_mut(channels * factor)) {
                out.chunks_exact_mut(channels).for_each(|out| out.copy_from_slice(pixel));
            }
        });
    }

    /// Adds `gain` times rows `rows` of `from` to the first channels of this map.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn add_scaled(&mut self, from: &Plane<E>, gain: f32, rows: Range<usize>) {
        let [batch, height, width, channels] = from.shape();
        assert!([self.batch, self.height, self.width] == [batch, height, width] && channels <= self.channels);
        let wide = self.channels;
        self.fill_rows(rows, &|image, y, row| {
            for (out, from) in row.chunks_exact_mut(wide).zip(from.row(image, y).chunks_exact(channels)) {
                dispatch(AddScaled { out: &mut out[..channels], from, gain });
            }
        });
    }
}

struct AddScaled<'a, E> {
    out: &'a mut [E],
    from: &'a [E],
    gain: f32,
}

impl<E: Element> Kernel for AddScaled<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::LANES;
        let whole = self.out.len() / lanes * lanes;
        let gain = s.splat(self.gain);
        let mut i = 0;
        while i < whole {
            let sum = s.fma(gain, s.load_of(&self.from[i..i + lanes]), s.load_of(&self.out[i..i + lanes]));
            s.store_of(sum, &mut self.out[i..i + lanes]);
            i += lanes;
        }
        if whole < self.out.len() {
            let sum = s.fma(gain, s.load_part(&self.from[whole..], 0.0), s.load_part(&self.out[whole..], 0.0));
            s.store_part(sum, &mut self.out[whole..]);
        }
    }
}

impl Plane<f32> {
    /// Rows `rows` of this map with its channels laid out as pixels ([`crate::resize::pixel_shuffle`]), written to their places in
    /// `out`, `[batch, height · r, width · r, channels / r²]`; to each the pixel of `base` that it comes from is added.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn pixel_shuffle(&self, r: usize, base: Option<&Plane<f32>>, rows: Range<usize>, out: &mut [f32]) {
        let [batch, height, width, wide] = self.shape();
        let colours = wide / (r * r);
        assert!(r > 0 && colours * r * r == wide && rows.end <= height, "{wide} channels, rows {rows:?} of {height}");
        assert_eq!(out.len(), batch * height * width * wide, "the result has as many values as the map");
        assert!(
            base.is_none_or(|base| base.shape() == [batch, height, width, colours]),
            "the base is of another shape"
        );
        let group = r * colours;
        let row = width * group;
        // Where each value of the pixels that one becomes comes from, line by line.
        let places: Vec<usize> = (0..r)
            .flat_map(|dy| (0..group).map(move |i| (i % colours.max(1)) * r * r + dy * r + i / colours.max(1)))
            .collect();
        let (out, count) = (Shared::new(out), rows.len());
        parallel_for(batch * count, &|i| {
            let (image, y) = (i / count, rows.start + i % count);
            // SAFETY: each row of the map is one task's, and so are the rows that it becomes.
            let lines = unsafe { out.range((image * height + y) * r * row, r * row) };
            let (values, base) = (self.row(image, y), base.map(|base| base.row(image, y)));
            for (line, places) in lines.chunks_exact_mut(row).zip(places.chunks_exact(group)) {
                for (x, (out, values)) in line.chunks_exact_mut(group).zip(values.chunks_exact(wide)).enumerate() {
                    out.iter_mut().zip(places).for_each(|(out, &place)| *out = values[place]);
                    if let Some(base) = base {
                        let base = &base[x * colours..][..colours];
                        out.chunks_exact_mut(colours).flat_map(|p| p.iter_mut().zip(base)).for_each(|(p, b)| *p += b);
                    }
                }
            }
        });
    }
}

/// What is added to a product before it is stored.
#[derive(Clone, Copy)]
pub enum PlaneResidual<'a, O: Element> {
    /// Channels from this one on of another map of the output's height and width.
    Of(&'a Plane<O>, usize),
    /// What the output holds already.
    Own,
}

/// The end of a convolution: `gain · activation(sum + bias) + residual`, or SPAN's gate of both.
#[derive(Clone, Copy)]
pub struct PlaneEnds<'a, O: Element> {
    /// One value for each channel.
    pub bias: Option<&'a [f32]>,
    /// Applied to the sum.
    pub activation: Activation,
    /// PReLU after the activation: one slope below zero for each channel.
    pub slopes: Option<&'a [f32]>,
    /// What the value is multiplied with before the residual comes in.
    pub gain: f32,
    /// What is added.
    pub residual: Option<PlaneResidual<'a, O>>,
    /// `(h + residual) · (sigmoid(h) - ½)` instead of the sum, see [`crate::elementwise::sigmoid_gate`].
    pub gate: bool,
}

impl<O: Element> Default for PlaneEnds<'_, O> {
    fn default() -> Self {
        PlaneEnds { bias: None, activation: Activation::None, slopes: None, gain: 1.0, residual: None, gate: false }
    }
}

/// Rows `rows` of the convolution of `x` with `w`, into the channels of `out` from `to` on. Kernels are 3×3 and see the zeros, or
/// are 1×1; if they take the channels of several maps, `x` are these maps in their order, of equal shapes. Of one map they may take
/// the first channels only, if the pack is not [fused](PackedConv::is_fused).
///
/// # Panics
/// If shapes do not fit, `w` has another precision than `E`, or groups.
pub fn conv2d_plane<E: Element, O: Element>(
    x: &[&Plane<E>],
    w: &PackedConv,
    out: &mut Plane<O>,
    to: usize,
    rows: Range<usize>,
    ends: &PlaneEnds<'_, O>,
) {
    let first = x[0];
    assert!(x.iter().all(|x| x.shape() == first.shape()), "the maps must have one shape");
    assert_eq!([out.batch, out.height, out.width], [first.batch, first.height, first.width], "maps of other sizes");
    let sources: Vec<*const E> = x.iter().map(|x| x.values.as_ptr()).collect();
    // SAFETY: the sources are whole maps of the shape, borrowed here; the output is ours and no source, since it is borrowed alone.
    unsafe { convolve(&sources, first.shape(), w, out, to, rows, ends) };
}

/// As [`conv2d_plane`], from the first channels of a map into later ones of its own.
///
/// # Panics
/// As [`conv2d_plane`], or if what is read reaches the channels that are written.
pub fn conv2d_within<E: Element>(
    map: &mut Plane<E>,
    w: &PackedConv,
    to: usize,
    rows: Range<usize>,
    ends: &PlaneEnds<'_, E>,
) {
    let count = w.channels()[0];
    let read = if Precision::of::<E>() == Precision::Bf16 { count.next_multiple_of(BLOCK) } else { count };
    assert!(read <= to, "{count} channels are read as {read}, and written from {to} on");
    let source = map.values.as_ptr();
    let shape = map.shape();
    // SAFETY: the map is ours; what is read of each pixel lies before what is written (the layout is not fused: a pixel is wider
    // than what is read of it).
    unsafe { convolve(&[source], shape, w, map, to, rows, ends) };
}

/// # Safety
/// The sources must be maps of `shape`, unchanged meanwhile where they are read.
unsafe fn convolve<E: Element, O: Element>(
    sources: &[*const E],
    [batch, height, width, channels]: [usize; 4],
    w: &PackedConv,
    out: &mut Plane<O>,
    to: usize,
    rows: Range<usize>,
    ends: &PlaneEnds<'_, O>,
) {
    let Some((pack, layout)) = w.plain() else { panic!("a packed forward convolution without groups is needed") };
    let [c_in, c_out] = w.channels();
    let [kernel, columns] = w.kernel();
    assert!(kernel == columns && (kernel == 3 || kernel == 1), "kernels of 3x3 or 1x1, not {kernel}x{columns}");
    assert_eq!(pack.precision(), Precision::of::<E>(), "the weight is packed for another type");
    assert!(rows.end <= height && to + c_out <= out.channels, "rows {rows:?} of {height}, channels from {to}");
    assert!(sources.len() == 1 || kernel == 1, "several maps go through 1x1 kernels only");
    assert!(c_in == channels * sources.len() || c_in < channels && !layout.fused && sources.len() == 1, "channels");
    if rows.is_empty() || batch == 0 || width == 0 {
        return;
    }
    for values in [ends.bias, ends.slopes].into_iter().flatten() {
        assert_eq!(values.len(), c_out, "one value for each of {c_out} channels");
    }
    let target = out.values[to..].as_mut_ptr();
    let (residual, ldr) = match ends.residual {
        None => (None, 0),
        Some(PlaneResidual::Own) => (Some(target.cast_const()), out.channels),
        Some(PlaneResidual::Of(plane, from)) => {
            let fits = [plane.batch, plane.height, plane.width] == [out.batch, out.height, out.width];
            assert!(fits && from + c_out <= plane.channels, "the residual is of another shape");
            (Some(plane.values[from..].as_ptr()), plane.channels)
        }
    };
    let epilogue = Epilogue { bias: ends.bias, activation: ends.activation, ..Epilogue::default() };
    let finish = Finish {
        ldo: out.channels,
        residual,
        ldr,
        slopes: ends.slopes,
        gain: ends.gain,
        gate: ends.gate,
        ..Finish::dense(target, c_out, epilogue)
    };
    if w.is_filtered() {
        let source = winograd::Source { values: sources[0].cast(), shape: [batch, height, width, channels] };
        for image in 0..batch {
            // SAFETY: the pack is of f32, and so are the maps; the caller's promise; the rows and channels of the output are ours.
            unsafe { winograd::convolve(source, image, pack, rows.clone(), &finish) };
        }
        return;
    }
    let pixel = channels * size_of::<E>();
    let (pitch, positions) = (width + 2, width + 2);
    let at = |y: usize, x: usize| (y * pitch + x) * pixel;
    let mut taps = Vec::new();
    if kernel == 1 {
        let base = sources[0] as usize;
        // Maps are read at one place each: their distance is the tap's.
        taps.extend(
            sources
                .iter()
                .enumerate()
                .map(|(b, source)| Tap { a: (*source as usize).wrapping_sub(base) as isize + at(1, 1) as isize, b }),
        );
    } else {
        for y in 0..3 {
            match layout.fused {
                true => taps.push(Tap { a: at(y, 0) as isize, b: y }),
                false => taps.extend((0..3).map(|x| Tap { a: at(y, x) as isize, b: y * 3 + x })),
            }
        }
    }
    assert_eq!(pack.taps(), taps.len(), "the weight is packed for another number of maps");
    let line = |image: usize, y: usize| image * (height + 2) + y;
    let mut list = Vec::new();
    let run = (rows.len() - 1) * pitch + width;
    let linear = run.div_ceil(TILE) < rows.len() * width.div_ceil(TILE);
    for image in 0..batch {
        if linear {
            list.extend((0..run).step_by(TILE).map(|p| Tile {
                a: line(image, rows.start) * pitch * pixel + p * pixel,
                out: line(image, rows.start + 1 + p / pitch) * pitch + 1,
                x: p % pitch,
                rows: TILE.min(run - p),
            }));
        } else {
            // Downwards, two tiles wide, so that two of the three rows that a pair sees were just read for the pair above; threads
            // side by side, so that each finds what it made where it reads.
            let pairs = width.div_ceil(2 * TILE);
            for pair in 0..pairs {
                list.extend(rows.clone().flat_map(|y| {
                    (pair * 2 * TILE..width.min((pair + 1) * 2 * TILE)).step_by(TILE).map(move |x| Tile {
                        a: (line(image, y) * pitch + x) * pixel,
                        out: line(image, y + 1) * pitch + 1,
                        x,
                        rows: TILE.min(width - x),
                    })
                }));
            }
        }
    }
    let (pitch, width) = if linear { (pitch, width) } else { (usize::MAX, usize::MAX) };
    let tiles = Tiles { list, pitch, width, step: 1, line: positions };
    let product = Product { a: sources[0].cast(), a_stride: pixel, taps: &taps, tiles: &tiles, b: pack, finish };
    // SAFETY: every tile reads pixels of the maps and their borders, and at most a block behind the last; the rows and channels of
    // the output are ours.
    unsafe { engine::run(&product) };
}
