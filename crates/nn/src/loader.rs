//! [`Loader`]: parameters by path, from a checkpoint or from a random start.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use danqing_tensor::{DType, Param, Rng, Tensor};

use crate::error::{LoadError, Mismatch};
use crate::init::Init;
use crate::source::TensorSource;
use crate::store::ParamStore;

/// How parameters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Type of parameters with two or more dimensions; shorter ones (biases, norms) are always f32.
    pub dtype: DType,
    /// Whether backward walks find gradients for them.
    pub trainable: bool,
    /// Whether layers pack their weights for activations of `dtype` while loading and keep nothing else.
    pub prepack: bool,
    /// Whether values are read. Without them every parameter is zero and takes no memory; names and shapes are still checked.
    pub values: bool,
}

impl LoadOptions {
    /// Frozen weights of one type, packed while loading: for running a network.
    pub fn inference(dtype: DType) -> Self {
        LoadOptions { dtype, trainable: false, prepack: true, values: true }
    }

    /// Trainable f32 master weights.
    pub fn training() -> Self {
        LoadOptions { dtype: DType::F32, trainable: true, prepack: false, values: true }
    }
}

type KeyMap = dyn Fn(&str) -> String + Send + Sync;

enum Origin {
    Random(u64),
    Source(Arc<dyn TensorSource>),
}

struct Shared {
    origin: Origin,
    options: LoadOptions,
    key_map: Option<Box<KeyMap>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: ParamStore,
    used: BTreeSet<String>,
    mismatch: Mismatch,
}

/// Hands out the parameters of a network by path. Cloning, and [`Loader::at`], share what has been handed out.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
    path: String,
}

impl Loader {
    /// Parameters from `source`.
    pub fn new(source: impl TensorSource + 'static, options: LoadOptions) -> Loader {
        Loader::from_origin(Origin::Source(Arc::new(source)), options, None)
    }

    /// As [`Loader::new`]; `key_map` turns the network's names into the source's.
    pub fn with_key_map(
        source: impl TensorSource + 'static,
        options: LoadOptions,
        key_map: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Loader {
        Loader::from_origin(Origin::Source(Arc::new(source)), options, Some(Box::new(key_map)))
    }

    /// Trainable parameters with a random start: a parameter's values depend on the seed and its name alone.
    pub fn random(seed: u64) -> Loader {
        Loader::random_with(seed, LoadOptions::training())
    }

    /// As [`Loader::random`], kept in another way: a network of some shape without a checkpoint, to be measured.
    pub fn random_with(seed: u64, options: LoadOptions) -> Loader {
        Loader::from_origin(Origin::Random(seed), options, None)
    }

    fn from_origin(origin: Origin, options: LoadOptions, key_map: Option<Box<KeyMap>>) -> Loader {
        Loader { shared: Arc::new(Shared { origin, options, key_map, state: Mutex::default() }), path: String::new() }
    }

    /// The loader of a part of the network.
    #[must_use]
    pub fn at(&self, segment: impl Display) -> Loader {
        Loader { shared: self.shared.clone(), path: self.name(segment) }
    }

    /// How parameters are kept.
    pub fn options(&self) -> LoadOptions {
        self.shared.options
    }

    /// The path of this part, `a.b.0`; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn name(&self, segment: impl Display) -> String {
        if self.path.is_empty() { segment.to_string() } else { format!("{}.{segment}", self.path) }
    }

    fn source_key(&self, name: &str) -> String {
        self.shared.key_map.as_ref().map_or_else(|| name.to_owned(), |map| map(name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the source has a tensor of this name; `None` if parameters start at random.
    pub fn contains(&self, name: &str) -> Option<bool> {
        match &self.shared.origin {
            Origin::Random(_) => None,
            Origin::Source(source) => Some(source.contains(&self.source_key(&self.name(name)))),
        }
    }

    /// Shape of the source's tensor of this name, for layers whose width only the file knows.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.shared.origin {
            Origin::Random(_) => None,
            Origin::Source(source) => source.shape(&self.source_key(&self.name(name))),
        }
    }

    /// The parameter `name` of this part. Weight decay applies to it if it has two or more dimensions.
    ///
    /// What is missing or misshapen is kept for [`Loader::finish`]; such a parameter is all zeros.
    ///
    /// # Errors
    /// If the source cannot be read or the shape is impossible.
    pub fn param(&self, name: &str, shape: &[usize], init: Init) -> Result<Param, LoadError> {
        self.param_with(name, shape, init, shape.len() >= 2)
    }

    /// As [`Loader::param`], saying whether weight decay applies.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn param_with(&self, name: &str, shape: &[usize], init: Init, decay: bool) -> Result<Param, LoadError> {
        let name = self.name(name);
        if let Some(param) = self.state().store.get(&name)
            && param.shape() == shape
        {
            return Ok(param.clone());
        }
        let options = self.shared.options;
        let dtype = if shape.len() < 2 { DType::F32 } else { options.dtype };
        let param = match &self.shared.origin {
            Origin::Random(seed) => {
                let mut value = Tensor::zeros(shape, DType::F32)?.to_vec();
                init.fill(shape, &mut Rng::with_stream(*seed, stable_hash(&name)), &mut value);
                Param::new(&name, Tensor::from_vec(value, shape)?.cast(dtype)?)
            }
            Origin::Source(source) => self.read(source.as_ref(), &name, shape, dtype)?,
        };
        param.trainable(options.trainable);
        self.state().store.insert(param.clone(), decay);
        Ok(param)
    }

    fn read(&self, source: &dyn TensorSource, name: &str, shape: &[usize], dtype: DType) -> Result<Param, LoadError> {
        let key = self.source_key(name);
        match source.shape(&key) {
            Some(is) if is == shape => {}
            Some(is) => {
                let mut state = self.state();
                state.mismatch.misshapen.push((key.clone(), is, shape.to_vec()));
                state.used.insert(key);
                return Ok(Param::absent(name, shape, dtype)?);
            }
            None => {
                self.state().mismatch.missing.push(key);
                return Ok(Param::absent(name, shape, dtype)?);
            }
        }
        if !self.shared.options.values {
            self.state().used.insert(key);
            return Ok(Param::absent(name, shape, dtype)?);
        }
        let value = match dtype {
            DType::F32 => Tensor::from_slice(&source.read_f32(&key)?, shape)?,
            DType::Bf16 => Tensor::from_bf16(&source.read_bf16(&key)?, shape)?,
        };
        self.state().used.insert(key);
        Ok(Param::new(name, value))
    }

    /// All parameters that were asked for.
    ///
    /// # Errors
    /// If tensors were missing or misshapen, or the source has others that nobody asked for.
    pub fn finish(&self) -> Result<ParamStore, LoadError> {
        self.finish_ignoring(|_| false)
    }

    /// As [`Loader::finish`], not minding unused tensors of the source for whose names `ignored` says yes.
    ///
    /// # Errors
    /// As [`Loader::finish`].
    pub fn finish_ignoring(&self, ignored: impl Fn(&str) -> bool) -> Result<ParamStore, LoadError> {
        let state = self.state();
        if let Origin::Source(source) = &self.shared.origin {
            let mut mismatch = state.mismatch.clone();
            let unused = source.names().into_iter().filter(|name| !state.used.contains(name) && !ignored(name));
            mismatch.unexpected = unused.collect();
            if !mismatch.is_empty() {
                return Err(LoadError::Mismatch { source_name: source.source_name(), mismatch });
            }
        }
        if self.shared.options.prepack {
            // What the plain weights were read into is not needed again.
            danqing_kernels::pool::trim();
        }
        Ok(state.store.clone())
    }
}

/// FNV-1a: the same on every machine and in every release.
fn stable_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
