//! What is done to maps, other than convolutions and other sizes.

use danqing_checkpoints::OnnxNode;
use danqing_tensor::Activation;

use super::super::graph::{Binary, Op, Unary};
use super::numbers::Number;
use super::{Builder, Inputs, Layout, Made, Map};
use crate::error::ModelError;

/// Largest factor of a pixel shuffle.
const MOST_SHUFFLED: usize = 16;

impl Builder<'_> {
    /// What a node makes that reads maps.
    pub(super) fn map_op(&mut self, node: &OnnxNode, inputs: &Inputs) -> Result<Made, ModelError> {
        let map = match inputs.first() {
            Some(Some(Made::Map(map))) => *map,
            Some(Some(Made::Folded { map, sizes, order })) => {
                return self.folded(node, *map, sizes, order.as_deref(), inputs);
            }
            _ => match node.op.as_str() {
                "Add" => return self.binary(node, Binary::Add, inputs),
                "Sub" => return self.binary(node, Binary::Sub, inputs),
                "Mul" => return self.binary(node, Binary::Mul, inputs),
                "Div" => return self.binary(node, Binary::Div, inputs),
                "Max" => return self.binary(node, Binary::Max, inputs),
                "Min" => return self.binary(node, Binary::Min, inputs),
                _ => return Err(self.unknown(node)),
            },
        };
        let active = |activation| Op::Activation(activation);
        let slope = |or: f32| node.real("alpha").unwrap_or(or);
        let op = match node.op.as_str() {
            "Identity" | "Dropout" | "Cast" => Op::Copy,
            "Relu" => active(Activation::Relu),
            "LeakyRelu" => active(Activation::LeakyRelu(slope(0.01))),
            "Sigmoid" => active(Activation::Sigmoid),
            "Tanh" => active(Activation::Tanh),
            "Gelu" if node.text("approximate") == Some("tanh") => active(Activation::GeluTanh),
            "Gelu" => active(Activation::Gelu),
            "Neg" => Op::Unary(Unary::Negative),
            "Abs" => Op::Unary(Unary::Absolute),
            "Sqrt" => Op::Unary(Unary::Root),
            "Exp" => Op::Unary(Unary::Exponential),
            "Reciprocal" => Op::Unary(Unary::Reciprocal),
            "Erf" => Op::Unary(Unary::Erf),
            "HardSigmoid" => return self.hard_sigmoid(node, map, slope(0.2), node.real("beta").unwrap_or(0.5)),
            "HardSwish" => {
                let Made::Map(gate) = self.hard_sigmoid(node, map, 1.0 / 6.0, 0.5)? else {
                    return Err(self.unknown(node));
                };
                return self.add(node, Op::Binary(Binary::Mul), &[map.blob, gate.blob], map.layout);
            }
            "PRelu" => return self.prelu(node, map, inputs),
            "Clip" => self.clip(node, inputs)?,
            "Pow" => match inputs.get(1).and_then(Option::as_ref).and_then(|made| self.reals(made)) {
                Some(power) if *power.values == [2.0] => {
                    return self.add(node, Op::Binary(Binary::Mul), &[map.blob, map.blob], map.layout);
                }
                Some(power) if *power.values == [0.5] => Op::Unary(Unary::Root),
                _ => return Err(self.unknown(node)),
            },
            "Add" => return self.binary(node, Binary::Add, inputs),
            "Sub" => return self.binary(node, Binary::Sub, inputs),
            "Mul" => return self.binary(node, Binary::Mul, inputs),
            "Div" => return self.binary(node, Binary::Div, inputs),
            "Max" => return self.binary(node, Binary::Max, inputs),
            "Min" => return self.binary(node, Binary::Min, inputs),
            "Conv" | "ConvTranspose" => return self.convolution(node, inputs),
            "BatchNormalization" => return self.batch_norm(node, inputs),
            "MaxPool" | "AveragePool" => return self.pooling(node, map),
            "Gemm" | "MatMul" => return self.product(node, inputs),
            "Pad" => return self.pad(node, map, inputs),
            "Resize" | "Upsample" => return self.resize(node, map, inputs),
            "GlobalAveragePool" if map.layout == Layout::First => Op::Mean,
            "ReduceMean" => return self.mean(node, map, inputs),
            "Concat" => return self.concat(node, map, inputs),
            "Slice" => self.slice(node, map, inputs)?,
            "Gather" => self.gather(node, map, inputs)?,
            "DepthToSpace" | "SpaceToDepth" if map.layout == Layout::First => {
                let factor = node.whole("blocksize").and_then(|n| usize::try_from(n).ok());
                let pixels_last = node.op == "SpaceToDepth" || node.text("mode").unwrap_or("DCR") == "DCR";
                return self.shuffle(node, map, factor, pixels_last, node.op == "DepthToSpace");
            }
            "Transpose" => return self.transpose(node, map),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => return self.reshape(node, map, inputs),
            _ => return Err(self.unknown(node)),
        };
        self.one(node, op, map)
    }

    fn hard_sigmoid(&mut self, node: &OnnxNode, map: Map, alpha: f32, beta: f32) -> Result<Made, ModelError> {
        match self.both(node, [Op::Scalar(Binary::Mul, alpha), Op::Scalar(Binary::Add, beta)], map)? {
            Made::Map(map) => self.one(node, Op::Clip(0.0, 1.0), map),
            other => Ok(other),
        }
    }

    fn prelu(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let Some(Some(Made::Constant(slope))) = inputs.get(1) else { return Err(self.unknown(node)) };
        let values = match slope.values.as_ref() {
            [one] => vec![*one; self.sizes[map.blob][2]],
            _ => {
                self.channels(map, slope).ok_or_else(|| self.bad(node, "has other slopes than one for each channel"))?
            }
        };
        let slope = self.param(&node.name, &values, &[values.len()])?;
        self.one(node, Op::Prelu(slope), map)
    }

    fn clip(&self, node: &OnnxNode, inputs: &Inputs) -> Result<Op, ModelError> {
        let bound = |at: usize, name: &str, or: f32| match inputs.get(at) {
            Some(Some(made)) => self.reals(made).and_then(|bound| bound.values.first().copied()),
            _ => Some(node.real(name).unwrap_or(or)),
        };
        match (bound(1, "min", f32::MIN), bound(2, "max", f32::MAX)) {
            (Some(low), Some(high)) if low <= high => Ok(Op::Clip(low, high)),
            _ => Err(self.unknown(node)),
        }
    }

    /// Which dimension of ours one of the file's is: 0 height, 1 width, 2 channels.
    fn axis(map: Map, axis: f64) -> Option<usize> {
        let rank = match map.layout {
            Layout::First | Layout::Last => 4.0,
            Layout::Line => 3.0,
            Layout::Vector => 2.0,
        };
        let axis = if axis < 0.0 { axis + rank } else { axis };
        match (map.layout, axis as i64) {
            _ if axis < 1.0 || axis >= rank => None,
            (Layout::First | Layout::Vector | Layout::Line, 1) | (Layout::Last, 3) => Some(2),
            (Layout::Line, _) => None,
            (Layout::First, axis) => Some(axis as usize - 2),
            (_, axis) => Some(axis as usize - 1),
        }
    }

    fn mean(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let axes = self.list(node, inputs, 1, "axes")?.unwrap_or_default();
        let mut axes: Vec<usize> = axes
            .iter()
            .map(|a| Self::axis(map, a.known()?))
            .collect::<Option<_>>()
            .ok_or_else(|| self.unknown(node))?;
        axes.sort_unstable();
        if axes != [0, 1] {
            return Err(self.bad(node, "takes means over other things than all pixels"));
        }
        let kept = node.whole("keepdims").unwrap_or(1) != 0;
        self.add(node, Op::Mean, &[map.blob], if kept { map.layout } else { Layout::Vector })
    }

    fn concat(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let all = inputs.iter().map(|made| match made {
            Some(Made::Map(other)) if other.layout == map.layout => Some(other.blob),
            _ => None,
        });
        let all: Option<Vec<usize>> = all.collect();
        let axis = node.whole("axis").and_then(|axis| Self::axis(map, axis as f64));
        match (all, axis) {
            (Some(all), Some(2)) => self.add(node, Op::Concat, &all, map.layout),
            _ => Err(self.bad(node, "joins other things than the channels of maps")),
        }
    }

    fn slice(&self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Op, ModelError> {
        let why = "cuts in a way that is not known, or that depends on the picture's size";
        let bad = || self.bad(node, why);
        let starts = self.list(node, inputs, 1, "starts")?.ok_or_else(bad)?;
        let ends = self.list(node, inputs, 2, "ends")?.ok_or_else(bad)?;
        let axes = self.list(node, inputs, 3, "axes")?;
        let axes = axes.unwrap_or_else(|| (0..starts.len()).map(|i| Number::Known(i as f64)).collect());
        let steps = self.list(node, inputs, 4, "steps")?.unwrap_or_default();
        if starts.len() != ends.len() || starts.len() != axes.len() || steps.iter().any(|s| *s != Number::Known(1.0)) {
            return Err(bad());
        }
        let (mut cut, mut part) = ([0; 4], None);
        for ((start, end), axis) in starts.iter().zip(&ends).zip(&axes) {
            let axis = axis.known().and_then(|axis| Self::axis(map, axis)).ok_or_else(bad)?;
            let start = start.known().ok_or_else(bad)?;
            if axis == 2 {
                let c = self.sizes[map.blob][2] as f64;
                let place = |at: f64| if at < 0.0 { at + c } else { at }.clamp(0.0, c);
                let (start, end) = (place(start), place(end.known().ok_or_else(bad)?));
                part = Some((start as usize, (end - start).max(0.0) as usize));
                continue;
            }
            let behind = match *end {
                Number::Known(end) if end < 0.0 => -end,
                Number::Known(end) if end >= f64::from(i32::MAX) => 0.0,
                Number::Side { blob, axis: side, times: 1.0 } if (blob, side) == (map.blob, axis) => 0.0,
                _ => return Err(bad()),
            };
            if !(0.0..=4096.0).contains(&start) || behind > 4096.0 {
                return Err(bad());
            }
            (cut[2 * axis], cut[2 * axis + 1]) = (start as usize, behind as usize);
        }
        match part {
            Some((start, len)) if cut == [0; 4] => Ok(Op::Part(start, len)),
            None => Ok(Op::Crop(cut)),
            _ => Err(bad()),
        }
    }

    fn gather(&self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Op, ModelError> {
        let axis = Self::axis(map, node.whole("axis").unwrap_or(0) as f64);
        let c = self.sizes[map.blob][2] as f64;
        let Some(Some(Made::Numbers(shape, numbers))) = inputs.get(1) else { return Err(self.unknown(node)) };
        let id = |n: &Number| n.known().map(|v| if v < 0.0 { v + c } else { v }).filter(|v| (0.0..c).contains(v));
        let ids: Option<Vec<u32>> = numbers.iter().map(|n| id(n).map(|v| v as u32)).collect();
        match (axis, shape.len(), ids) {
            (Some(2), 1, Some(ids)) => Ok(Op::Select(ids)),
            _ => Err(self.bad(node, "takes other things than some channels")),
        }
    }

    /// Parts of a map's channels, each under its name.
    pub(super) fn split(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<(), ModelError> {
        let axis = Self::axis(map, node.whole("axis").unwrap_or(0) as f64);
        let (c, parts) = (self.sizes[map.blob][2], node.outputs.len());
        let sizes: Option<Vec<usize>> = match self.list(node, inputs, 1, "split")? {
            Some(sizes) => sizes.iter().map(|n| n.count()).collect(),
            None => (parts > 0 && c.is_multiple_of(parts)).then(|| vec![c / parts; parts]),
        };
        let sizes = sizes.filter(|sizes| axis == Some(2) && sizes.len() == parts && sizes.iter().sum::<usize>() == c);
        let sizes = sizes.ok_or_else(|| self.bad(node, "divides other things than channels, or not in a known way"))?;
        let mut start = 0;
        for (name, size) in node.outputs.iter().zip(sizes) {
            let made = self.one(node, Op::Part(start, size), map)?;
            self.made.insert(name.clone(), made);
            start += size;
        }
        Ok(())
    }

    fn transpose(&mut self, node: &OnnxNode, map: Map) -> Result<Made, ModelError> {
        let layout = match (map.layout, node.wholes("perm")) {
            (Layout::First, Some([0, 2, 3, 1])) => Layout::Last,
            (Layout::Last, Some([0, 3, 1, 2])) => Layout::First,
            (layout, Some([0, 1, 2, 3])) => layout,
            _ => return Err(self.bad(node, "turns dimensions in a way that is not known")),
        };
        Ok(Made::Map(Map { layout, ..map }))
    }

    /// Whether a map is a single pixel.
    fn single(&self, map: Map) -> bool {
        self.sizes[map.blob][..2] == [1, 1]
    }

    fn reshape(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let bad = || self.bad(node, "reshapes in a way that is not known");
        let c = self.sizes[map.blob][2];
        let vector = Made::Map(Map { layout: Layout::Vector, ..map });
        let pixel = Made::Map(Map { layout: Layout::First, ..map });
        let last = |axes: &[Number]| {
            let known: Vec<f64> = axes.iter().filter_map(|axis| axis.known()).collect();
            known == [2.0, 3.0] || known == [-2.0, -1.0]
        };
        match node.op.as_str() {
            "Flatten" if self.single(map) && node.whole("axis").unwrap_or(1) == 1 => Ok(vector),
            "Squeeze" | "Unsqueeze" if self.single(map) => {
                let axes = self.list(node, inputs, 1, "axes")?.unwrap_or_default();
                match (node.op.as_str(), map.layout) {
                    ("Squeeze", Layout::First) if last(&axes) => Ok(vector),
                    ("Unsqueeze", Layout::Vector) if last(&axes) => Ok(pixel),
                    ("Unsqueeze", Layout::Vector) if axes == [Number::Known(2.0)] => {
                        Ok(Made::Map(Map { layout: Layout::Line, ..map }))
                    }
                    ("Unsqueeze", Layout::Line) if axes == [Number::Known(3.0)] => Ok(pixel),
                    _ => Err(bad()),
                }
            }
            "Reshape" => {
                let sizes = self.list(node, inputs, 1, "shape")?.ok_or_else(bad)?;
                let one = |at: usize| sizes.get(at) == Some(&Number::Known(1.0));
                let channels = sizes.get(1).is_some_and(|n| [Number::Known(c as f64), Number::Known(-1.0)].contains(n));
                match (sizes.len(), map.layout) {
                    (6, Layout::First) => Ok(Made::Folded { map, sizes, order: None }),
                    (2, Layout::First) if self.single(map) && channels => Ok(vector),
                    (4, Layout::Vector) if channels && one(2) && one(3) => Ok(pixel),
                    (4, Layout::First) if self.single(map) && channels && one(2) && one(3) => Ok(pixel),
                    _ => Err(bad()),
                }
            }
            _ => Err(bad()),
        }
    }

    /// The second and the third step of a pixel shuffle: dimensions in another order, then joined.
    fn folded(
        &mut self,
        node: &OnnxNode,
        map: Map,
        sizes: &[Number],
        order: Option<&[usize]>,
        inputs: &Inputs,
    ) -> Result<Made, ModelError> {
        let bad = || self.bad(node, "reshapes in a way that is not known");
        if let ("Transpose", None, Some(order)) = (node.op.as_str(), order, node.wholes("perm")) {
            let order = Some(order.iter().map(|d| *d as usize).collect());
            return Ok(Made::Folded { map, sizes: sizes.to_vec(), order });
        }
        let to = self.list(node, inputs, 1, "shape")?.filter(|to| node.op == "Reshape" && to.len() == 4);
        let (Some(order), Some(to)) = (order, to) else { return Err(bad()) };
        // Where the two factors stand, whether they come before the channels, and whether pixels become more.
        let (factors, pixels_last, enlarges) = match order {
            [0, 1, 4, 2, 5, 3] => ([2, 3], false, true),
            [0, 3, 4, 1, 5, 2] => ([1, 2], true, true),
            [0, 1, 3, 5, 2, 4] => ([3, 5], false, false),
            [0, 3, 5, 1, 2, 4] => ([3, 5], true, false),
            _ => return Err(bad()),
        };
        let [Some(a), Some(b)] = factors.map(|at| sizes[at].count()) else { return Err(bad()) };
        let made = self.shuffle(node, map, (a == b).then_some(a), pixels_last, enlarges)?;
        let fits = match (&made, to[1]) {
            (Made::Map(map), Number::Known(c)) => c < 0.0 || c == self.sizes[map.blob][2] as f64,
            _ => true,
        };
        if fits { Ok(made) } else { Err(self.bad(node, "reshapes in a way that is not known")) }
    }

    /// A pixel shuffle or its reverse; with `pixels_last` the channels of one pixel stand together.
    fn shuffle(
        &mut self,
        node: &OnnxNode,
        map: Map,
        factor: Option<usize>,
        pixels_last: bool,
        enlarges: bool,
    ) -> Result<Made, ModelError> {
        let factor = factor.filter(|factor| (1..=MOST_SHUFFLED).contains(factor));
        let factor = factor.ok_or_else(|| self.bad(node, "has a factor out of range"))?;
        if map.layout != Layout::First || node.text("mode").is_some_and(|mode| !["DCR", "CRD"].contains(&mode)) {
            return Err(self.unknown(node));
        }
        let (square, c) = (factor * factor, self.sizes[map.blob][2]);
        let whole = if enlarges { c / square } else { c };
        // Ours count the pixels of a channel together.
        let place = |i: usize| (i % square * whole + i / square) as u32;
        match (enlarges, pixels_last) {
            (true, false) => self.one(node, Op::Shuffle(factor), map),
            (true, true) if whole == 1 => self.one(node, Op::Shuffle(factor), map),
            (true, true) => {
                let ids = (0..whole * square).map(place).collect();
                self.both(node, [Op::Select(ids), Op::Shuffle(factor)], map)
            }
            (false, false) => self.one(node, Op::Unshuffle(factor), map),
            (false, true) => {
                let ids = (0..c * square).map(|i| (i % c * square + i / c) as u32).collect();
                self.both(node, [Op::Unshuffle(factor), Op::Select(ids)], map)
            }
        }
    }
}
