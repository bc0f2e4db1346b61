//! [`Tensor`]: a view of shared storage, with the node that recorded how it was made.

use std::fmt;
use std::sync::Arc;

use danqing_kernels::pool::PooledBuf;
use half::bf16;

use crate::error::{Result, TensorError, argument_error, shape_error};
use crate::rng::Rng;
use crate::shape::{Dims, Layout};
use crate::storage::{DType, Scalar, Storage, dispatch};
use crate::strided;
use crate::tape::Node;

/// An n-dimensional array of f32 or bf16. Cloning is cheap: storage is shared and never changed once shared.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    layout: Layout,
    node: Option<Arc<Node>>,
}

/// Making tensors.
impl Tensor {
    /// A tensor of `values` in row-major order.
    ///
    /// # Errors
    /// If their number is not that of the shape.
    pub fn from_vec(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_slice(&values, shape)
    }

    /// A tensor of a copy of `values` in row-major order.
    ///
    /// # Errors
    /// If their number is not that of the shape.
    pub fn from_slice(values: &[f32], shape: &[usize]) -> Result<Tensor> {
        Tensor::copied("from_slice", values, shape)
    }

    /// As [`Tensor::from_slice`], of bf16.
    ///
    /// # Errors
    /// If their number is not that of the shape.
    pub fn from_bf16(values: &[bf16], shape: &[usize]) -> Result<Tensor> {
        Tensor::copied("from_bf16", values, shape)
    }

    fn copied<E: Scalar>(op: &'static str, values: &[E], shape: &[usize]) -> Result<Tensor> {
        let dims = Dims::new(op, shape)?;
        if dims.checked_numel(op)? != values.len() {
            return argument_error(op, format!("{} values cannot fill shape {shape:?}", values.len()));
        }
        Ok(Tensor::wrap(PooledBuf::from_slice(values), dims))
    }

    /// All zeros.
    ///
    /// # Errors
    /// If the shape has too many dimensions or elements.
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Tensor> {
        let dims = Dims::new("zeros", shape)?;
        dims.checked_numel("zeros")?;
        Ok(Tensor::zeros_dims(dims, dtype))
    }

    /// All ones.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(shape, 1.0, dtype)
    }

    /// All `value`.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn full(shape: &[usize], value: f32, dtype: DType) -> Result<Tensor> {
        let dims = Dims::new("full", shape)?;
        let len = dims.checked_numel("full")?;
        Ok(dispatch!(dtype, E => {
            let mut out = PooledBuf::<E>::dirty(len);
            out.fill(<E as danqing_kernels::Element>::from_f32(value));
            Tensor::wrap(out, dims)
        }))
    }

    /// `0, 1, …, n - 1` as f32.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn arange(n: usize) -> Result<Tensor> {
        Tensor::from_vec((0..n).map(|i| i as f32).collect(), &[n])
    }

    /// Normally distributed f32 values of mean 0 and standard deviation 1.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn randn(shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        let mut out = Tensor::zeros(shape, DType::F32)?;
        rng.fill_normal(out.data_mut());
        Ok(out)
    }

    /// Uniform f32 values in `[low, high)`.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn rand(shape: &[usize], low: f32, high: f32, rng: &mut Rng) -> Result<Tensor> {
        let mut out = Tensor::zeros(shape, DType::F32)?;
        rng.fill_uniform(out.data_mut(), low, high);
        Ok(out)
    }

    pub(crate) fn zeros_dims(dims: Dims, dtype: DType) -> Tensor {
        dispatch!(dtype, E => Tensor::wrap(PooledBuf::<E>::zeroed(dims.numel()), dims))
    }

    /// A tensor whose contents are arbitrary, to be overwritten.
    pub(crate) fn stale<E: Scalar>(dims: Dims) -> Tensor {
        Tensor::wrap(PooledBuf::<E>::dirty(dims.numel()), dims)
    }

    /// A tensor of rank one.
    pub(crate) fn flat<E: Scalar>(values: PooledBuf<E>) -> Tensor {
        let dims = Dims::vector(values.len());
        Tensor::wrap(values, dims)
    }

    pub(crate) fn wrap<E: Scalar>(values: PooledBuf<E>, dims: Dims) -> Tensor {
        debug_assert_eq!(values.len(), dims.numel());
        Tensor { storage: Arc::new(E::wrap(values)), layout: Layout::contiguous(dims), node: None }
    }
}

/// Asking about tensors.
impl Tensor {
    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Size of dimension `i`, or 1 if there is no such dimension.
    pub fn dim(&self, i: usize) -> usize {
        self.shape().get(i).copied().unwrap_or(1)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.layout.shape.numel()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.storage.dtype()
    }

    /// Whether a gradient will be asked of this tensor.
    pub fn requires_grad(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the elements follow one another in row-major order.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// The elements as f32 in row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        let dense = self.dense();
        dispatch!(dense.dtype(), E => {
            dense.data::<E>().iter().map(|&v| danqing_kernels::Element::to_f32(v)).collect()
        })
    }

    /// The elements without a copy.
    ///
    /// # Errors
    /// If this is not f32 or not contiguous.
    pub fn as_slice_f32(&self) -> Result<&[f32]> {
        self.as_slice("as_slice_f32")
    }

    /// The elements without a copy.
    ///
    /// # Errors
    /// If this is not bf16 or not contiguous.
    pub fn as_slice_bf16(&self) -> Result<&[bf16]> {
        self.as_slice("as_slice_bf16")
    }

    fn as_slice<E: Scalar>(&self, op: &'static str) -> Result<&[E]> {
        if self.dtype() != E::DTYPE {
            return Err(TensorError::DType { op, left: self.dtype(), right: E::DTYPE });
        }
        if !self.is_contiguous() {
            return argument_error(op, "the tensor is a strided view; call contiguous() first");
        }
        Ok(self.data())
    }

    /// The only element.
    ///
    /// # Errors
    /// If there is not exactly one.
    pub fn item(&self) -> Result<f32> {
        match self.to_vec()[..] {
            [value] => Ok(value),
            _ => shape_error("item", &[self.shape()], "exactly one element is needed"),
        }
    }
}

/// Gradients and copies.
impl Tensor {
    /// The same values without a history.
    pub fn detach(&self) -> Tensor {
        Tensor { storage: self.storage.clone(), layout: self.layout, node: None }
    }

    /// The same values as a leaf: a backward walk will report a gradient for the returned tensor.
    pub fn with_grad(&self) -> Tensor {
        self.detach().with_node(Node::leaf())
    }

    pub(crate) fn with_node(mut self, node: Arc<Node>) -> Tensor {
        self.node = Some(node);
        self
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn dims(&self) -> Dims {
        self.layout.shape
    }

    /// A view of the same storage, without history.
    pub(crate) fn view(&self, layout: Layout) -> Tensor {
        Tensor { storage: self.storage.clone(), layout, node: None }
    }

    /// The whole storage, whatever part of it this tensor shows. The type must be right.
    pub(crate) fn raw<E: Scalar>(&self) -> &[E] {
        E::of(&self.storage).expect("element type was checked by the caller")
    }

    /// The elements of a contiguous tensor of type `E` (checked by the caller).
    pub(crate) fn data<E: Scalar>(&self) -> &[E] {
        debug_assert!(self.is_contiguous());
        &self.raw::<E>()[self.layout.offset..][..self.numel()]
    }

    /// The elements to be changed in place; copies first if the storage is shared or strided.
    pub(crate) fn data_mut<E: Scalar>(&mut self) -> &mut [E] {
        if !self.is_contiguous() || Arc::get_mut(&mut self.storage).is_none() {
            let node = self.node.take();
            *self = strided::copied(self);
            self.node = node;
        }
        let (offset, len) = (self.layout.offset, self.numel());
        let storage = Arc::get_mut(&mut self.storage).expect("just made unique");
        &mut E::of_mut(storage).expect("element type was checked by the caller")[offset..][..len]
    }

    /// The same dense elements under another shape of as many elements, without history.
    pub(crate) fn shaped(&self, dims: Dims) -> Tensor {
        debug_assert!(self.is_contiguous() && dims.numel() == self.numel());
        self.view(Layout { offset: self.layout.offset, ..Layout::contiguous(dims) })
    }

    /// The same values, contiguous and without history; copies only where it must.
    pub(crate) fn dense(&self) -> Tensor {
        if self.is_contiguous() { self.detach() } else { strided::copied(self) }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?}, {}", self.shape(), self.dtype())?;
        if self.numel() <= 16 {
            write!(f, ", {:?}", self.to_vec())?;
        }
        f.write_str(")")
    }
}
