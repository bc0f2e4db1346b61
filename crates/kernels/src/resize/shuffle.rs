//! Sub-pixel rearrangement (Shi et al., arXiv:1609.05158), channel order as in PyTorch: `c · r² + dy · r + dx`.
//! Each is the other's gradient.

use crate::element::Element;
use crate::elementwise::map::for_pieces;
use crate::threads::Shared;

/// `[batch, h, w, c·r²]` → `[batch, h·r, w·r, c]`; `from` is the shape of `x`.
///
/// # Panics
/// If lengths do not fit or the channels are not a multiple of r².
pub fn pixel_shuffle<E: Element>(x: &[E], from: [usize; 4], r: usize, out: &mut [E]) {
    let [batch, height, width, wide] = from;
    assert!(r > 0 && wide > 0 && wide % (r * r) == 0, "{wide} channels are not a multiple of {r} squared");
    assert!(x.len() == batch * height * width * wide && out.len() == x.len(), "lengths must be those of {from:?}");
    let channels = wide / (r * r);
    let shared = Shared::new(out);
    for_pieces(batch * height * r, 4, &|start, len| {
        for row in start..start + len {
            let x = &x[row / r * width * wide..][..width * wide];
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * width * r * channels, width * r * channels) };
            let x = &x[row % r * r..];
            for (column, out) in out.chunks_exact_mut(r * channels).enumerate() {
                let x = &x[column * wide..];
                for (dx, out) in out.chunks_exact_mut(channels).enumerate() {
                    let x = &x[dx..];
                    out.iter_mut().enumerate().for_each(|(c, out)| *out = x[c * r * r]);
                }
            }
        }
    });
}

/// `[batch, h·r, w·r, c]` → `[batch, h, w, c·r²]`; `from` is the shape of `x`.
///
/// # Panics
/// If lengths do not fit or a side is not a multiple of r.
pub fn pixel_unshuffle<E: Element>(x: &[E], from: [usize; 4], r: usize, out: &mut [E]) {
    let [batch, height, width, channels] = from;
    assert!(r > 0 && height % r == 0 && width % r == 0, "{height}x{width} is not a multiple of {r}");
    assert!(x.len() == batch * height * width * channels && out.len() == x.len(), "lengths must be those of {from:?}");
    let wide = channels * r * r;
    let shared = Shared::new(out);
    for_pieces(batch * (height / r), 4, &|start, len| {
        for row in start..start + len {
            let x = &x[row * r * width * channels..][..r * width * channels];
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * (width / r) * wide, width / r * wide) };
            for (column, out) in out.chunks_exact_mut(wide.max(1)).enumerate() {
                let x = &x[column * r * channels..];
                for (c, out) in out.chunks_exact_mut(r * r).enumerate() {
                    for (dy, out) in out.chunks_exact_mut(r).enumerate() {
                        let x = &x[dy * width * channels + c..];
                        out.iter_mut().enumerate().for_each(|(dx, out)| *out = x[dx * channels]);
                    }
                }
            }
        }
    });
}
