//! Reverse-mode automatic differentiation.
//!
//! A result carries a [`Node`] only if one of its inputs needs a gradient. Nodes are numbered as they are made, so
//! walking them in falling order of number is a topological order; each node is taken apart when it has been walked,
//! which frees what it had saved. Gradients of parameters are always summed in f32, in one buffer per parameter.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Result, TensorError};
use crate::param::Param;
use crate::shape::Dims;
use crate::storage::DType;
use crate::tensor::Tensor;

/// Computes the gradients of a node's inputs from the gradient of its output.
pub(crate) type Backward = Box<dyn FnOnce(Tensor, &mut Walk<'_>) -> Result<()> + Send>;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
    /// Set when an operation would have been recorded but recording was off.
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// One recorded operation, or a leaf.
pub(crate) struct Node {
    id: u64,
    op: &'static str,
    edges: Vec<Option<Arc<Node>>>,
    /// `None` in a leaf.
    backward: Option<Mutex<Option<Backward>>>,
}

impl Node {
    pub(crate) fn leaf() -> Arc<Node> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Node { id, op: "leaf", edges: Vec::new(), backward: None })
    }
}

impl Drop for Node {
    /// Takes long chains apart in a loop, not by recursion.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.edges);
        while let Some(edge) = rest.pop() {
            if let Some(mut node) = edge.and_then(Arc::into_inner) {
                rest.append(&mut node.edges);
            }
        }
    }
}

/// Runs `f` without recording: nothing inside can be differentiated, nothing is saved.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(false));
    f()
}

/// Runs `f` as [`no_grad`] and says whether it would have recorded anything.
pub(crate) fn without_recording<T>(f: impl FnOnce() -> T) -> (T, bool) {
    let before = WANTED.replace(false);
    let out = no_grad(f);
    let wanted = WANTED.get();
    // An enclosing checkpoint must learn of it too.
    WANTED.set(before || wanted);
    (out, wanted)
}

/// Whether recording is switched on in this thread.
pub(crate) fn is_recording() -> bool {
    RECORDING.get()
}

/// Whether an operation on these inputs must be recorded.
pub(crate) fn records(inputs: &[&Tensor], params: &[&Param]) -> bool {
    let wanted = inputs.iter().any(|t| t.node().is_some()) || params.iter().any(|p| p.is_trainable());
    if wanted && !RECORDING.get() {
        WANTED.set(true);
    }
    wanted && RECORDING.get()
}

/// Gives `out` a node if one of `inputs` or `params` needs a gradient; `save` is asked only then.
pub(crate) fn record(
    op: &'static str,
    out: Tensor,
    inputs: &[&Tensor],
    params: &[&Param],
    save: impl FnOnce(&Tensor) -> Backward,
) -> Tensor {
    if !records(inputs, params) {
        return out;
    }
    let backward = save(&out);
    let edges = inputs.iter().map(|t| t.node().cloned()).collect();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    out.with_node(Arc::new(Node { id, op, edges, backward: Some(Mutex::new(Some(backward))) }))
}

/// Gives `out` a node whose inputs only `backward` knows.
pub(crate) fn record_opaque(op: &'static str, out: Tensor, backward: Backward) -> Tensor {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    out.with_node(Arc::new(Node { id, op, edges: Vec::new(), backward: Some(Mutex::new(Some(backward))) }))
}

/// Gradients found by a backward walk, by parameter and by leaf tensor.
#[derive(Default)]
pub struct Gradients {
    params: HashMap<u64, Tensor>,
    leaves: HashMap<u64, Tensor>,
}

/// What a gradient can be asked for: a [`Param`] or a leaf [`Tensor`].
pub trait GradKey {
    /// The gradient of `self`, if the walk reached it.
    fn find<'a>(&self, gradients: &'a Gradients) -> Option<&'a Tensor>;
}

impl GradKey for Param {
    fn find<'a>(&self, gradients: &'a Gradients) -> Option<&'a Tensor> {
        gradients.params.get(&self.id())
    }
}

impl GradKey for Tensor {
    fn find<'a>(&self, gradients: &'a Gradients) -> Option<&'a Tensor> {
        gradients.leaves.get(&self.node()?.id)
    }
}

impl Gradients {
    /// No gradients yet; pass it to [`Tensor::backward_into`] to sum over several losses.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradient of a parameter (f32, in the parameter's shape) or of a leaf tensor (in its own type).
    pub fn get(&self, key: &impl GradKey) -> Option<&Tensor> {
        key.find(self)
    }

    /// The gradient of a parameter as a slice in row-major order.
    pub fn slice(&self, param: &Param) -> Option<&[f32]> {
        self.params.get(&param.id()).map(|t| t.data::<f32>())
    }

    /// The same, to be changed in place (clipping, scaling).
    pub fn slice_mut(&mut self, param: &Param) -> Option<&mut [f32]> {
        self.params.get_mut(&param.id()).map(|t| t.data_mut::<f32>())
    }

    /// Sets the gradient of a parameter; the shapes must be equal.
    pub fn insert(&mut self, param: &Param, gradient: Tensor) -> Result<()> {
        if gradient.shape() != param.shape() {
            return crate::error::shape_error("gradient", &[gradient.shape(), param.shape()], "they must be equal");
        }
        let gradient = gradient.detach().cast(DType::F32)?.contiguous()?;
        self.params.insert(param.id(), gradient);
        Ok(())
    }

    /// Whether nothing has been found.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.leaves.is_empty()
    }

    /// Buffer in which the gradient of `param` is summed: `(values, is this the first contribution)`.
    fn buffer(&mut self, param: &Param) -> (&mut [f32], bool) {
        let mut first = false;
        let tensor = self.params.entry(param.id()).or_insert_with(|| {
            first = true;
            Tensor::stale::<f32>(param.dims())
        });
        (tensor.data_mut::<f32>(), first)
    }
}

/// Nodes that have received a gradient and wait to be walked, by number.
type Pending = BTreeMap<u64, (Arc<Node>, Tensor)>;

/// The walk as a node's backward function sees it.
pub(crate) struct Walk<'a> {
    edges: &'a [Option<Arc<Node>>],
    pending: &'a mut Pending,
    gradients: &'a mut Gradients,
}

impl Walk<'_> {
    /// Whether the `input`-th input needs a gradient.
    pub(crate) fn needs(&self, input: usize) -> bool {
        self.edges[input].is_some()
    }

    /// As [`Walk::needs`], for an input that may not be there.
    pub(crate) fn has(&self, input: usize) -> bool {
        self.edges.get(input).is_some_and(Option::is_some)
    }

    /// Adds to the gradient of the `input`-th input; does nothing if it needs none.
    pub(crate) fn add(&mut self, input: usize, gradient: Tensor) -> Result<()> {
        let Some(node) = &self.edges[input] else { return Ok(()) };
        push(self.pending, node, gradient)
    }

    /// Adds to the part `start..` along `dim` of the gradient of an input of shape `full`.
    pub(crate) fn add_part(&mut self, input: usize, full: Dims, dim: usize, start: usize, part: &Tensor) -> Result<()> {
        let Some(node) = &self.edges[input] else { return Ok(()) };
        let (_, whole) =
            self.pending.entry(node.id).or_insert_with(|| (node.clone(), Tensor::zeros_dims(full, part.dtype())));
        whole.add_assign_part(dim, start, part)
    }

    /// Lets `f(values, first)` add the gradient of a trainable parameter; `first` means that `values` holds nothing yet.
    pub(crate) fn param(&mut self, param: &Param, f: impl FnOnce(&mut [f32], bool) -> Result<()>) -> Result<()> {
        if !param.is_trainable() {
            return Ok(());
        }
        let (values, first) = self.gradients.buffer(param);
        f(values, first)
    }

    /// Walks what `compute` records, starting with `gradient` at its result, before anything recorded earlier.
    pub(crate) fn replay(&mut self, gradient: Tensor, compute: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        let before = RECORDING.replace(true);
        let out = compute();
        RECORDING.set(before);
        match out?.node() {
            Some(node) => push(self.pending, node, gradient),
            None => Ok(()),
        }
    }
}

fn push(pending: &mut Pending, node: &Arc<Node>, gradient: Tensor) -> Result<()> {
    debug_assert!(gradient.node().is_none(), "a gradient must not be recorded");
    match pending.get_mut(&node.id) {
        Some((_, sum)) => sum.add_assign(&gradient),
        None => {
            pending.insert(node.id, (node.clone(), gradient));
            Ok(())
        }
    }
}

impl Tensor {
    /// Gradients of this tensor (of one element) with respect to every trainable parameter and leaf it came from.
    ///
    /// The recorded graph is freed on the way: a second call is an error.
    ///
    /// # Errors
    /// If this tensor has more than one element, does not depend on anything trainable, or was walked before.
    pub fn backward(&self) -> Result<Gradients> {
        let mut gradients = Gradients::new();
        self.backward_into(&mut gradients)?;
        Ok(gradients)
    }

    /// As [`Tensor::backward`], adding to what `gradients` already holds (accumulation over several batches).
    pub fn backward_into(&self, gradients: &mut Gradients) -> Result<()> {
        if self.numel() != 1 {
            let why = format!("a loss of one element is needed, this has shape {:?}; sum or average it", self.shape());
            return Err(TensorError::Graph { why });
        }
        self.backward_from(&Tensor::full(self.shape(), 1.0, self.dtype())?, gradients)
    }

    /// As [`Tensor::backward_into`] for any shape, given the gradient of some loss with respect to this tensor.
    pub fn backward_from(&self, gradient: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let Some(root) = self.node() else {
            let why = "the result does not depend on a trainable parameter or a leaf (or was made in no_grad)";
            return Err(TensorError::Graph { why: why.into() });
        };
        if gradient.shape() != self.shape() || gradient.dtype() != self.dtype() {
            return crate::error::shape_error("backward", &[self.shape(), gradient.shape()], "they must be equal");
        }
        no_grad(|| {
            let mut pending = Pending::new();
            pending.insert(root.id, (root.clone(), gradient.detach()));
            while let Some((id, (node, gradient))) = pending.pop_last() {
                let Some(backward) = &node.backward else {
                    match gradients.leaves.get_mut(&id) {
                        Some(sum) => sum.add_assign(&gradient)?,
                        None => drop(gradients.leaves.insert(id, gradient)),
                    }
                    continue;
                };
                let taken = backward.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(backward) = taken else {
                    let why =
                        format!("the graph was walked before and freed (at `{}`); compute the loss anew", node.op);
                    return Err(TensorError::Graph { why });
                };
                backward(gradient, &mut Walk { edges: &node.edges, pending: &mut pending, gradients })?;
            }
            Ok(())
        })
    }
}
