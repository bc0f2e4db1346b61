//! [`Param`]: a named weight that layers share, with the packed forms that kernels want.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Result, TensorError, shape_error};
use crate::packed::Packed;
use crate::shape::Dims;
use crate::storage::DType;
use crate::tape::record;
use crate::tensor::Tensor;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A weight of a network. Cloning shares it. New parameters are frozen; see [`Param::trainable`].
#[derive(Clone)]
pub struct Param(Arc<Inner>);

struct Inner {
    id: u64,
    name: String,
    shape: Dims,
    dtype: DType,
    trainable: AtomicBool,
    state: RwLock<State>,
}

/// The values, plain or packed; where there is neither, they are all zero.
struct State {
    plain: Option<Tensor>,
    /// f32 copy of a short bf16 parameter (bias, norm), which kernels read as f32.
    wide: Option<Tensor>,
    packed: Packed,
}

impl Param {
    /// A frozen parameter of these values.
    pub fn new(name: impl Into<String>, value: Tensor) -> Param {
        let plain = value.dense();
        Param::build(name.into(), plain.dims(), plain.dtype(), Some(plain))
    }

    fn build(name: String, shape: Dims, dtype: DType, plain: Option<Tensor>) -> Param {
        Param(Arc::new(Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name,
            shape,
            dtype,
            trainable: AtomicBool::new(false),
            state: RwLock::new(State { plain, wide: None, packed: Packed::default() }),
        }))
    }

    /// A parameter of this shape whose values are all zero and take no memory until they are used.
    ///
    /// # Errors
    /// If the shape has too many dimensions or elements.
    pub fn absent(name: impl Into<String>, shape: &[usize], dtype: DType) -> Result<Param> {
        let dims = Dims::new("param", shape)?;
        dims.checked_numel("param")?;
        Ok(Param::build(name.into(), dims, dtype, None))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name, as in the checkpoint.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A number that no other parameter of this process has.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    pub(crate) fn dims(&self) -> Dims {
        self.0.shape
    }

    /// Element type of the values.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// Whether backward walks find a gradient for it.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Sets whether backward walks find a gradient for it. A frozen parameter may give its plain values up for packed
    /// ones, which hold the same numbers.
    pub fn trainable(&self, yes: bool) {
        self.0.trainable.store(yes, Ordering::Relaxed);
    }

    /// The values, without history. Where only a packed form is left they are unpacked from it.
    pub fn value(&self) -> Tensor {
        let state = self.read();
        match &state.plain {
            Some(plain) => plain.clone(),
            None => state.packed.unpacked(self.0.shape, self.0.dtype),
        }
    }

    /// Replaces the values (cast to the parameter's type) and drops everything packed from the old ones.
    ///
    /// # Errors
    /// If the shape differs.
    pub fn set(&self, value: Tensor) -> Result<()> {
        if value.shape() != self.shape() {
            return shape_error(
                "param set",
                &[self.shape(), value.shape()],
                format!("`{}` keeps its shape", self.0.name),
            );
        }
        let plain = value.detach().cast(self.0.dtype)?.dense();
        *self.write() = State { plain: Some(plain), wide: None, packed: Packed::default() };
        Ok(())
    }

    /// Changes the values of an f32 parameter in place and drops everything packed from the old ones.
    ///
    /// # Errors
    /// If the parameter is not f32.
    pub fn update(&self, change: impl FnOnce(&mut [f32])) -> Result<()> {
        if self.0.dtype != DType::F32 {
            return Err(TensorError::DType { op: "param update", left: self.0.dtype, right: DType::F32 });
        }
        let mut state = self.write();
        let mut plain = match state.plain.take() {
            Some(plain) => plain,
            None => state.packed.unpacked(self.0.shape, self.0.dtype),
        };
        change(plain.data_mut::<f32>());
        *state = State { plain: Some(plain), wide: None, packed: Packed::default() };
        Ok(())
    }

    /// The values as a tensor that takes part in recording: its gradient goes to this parameter.
    pub fn tensor(&self) -> Tensor {
        record("param", self.value(), &[], &[self], |_| {
            let param = self.clone();
            Box::new(move |dy, walk| {
                let dy = dy.cast(DType::F32)?.dense();
                walk.param(&param, |values, first| {
                    let dy = dy.data::<f32>();
                    match first {
                        true => values.copy_from_slice(dy),
                        false => values.iter_mut().zip(dy).for_each(|(v, d)| *v += d),
                    }
                    Ok(())
                })
            })
        })
    }

    /// The values as contiguous f32, kept for the next time: what kernels want of biases and norms.
    pub(crate) fn wide(&self) -> Tensor {
        let state = self.read();
        if let Some(values) = state.wide.as_ref().or(state.plain.as_ref().filter(|p| p.dtype() == DType::F32)) {
            return values.clone();
        }
        drop(state);
        let values = crate::ops::converted(&self.value(), DType::F32);
        self.write().wide = Some(values.clone());
        values
    }

    pub(crate) fn has_plain(&self) -> bool {
        self.read().plain.is_some()
    }

    pub(crate) fn with_packed<T>(&self, f: impl FnOnce(&Packed) -> T) -> T {
        f(&self.read().packed)
    }

    /// Changes what is packed; with `release`, gives up the plain values if they can be got back from it.
    pub(crate) fn change_packed(&self, release: bool, f: impl FnOnce(&mut Packed)) {
        let mut state = self.write();
        f(&mut state.packed);
        if release && state.packed.holds(self.0.dtype) {
            state.plain = None;
        }
    }

    /// Bytes held for the values in all their forms.
    pub fn bytes(&self) -> usize {
        let state = self.read();
        let plain = [&state.plain, &state.wide].into_iter().flatten().map(|t| t.numel() * t.dtype().bytes());
        plain.sum::<usize>() + state.packed.bytes()
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({}, {:?}, {})", self.0.name, self.shape(), self.0.dtype)
    }
}
