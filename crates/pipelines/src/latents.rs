//! Between pictures and scaled latents in drawing order, in one piece or in tiles whose seams do not show.

use danqing_imaging::Picture;
use danqing_models::autoencoders::AutoencoderKl;
use danqing_tensor::{DType, Tensor};

use crate::TaskError;
use crate::layout::{from_nhwc, map_to_picture, picture_to_map, to_nhwc};

/// Latent side above which decoding is tiled: a 512-pixel map at factor 8.
pub const TILE: usize = 64;
/// Latent cells by which tiles overlap; blended linearly.
const OVERLAP: usize = 16;

/// Pictures → scaled latents `[b, c, h, w]`: the mean of the distribution.
///
/// # Errors
/// When a side is not a multiple of the autoencoder's factor.
pub fn encode(autoencoder: &AutoencoderKl, pictures: &[&Picture], dtype: DType) -> Result<Vec<f32>, TaskError> {
    let mut latents = Vec::new();
    for picture in pictures {
        let map = picture_to_map(picture)?.cast(dtype)?;
        let mean = autoencoder.encode(&map)?.mean.cast(DType::F32)?;
        latents.extend(from_nhwc(&autoencoder.scale(&mean)?)?);
    }
    Ok(latents)
}

/// Scaled latents `[b, c, h, w]` → pictures. Asks `stopped` before each tile.
///
/// # Errors
/// When the values are not numbers, or the task was stopped.
pub fn decode(
    autoencoder: &AutoencoderKl,
    latents: &[f32],
    [b, c, h, w]: [usize; 4],
    dtype: DType,
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<Picture>, TaskError> {
    let mut pictures = Vec::with_capacity(b);
    for latent in latents.chunks_exact(c * h * w) {
        let latent = autoencoder.unscale(&to_nhwc(latent, [1, c, h, w])?)?.cast(dtype)?;
        let map = if h <= TILE && w <= TILE {
            if stopped() {
                return Err(TaskError::Stopped);
            }
            autoencoder.decode(&latent)?
        } else {
            decode_tiled(autoencoder, &latent, TILE, OVERLAP, stopped)?
        };
        pictures.push(map_to_picture(&map)?);
    }
    Ok(pictures)
}

/// Starts of tiles of `tile` cells that cover `length` with at least `overlap` shared between neighbours.
pub(crate) fn starts(length: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let step = tile - overlap;
    let count = (length - overlap).div_ceil(step);
    (0..count).map(|i| (i * step).min(length - tile)).collect()
}

/// Decodes in overlapping tiles, each weighted by a ramp that falls towards its inner borders.
///
/// # Errors
/// As [`decode`].
pub fn decode_tiled(
    autoencoder: &AutoencoderKl,
    latent: &Tensor,
    tile: usize,
    overlap: usize,
    stopped: &dyn Fn() -> bool,
) -> Result<Tensor, TaskError> {
    let (h, w) = (latent.dim(1), latent.dim(2));
    let f = autoencoder.config().downscale();
    let channels = autoencoder.config().out_channels;
    let (height, width) = (h * f, w * f);
    let mut sum = vec![0f32; height * width * channels];
    let mut weights = vec![0f32; height * width];
    for top in starts(h, tile, overlap) {
        for left in starts(w, tile, overlap) {
            if stopped() {
                return Err(TaskError::Stopped);
            }
            let (rows, columns) = (tile.min(h), tile.min(w));
            let part = latent.narrow(1, top, rows)?.narrow(2, left, columns)?.contiguous()?;
            let decoded = autoencoder.decode(&part)?.cast(DType::F32)?.to_vec();
            let (rows, columns) = (rows * f, columns * f);
            let ramp = |i: usize, length: usize, first: bool, last: bool| {
                let rise = if first { 1.0 } else { (i as f32 + 0.5) / (overlap * f) as f32 };
                let fall = if last { 1.0 } else { ((length - i) as f32 - 0.5) / (overlap * f) as f32 };
                rise.min(fall).min(1.0)
            };
            for y in 0..rows {
                let vertical = ramp(y, rows, top == 0, top * f + rows == height);
                for x in 0..columns {
                    let weight = vertical * ramp(x, columns, left == 0, left * f + columns == width);
                    let to = (top * f + y) * width + left * f + x;
                    weights[to] += weight;
                    for k in 0..channels {
                        sum[to * channels + k] += weight * decoded[(y * columns + x) * channels + k];
                    }
                }
            }
        }
    }
    for (pixel, weight) in sum.chunks_exact_mut(channels).zip(&weights) {
        pixel.iter_mut().for_each(|v| *v /= weight);
    }
    Ok(Tensor::from_vec(sum, &[1, height, width, channels])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything_and_overlap() {
        for length in [1, 63, 64, 65, 96, 111, 112, 113, 200, 1000] {
            let starts = starts(length, 64, 16);
            assert_eq!(starts[0], 0);
            assert_eq!(starts.last().unwrap() + 64.min(length), length);
            assert!(starts.windows(2).all(|s| s[1] > s[0] && s[1] - s[0] <= 48), "{length}: {starts:?}");
        }
    }
}
