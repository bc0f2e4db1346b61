//! Strict, bounded readers and writers of weight files that never execute anything.
//!
//! [`Weights::open`] takes a file or a folder, recognises its format by its first bytes ([`FORMATS`]) and gives
//! tensors by name. Nothing in a file can make this crate run code, allocate without bound or panic: what does not fit is
//! refused with a [`WeightsError`] that names the file, the tensor, what is wrong and how to mend it.
//!
//! ```no_run
//! use danqing_checkpoints::Weights;
//! let weights = Weights::open("unet/diffusion_pytorch_model.safetensors")?;
//! for name in weights.names() {
//!     let info = weights.info(name).unwrap();
//!     println!("{name} {} {:?}", info.dtype, info.shape);
//! }
//! let values: Vec<f32> = weights.read_f32("conv_in.weight")?;
//! # Ok::<(), danqing_checkpoints::WeightsError>(())
//! ```

pub mod atomic;
mod blob;
mod decode;
mod error;
mod folder;
mod formats;
#[cfg(test)]
mod fuzz;
mod graphdef;
pub mod hash;
mod index;
mod ncnn;
mod onnx;
mod pickle;
mod protobuf;
pub mod safetensors;
mod storage_type;
mod torch;
mod unwrap;
mod weights;

pub use error::WeightsError;
pub use formats::{FORMATS, Format, is_weight_file};
pub use graphdef::{GraphAttribute, GraphConstant, GraphDef, GraphNode};
pub use ncnn::{Ncnn, NcnnLayer, NcnnValue};
pub use onnx::{Onnx, OnnxAttribute, OnnxInput, OnnxNode, OnnxTensor, OnnxValues};
pub use safetensors::TensorToWrite;
pub use storage_type::{STORAGE_TYPES, StorageType};
pub use weights::{TensorInfo, Weights};
