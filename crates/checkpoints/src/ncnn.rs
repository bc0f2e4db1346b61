//! ncnn networks: a text of layers (`.param`) and their numbers in the same order (`.bin`), Tencent/ncnn.
//!
//! The text tells what is computed, so that unlike other formats this one holds a network and not only its weights. Layers are
//! kept as they stand; what they mean is decided by whoever runs them. Layers whose numbers are not known to this reader are
//! refused, because everything after them would be read at the wrong place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::blob::Blob;
use crate::weights::{Entry, TensorInfo};
use crate::{StorageType, Weights, WeightsError};

/// First line of a text.
const MAGIC: &str = "7767517";
/// Bounds of a text: networks have a few hundred layers of a few parameters.
const MAX_TEXT: usize = 4 << 20;
const MAX_LAYERS: usize = 20_000;
const MAX_PARAMETERS: usize = 256;
const MAX_NUMBERS: usize = 1 << 28;
const FORMAT: &str = "ncnn";
/// Keys of lists are this minus their number.
const LIST: i64 = -23_300;
/// Marks before a tensor that may be stored in several ways.
const HALF: u32 = 0x0130_6b47;
const PLAIN: u32 = 0;

/// A parameter of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum NcnnValue {
    /// One number; whole numbers up to 2²⁴ are kept exactly.
    Number(f32),
    /// A list of numbers.
    List(Vec<f32>),
}

/// A layer: what it is, what it reads and makes, and its parameters by number.
#[derive(Debug, Clone, PartialEq)]
pub struct NcnnLayer {
    /// Type, as in `Convolution`.
    pub kind: String,
    /// Name; its tensors are called `<name>.weight`, `<name>.bias` and `<name>.slope`.
    pub name: String,
    /// Names of the blobs that it reads.
    pub inputs: Vec<String>,
    /// Names of the blobs that it makes.
    pub outputs: Vec<String>,
    /// Parameters by number, lists under the number that their key stands for.
    pub parameters: BTreeMap<u16, NcnnValue>,
}

impl NcnnLayer {
    /// A parameter that is one number.
    pub fn number(&self, key: u16, default: f32) -> f32 {
        match self.parameters.get(&key) {
            Some(NcnnValue::Number(value)) => *value,
            _ => default,
        }
    }

    /// A parameter that is a list; empty where there is none.
    pub fn list(&self, key: u16) -> &[f32] {
        match self.parameters.get(&key) {
            Some(NcnnValue::List(values)) => values,
            _ => &[],
        }
    }

    /// A parameter that counts something; `None` where it is negative, broken or absurdly large.
    pub fn count(&self, key: u16, default: usize) -> Option<usize> {
        let value = self.number(key, default as f32);
        (value >= 0.0 && value.fract() == 0.0 && value < MAX_NUMBERS as f32).then_some(value as usize)
    }
}

/// A network: its layers in the order of computation, and their tensors.
#[derive(Debug, Clone)]
pub struct Ncnn {
    layers: Vec<NcnnLayer>,
    weights: Weights,
}

impl Ncnn {
    /// Opens a `.param` file and the `.bin` file of the same name beside it; either may be named.
    ///
    /// # Errors
    /// When one of them cannot be read or they do not belong together.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let text = Blob::open(&path.with_extension("param"))?;
        let numbers = Arc::new(Blob::open(&path.with_extension("bin"))?);
        Self::parse(text.name(), text.all()?, &numbers)
    }

    /// Reads a network held in memory; `name` stands for the file name in messages.
    ///
    /// # Errors
    /// As [`Ncnn::open`].
    pub fn from_bytes(name: &str, text: &[u8], numbers: Vec<u8>) -> Result<Self, WeightsError> {
        Self::parse(name, text, &Arc::new(Blob::from_vec(name, numbers)))
    }

    fn parse(name: &str, text: &[u8], numbers: &Arc<Blob>) -> Result<Self, WeightsError> {
        let layers = layers(name, text)?;
        let mut reader = Reader { blob: numbers, at: 0, weights: Weights::empty(name) };
        for layer in &layers {
            reader.layer(layer)?;
        }
        if reader.at != numbers.len() {
            let why = format!("{} bytes of its numbers belong to no layer", numbers.len() - reader.at);
            return Err(WeightsError::malformed(name, FORMAT, why));
        }
        Ok(Self { layers, weights: reader.weights })
    }

    /// The layers in the order of computation.
    pub fn layers(&self) -> &[NcnnLayer] {
        &self.layers
    }

    /// The tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

/// Reads the text. Every blob is made once, before it is read.
fn layers(name: &str, text: &[u8]) -> Result<Vec<NcnnLayer>, WeightsError> {
    let bad = |why: String| WeightsError::malformed(name, FORMAT, why);
    if text.len() > MAX_TEXT {
        return Err(bad(format!("its text of {} bytes is longer than the {MAX_TEXT} accepted", text.len())));
    }
    let text = std::str::from_utf8(text).map_err(|_| bad("its text is not UTF-8".into()))?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    if lines.next().map(str::trim) != Some(MAGIC) {
        return Err(bad(format!("its text does not begin with {MAGIC}")));
    }
    let counts: Vec<usize> = words(lines.next().unwrap_or_default()).filter_map(|w| w.parse().ok()).collect();
    let &[count, _] = counts.as_slice() else {
        return Err(bad("its second line does not count layers and blobs".into()));
    };
    if count > MAX_LAYERS {
        return Err(bad(format!("it has {count} layers, more than the {MAX_LAYERS} accepted")));
    }
    let (mut layers, mut names, mut blobs) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let layer = layer(line).ok_or_else(|| bad(format!("this line is no layer: {:.80}", line.trim())))?;
        if layers.len() == count || !names.insert(layer.name.clone()) {
            return Err(bad(format!("layer {:?} is one too many", layer.name)));
        }
        if let Some(missing) = layer.inputs.iter().find(|blob| !blobs.contains(*blob)) {
            return Err(bad(format!("layer {:?} reads {missing:?}, which no layer before it makes", layer.name)));
        }
        for blob in &layer.outputs {
            if !blobs.insert(blob.clone()) {
                return Err(bad(format!("blob {blob:?} is made twice")));
            }
        }
        layers.push(layer);
    }
    if layers.len() != count {
        return Err(bad(format!("it has {} layers where {count} are announced", layers.len())));
    }
    Ok(layers)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
}

fn layer(line: &str) -> Option<NcnnLayer> {
    let mut words = words(line);
    let (kind, name) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut size = || words.next()?.parse::<usize>().ok().filter(|n| *n <= MAX_PARAMETERS);
    let (inputs, outputs) = (size()?, size()?);
    let mut blobs = |n: usize| (0..n).map(|_| words.next().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let (inputs, outputs) = (blobs(inputs)?, blobs(outputs)?);
    let mut parameters = BTreeMap::new();
    for word in words {
        let (key, value) = word.split_once('=')?;
        let key: i64 = key.parse().ok()?;
        let number = |text: &str| text.parse::<f32>().ok().filter(|v| v.is_finite());
        let (key, value) = if key <= LIST {
            let mut values = value.split(',');
            let count: usize = values.next()?.parse().ok()?;
            let values = values.take(MAX_PARAMETERS + 1).map(number).collect::<Option<Vec<f32>>>()?;
            if values.len() != count {
                return None;
            }
            (LIST - key, NcnnValue::List(values))
        } else {
            (key, NcnnValue::Number(number(value)?))
        };
        let key = u16::try_from(key).ok()?;
        if parameters.len() == MAX_PARAMETERS || parameters.insert(key, value).is_some() {
            return None;
        }
    }
    Some(NcnnLayer { kind, name, inputs, outputs, parameters })
}

/// Layers without numbers of their own.
const WITHOUT_NUMBERS: &[&str] = &[
    "AbsVal",
    "BinaryOp",
    "Clip",
    "Concat",
    "Crop",
    "Dropout",
    "Eltwise",
    "Flatten",
    "GELU",
    "HardSigmoid",
    "HardSwish",
    "Input",
    "Interp",
    "Mish",
    "Noop",
    "Padding",
    "Permute",
    "PixelShuffle",
    "Pooling",
    "ReLU",
    "Reduction",
    "Reorg",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Swish",
    "TanH",
    "UnaryOp",
];

/// Gives the numbers to the layers.
struct Reader<'a> {
    blob: &'a Arc<Blob>,
    at: usize,
    weights: Weights,
}

impl Reader<'_> {
    fn layer(&mut self, layer: &NcnnLayer) -> Result<(), WeightsError> {
        let count = |key: u16| {
            layer.count(key, 0).ok_or_else(|| self.bad(layer, format!("its parameter {key} counts nothing")))
        };
        match layer.kind.as_str() {
            "Convolution" | "ConvolutionDepthWise" | "Deconvolution" | "DeconvolutionDepthWise" => {
                let (outputs, size, biased) = (count(0)?, count(6)?, count(5)? == 1);
                let width = count(1)?;
                let height = layer.count(11, width).unwrap_or(0);
                if count(8)? != 0 || layer.kind.starts_with("Conv") && count(19)? != 0 {
                    return Err(self.bad(layer, "it is quantised, or gets its weights from other layers".into()));
                }
                let square = outputs.checked_mul(width).and_then(|n| n.checked_mul(height)).filter(|n| *n > 0);
                let inputs = square.filter(|n| size.is_multiple_of(*n)).map_or(0, |n| size / n);
                if inputs == 0 || inputs * square.unwrap_or(0) != size {
                    let why = format!("{size} numbers are not {outputs} kernels of {height}x{width}");
                    return Err(self.bad(layer, why));
                }
                self.marked(layer, &[outputs, inputs, height, width])?;
                if biased { self.plain(layer, "bias", outputs) } else { Ok(()) }
            }
            "InnerProduct" => {
                let (outputs, size, biased) = (count(0)?, count(2)?, count(1)? == 1);
                if count(8)? != 0 {
                    return Err(self.bad(layer, "it is quantised".into()));
                }
                if outputs == 0 || size == 0 || !size.is_multiple_of(outputs) {
                    return Err(self.bad(layer, format!("{size} numbers are not {outputs} rows")));
                }
                self.marked(layer, &[outputs, size / outputs])?;
                if biased { self.plain(layer, "bias", outputs) } else { Ok(()) }
            }
            "PReLU" => self.plain(layer, "slope", count(0)?),
            // A size of -233 stands for factors that come from another layer.
            "Scale" if layer.number(0, 0.0) == -233.0 && count(1)? == 0 => Ok(()),
            kind if WITHOUT_NUMBERS.contains(&kind) => Ok(()),
            kind => Err(self.bad(layer, format!("layers of type {kind} are not known"))),
        }
    }

    fn bad(&self, layer: &NcnnLayer, why: String) -> WeightsError {
        WeightsError::malformed(self.weights.source(), FORMAT, format!("layer {:?}: {why}", layer.name))
    }

    /// A tensor with a mark that tells its type.
    fn marked(&mut self, layer: &NcnnLayer, shape: &[usize]) -> Result<(), WeightsError> {
        let mark = self.blob.len().checked_sub(self.at).filter(|rest| *rest >= 4);
        let Some(_) = mark else { return Err(self.bad(layer, "its numbers are missing".into())) };
        let bytes = self.blob.range(self.at..self.at + 4)?;
        let mark = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
        self.at += 4;
        match mark {
            HALF => self.take(layer, "weight", StorageType::F16, shape),
            PLAIN => self.take(layer, "weight", StorageType::F32, shape),
            other => Err(self.bad(layer, format!("its numbers are stored as {other:#010x}, which is not read"))),
        }
    }

    fn plain(&mut self, layer: &NcnnLayer, name: &str, count: usize) -> Result<(), WeightsError> {
        if count == 0 {
            return Err(self.bad(layer, format!("its {name} is empty")));
        }
        self.take(layer, name, StorageType::F32, &[count])
    }

    fn take(&mut self, layer: &NcnnLayer, name: &str, dtype: StorageType, shape: &[usize]) -> Result<(), WeightsError> {
        let info = TensorInfo { dtype, shape: shape.to_vec() };
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_NUMBERS);
        // Half-precision tensors are filled up to whole words.
        let bytes = count.map(|n| (n * dtype.size()).next_multiple_of(4));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= self.blob.len() - self.at) else {
            return Err(self.bad(layer, format!("the numbers end before its {name} {shape:?}")));
        };
        let entry = Entry { info, blob: self.blob.clone(), start: self.at, strides: None };
        self.weights.insert(format!("{}.{name}", layer.name), entry)?;
        self.at += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "7767517\n3 3\nInput in 0 1 a\nConvolution c 1 1 a b 0=2 1=1 5=1 6=6 9=2 -23310=1,1.0e-01\n\
        PReLU p 1 1 b c 0=2\n";

    fn numbers() -> Vec<u8> {
        let mut bytes = HALF.to_le_bytes().to_vec();
        bytes.extend([0x00u8, 0x3c].repeat(6));
        for value in [0.5f32, -0.5, 0.25, 0.75] {
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_small_network_is_read() {
        let network = Ncnn::from_bytes("small.param", TEXT.as_bytes(), numbers()).unwrap();
        let weights = network.weights();
        assert_eq!(weights.info("c.weight").unwrap().shape, [2, 3, 1, 1]);
        assert_eq!(weights.read_f32("c.weight").unwrap(), [1.0; 6]);
        assert_eq!(weights.read_f32("c.bias").unwrap(), [0.5, -0.5]);
        assert_eq!(weights.read_f32("p.slope").unwrap(), [0.25, 0.75]);
        assert_eq!(network.layers()[1].list(10), [0.1]);
        assert_eq!(network.layers()[1].count(0, 0), Some(2));
    }

    #[test]
    fn broken_networks_are_refused_with_a_reason() {
        for (from, to, part) in [
            ("7767517", "7767518", "does not begin"),
            ("3 3", "4 3", "3 layers where 4"),
            ("3 3", "2 3", "one too many"),
            ("1 1 a b", "1 1 x b", "reads \"x\""),
            ("1 1 b c", "1 1 b b", "made twice"),
            ("6=6", "6=7", "not 2 kernels"),
            ("6=6", "6=600", "end before its weight"),
            ("PReLU p", "Secret p", "type Secret"),
            ("=1,1.0e-01", "=2,1.0e-01", "no layer"),
            ("0=2\n", "0=1\n", "4 bytes of its numbers"),
            ("0=2 1=1", "0=-2 1=1", "counts nothing"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            let text = if from == "0=2\n" { TEXT.replace("c 0=2\n", "c 0=1\n") } else { text };
            let error = Ncnn::from_bytes("broken.param", text.as_bytes(), numbers()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("broken.param"), "{to}: {error}");
        }
    }
}
