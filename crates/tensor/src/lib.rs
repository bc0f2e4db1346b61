//! Strided tensor, dtypes, tape, random generators over danqing-kernels.
//!
//! The activations' element type decides the arithmetic: f32 tensors are computed in f32, bf16 tensors with bf16
//! products and f32 sums. Feature maps are `[batch, height, width, channels]`. A result remembers how it was made only
//! if an input requires a gradient, so inference pays nothing for the tape.
//!
//! ```
//! use danqing_tensor::{Param, Tensor};
//!
//! let w = Param::new("w", Tensor::from_vec(vec![1.0, 2.0], &[2])?);
//! w.trainable(true);
//! let x = Tensor::from_vec(vec![3.0, 4.0], &[2])?;
//! let loss = w.tensor().mul(&x)?.sum_all()?;
//! assert_eq!(loss.item()?, 11.0);
//! assert_eq!(loss.backward()?.slice(&w), Some(&[3.0, 4.0][..]));
//! # Ok::<(), danqing_tensor::TensorError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod ops;
mod packed;
mod param;
mod plane;
mod recompute;
mod rng;
mod shape;
mod storage;
mod strided;
mod tape;
mod tensor;

pub use danqing_kernels::gemm::Activation;
pub use danqing_kernels::layout::PadMode;
pub use error::{Result, TensorError};
pub use ops::{AttentionOptions, Conv2dOptions, ConvFusion, LinearFusion};
pub use param::Param;
pub use plane::{Plane, PlaneConv, PlaneResidual, ROWS_ALIGNMENT, Shuffled};
pub use recompute::checkpoint;
pub use rng::Rng;
pub use shape::MAX_RANK;
pub use storage::DType;
pub use tape::{GradKey, Gradients, no_grad};
pub use tensor::Tensor;
