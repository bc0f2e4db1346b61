//! Between states in drawing order `[b, c, h, w]`, maps `[b, h, w, c]` and pictures.

use danqing_imaging::{Picture, PixelFormat};
use danqing_tensor::{DType, Tensor, TensorError};

use crate::TaskError;

/// `[b, c, h, w]` values → map `[b, h, w, c]`, f32.
pub(crate) fn to_nhwc(values: &[f32], [b, c, h, w]: [usize; 4]) -> Result<Tensor, TensorError> {
    Tensor::from_slice(values, &[b, c, h, w])?.permute(&[0, 2, 3, 1])?.contiguous()
}

/// Map `[b, h, w, c]` → `[b, c, h, w]` values.
pub(crate) fn from_nhwc(map: &Tensor) -> Result<Vec<f32>, TensorError> {
    Ok(map.permute(&[0, 3, 1, 2])?.contiguous()?.to_vec())
}

/// Picture → `[1, h, w, 3]` in -1..1; transparency is laid on white.
pub(crate) fn picture_to_map(picture: &Picture) -> Result<Tensor, TaskError> {
    let (h, w) = (picture.height() as usize, picture.width() as usize);
    let rgb = picture.flattened([255; 3]);
    let values: Vec<f32> = rgb.pixels().iter().map(|v| f32::from(*v) / 127.5 - 1.0).collect();
    Ok(Tensor::from_vec(values, &[1, h, w, 3])?)
}

/// Map `[1, h, w, 3]` in -1..1 → picture.
pub(crate) fn map_to_picture(map: &Tensor) -> Result<Picture, TaskError> {
    let (h, w) = (map.dim(1), map.dim(2));
    let values = map.cast(DType::F32)?.to_vec();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(TaskError::NotANumber("autoencoder"));
    }
    let pixels = values.iter().map(|v| (v.clamp(-1.0, 1.0) * 127.5 + 127.5).round() as u8).collect();
    Ok(Picture::new(w as u32, h as u32, PixelFormat::Rgb8, pixels)?)
}
