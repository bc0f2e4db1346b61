//! Layers, weights by path, optimizers.
//!
//! A network is built by handing a [`Loader`] down its parts: each asks for its parameters by name, and gets them from a
//! checkpoint or, for training, from a random start. [`Loader::finish`] then says in one sentence everything that was
//! missing, unexpected or misshapen, and returns all parameters as a [`ParamStore`].
//!
//! ```
//! use danqing_nn::{Linear, Loader};
//! use danqing_tensor::{DType, Tensor};
//!
//! let loader = Loader::random(7);
//! let layer = Linear::load(&loader.at("proj"), 3, 2, true)?;
//! let params = loader.finish()?;
//! assert_eq!(params.names().collect::<Vec<_>>(), ["proj.weight", "proj.bias"]);
//! assert_eq!(layer.forward(&Tensor::zeros(&[5, 3], DType::F32)?)?.shape(), [5, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod init;
mod layers;
mod loader;
mod optimizers;
mod source;
mod store;

pub use error::LoadError;
pub use init::Init;
pub use layers::{Conv2d, Embedding, GroupNorm, LayerNorm, Linear};
pub use loader::{LoadOptions, Loader};
pub use optimizers::{AdamW, AdamWConfig, Ema, LrDecay, LrSchedule, clip_grad_norm, clip_scale, grad_norm};
pub use source::TensorSource;
pub use store::ParamStore;
