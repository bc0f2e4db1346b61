//! Convolutions, their relatives, and other sizes of maps.

use danqing_checkpoints::OnnxNode;
use danqing_nn::Conv2d;
use danqing_tensor::{Conv2dOptions, PadMode};

use super::super::graph::{Binary, Op};
use super::super::resampling::{Grid, Sampling};
use super::numbers::Number;
use super::{Builder, Constant, Inputs, Layout, Made, Map};
use crate::error::ModelError;

/// Largest border, stride, distance or window.
const MOST: i64 = 1024;

impl Builder<'_> {
    /// Two small numbers, down and across.
    fn pair(&self, node: &OnnxNode, name: &str, least: i64) -> Result<[usize; 2], ModelError> {
        match node.wholes(name) {
            None => Ok([1; 2]),
            Some(&[a, b]) if [a, b].iter().all(|n| (least..=MOST).contains(n)) => Ok([a as usize, b as usize]),
            Some(_) => Err(self.bad(node, &format!("has {name} that are not known"))),
        }
    }

    /// Borders at the top, bottom, left and right of windows that reach over `span` pixels.
    fn borders(&self, node: &OnnxNode, span: [usize; 2], stride: [usize; 2]) -> Result<[usize; 4], ModelError> {
        // Of sides that are multiples of the stride, which is all that is taken.
        let same = |axis: usize| span[axis].saturating_sub(stride[axis]);
        let halves = |total: usize| [total / 2, total - total / 2];
        let ([top, bottom], [left, right]) = (halves(same(0)), halves(same(1)));
        match (node.text("auto_pad").unwrap_or("NOTSET"), node.wholes("pads")) {
            ("SAME_UPPER", _) => Ok([top, bottom, left, right]),
            ("SAME_LOWER", _) => Ok([bottom, top, right, left]),
            ("VALID", _) | ("NOTSET", None) => Ok([0; 4]),
            ("NOTSET", Some(&[top, left, bottom, right]))
                if [top, left, bottom, right].iter().all(|n| (0..=MOST).contains(n)) =>
            {
                Ok([top, bottom, left, right].map(|n| n as usize))
            }
            _ => Err(self.bad(node, "has a border that is not known")),
        }
    }

    /// `Conv` and `ConvTranspose`.
    pub(super) fn convolution(&mut self, node: &OnnxNode, inputs: &Inputs) -> Result<Made, ModelError> {
        let (map, weight, bias) = match inputs {
            [Some(Made::Map(map)), Some(Made::Constant(weight))] => (*map, weight, None),
            [Some(Made::Map(map)), Some(Made::Constant(weight)), bias] => (*map, weight, bias.as_ref()),
            _ => return Err(self.bad(node, "has a weight that is not in the file")),
        };
        let &[a, b, kh, kw] = weight.shape.as_slice() else { return Err(self.bad(node, "is not of two dimensions")) };
        if map.layout != Layout::First || [a, b, kh, kw].iter().any(|n| *n == 0 || *n as i64 > MOST * MOST) {
            return Err(self.bad(node, "has channels in a place that is not known, or an empty weight"));
        }
        let transposed = node.op == "ConvTranspose";
        let (stride, dilation) = (self.pair(node, "strides", 1)?, self.pair(node, "dilations", 1)?);
        let groups = usize::try_from(node.whole("group").unwrap_or(1)).unwrap_or(0);
        if groups == 0 || !a.is_multiple_of(groups) {
            return Err(self.bad(node, "does not divide into its groups"));
        }
        let automatic = node.text("auto_pad").is_some_and(|way| way != "NOTSET");
        if transposed && (automatic || node.wholes("output_shape").is_some() || dilation != [1; 2]) {
            return Err(self.bad(node, "has a size, border or dilation that is not known"));
        }
        let span = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
        let span = [span(kh.min(MOST as usize), dilation[0]), span(kw.min(MOST as usize), dilation[1])];
        let padding = self.borders(node, span, stride)?;
        let output_padding = match transposed && node.wholes("output_padding").is_some() {
            true => self.pair(node, "output_padding", 0)?,
            false => [0; 2],
        };
        let options = Conv2dOptions { stride, padding, dilation, groups, output_padding };
        let c_out = if transposed { b * groups } else { a };
        let bias = match bias {
            Some(Made::Constant(Constant { values, .. })) if values.len() == c_out => {
                Some(self.param(&format!("{}.bias", node.name), values, &[c_out])?)
            }
            None => None,
            _ => return Err(self.bad(node, "has a bias that is not in the file, or misshapen")),
        };
        let weight = self.param(&node.name, &weight.values, &weight.shape)?;
        if transposed {
            return self.one(node, Op::Deconv { weight, bias, options }, map);
        }
        Conv2d::prepack(&weight, options, self.options);
        self.one(node, Op::Conv { weight, bias, options }, map)
    }

    /// `MaxPool` and `AveragePool`.
    pub(super) fn pooling(&mut self, node: &OnnxNode, map: Map) -> Result<Made, ModelError> {
        let kernel = self.pair(node, "kernel_shape", 1)?;
        let stride = self.pair(node, "strides", 1)?;
        let [top, bottom, left, right] = self.borders(node, kernel, stride)?;
        let largest = node.op == "MaxPool";
        // Means that leave the border out are others than ours at the edge.
        let counted = largest || top + left == 0 || node.whole("count_include_pad") == Some(1);
        let even = top == bottom && left == right && top <= kernel[0] / 2 && left <= kernel[1] / 2;
        let plain = self.pair(node, "dilations", 1)? == [1; 2] && node.whole("ceil_mode").unwrap_or(0) == 0;
        if !counted || !even || !plain || map.layout != Layout::First {
            return Err(self.bad(node, "has windows or borders that are not known"));
        }
        self.one(node, Op::Pool { largest, kernel, stride, padding: [top, left] }, map)
    }

    pub(super) fn batch_norm(&mut self, node: &OnnxNode, inputs: &Inputs) -> Result<Made, ModelError> {
        let reals = |at: usize| match inputs.get(at) {
            Some(Some(Made::Constant(constant))) => Some(constant.values.clone()),
            _ => None,
        };
        let all = (inputs.first(), reals(1), reals(2), reals(3), reals(4));
        let (Some(Some(Made::Map(map))), Some(gamma), Some(beta), Some(mean), Some(variance)) = all else {
            return Err(self.unknown(node));
        };
        let c = gamma.len();
        if [&beta, &mean, &variance].iter().any(|values| values.len() != c) || map.layout != Layout::First {
            return Err(self.bad(node, "has numbers for other channels than it has"));
        }
        let epsilon = node.real("epsilon").unwrap_or(1e-5);
        let scale: Vec<f32> = gamma.iter().zip(variance.iter()).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
        let shift: Vec<f32> = (0..c).map(|i| beta[i] - mean[i] * scale[i]).collect();
        let scale = self.param(&format!("{}.scale", node.name), &scale, &[c])?;
        let shift = self.param(&format!("{}.shift", node.name), &shift, &[c])?;
        self.both(node, [Op::Channels(Binary::Mul, scale), Op::Channels(Binary::Add, shift)], *map)
    }

    /// `Gemm`, and `MatMul` of pixels or vectors.
    pub(super) fn product(&mut self, node: &OnnxNode, inputs: &Inputs) -> Result<Made, ModelError> {
        let [Some(Made::Map(map)), Some(Made::Constant(weight)), rest @ ..] = inputs else {
            return Err(self.unknown(node));
        };
        let &[rows, columns] = weight.shape.as_slice() else { return Err(self.unknown(node)) };
        let one = |name: &str| node.real(name).is_none_or(|v| v == 1.0);
        let turned = node.whole("transB").unwrap_or(0) != 0;
        let plain = one("alpha") && one("beta") && node.whole("transA").unwrap_or(0) == 0;
        let vector = map.layout == Layout::Vector;
        if !plain
            || matches!(map.layout, Layout::First | Layout::Line)
            || (node.op == "Gemm" && !vector)
            || rows * columns == 0
        {
            return Err(self.unknown(node));
        }
        let (n, k) = if turned { (rows, columns) } else { (columns, rows) };
        let values: Vec<f32> = match turned {
            true => weight.values.to_vec(),
            false => (0..n * k).map(|i| weight.values[i % k * columns + i / k]).collect(),
        };
        let bias = match rest {
            [] | [None] => None,
            [Some(Made::Constant(bias))] if bias.values.len() == n => {
                Some(self.param(&format!("{}.bias", node.name), &bias.values, &[n])?)
            }
            _ => return Err(self.unknown(node)),
        };
        // Of pixels it is a convolution that sees nothing around them.
        let weight = self.param(&node.name, &values, &[n, k, 1, 1])?;
        if self.options.prepack {
            weight.prepack_conv(1, self.options.dtype);
        }
        self.one(node, Op::Conv { weight, bias, options: Conv2dOptions::default() }, *map)
    }

    pub(super) fn pad(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let depends = "has a border that depends on the picture or is not known";
        let pads = self.list(node, inputs, 1, "pads")?.ok_or_else(|| self.bad(node, depends))?;
        let pads: Option<Vec<i64>> = pads.iter().map(|n| n.known().map(|v| v as i64)).collect();
        let pads = pads.filter(|pads| pads.iter().all(|n| n.abs() <= MOST)).ok_or_else(|| self.bad(node, depends))?;
        let (h, w, c) = match map.layout {
            Layout::First => (2, 3, 1),
            Layout::Last => (1, 2, 3),
            Layout::Vector | Layout::Line => return Err(self.unknown(node)),
        };
        if pads.len() != 8 || inputs.len() > 3 || [pads[0], pads[4], pads[c], pads[4 + c]] != [0; 4] {
            return Err(self.bad(node, "adds to other things than the sides of a map"));
        }
        let value = match inputs.get(2) {
            Some(Some(made)) => self.reals(made).and_then(|c| c.values.first().copied()),
            _ => Some(node.real("value").unwrap_or(0.0)),
        };
        let value = value.ok_or_else(|| self.unknown(node))?;
        let mode = match node.text("mode").unwrap_or("constant") {
            "constant" => PadMode::Constant(value),
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Replicate,
            _ => return Err(self.bad(node, "pads in a way that is not known")),
        };
        let sides = [pads[h], pads[4 + h], pads[w], pads[4 + w]];
        if sides.iter().all(|n| *n <= 0) {
            return self.one(node, Op::Crop(sides.map(|n| -n as usize)), map);
        }
        if sides.iter().any(|n| *n < 0) {
            return Err(self.bad(node, "adds on one side and takes away on another"));
        }
        self.one(node, Op::Pad(sides.map(|n| n as usize), mode), map)
    }

    /// `Resize` and the older `Upsample`.
    pub(super) fn resize(&mut self, node: &OnnxNode, map: Map, inputs: &Inputs) -> Result<Made, ModelError> {
        let old = node.op == "Upsample";
        let text = |name: &str, or: &'static str| node.text(name).unwrap_or(or).to_owned();
        let odd = node.whole("antialias").unwrap_or(0) != 0
            || node.whole("exclude_outside").unwrap_or(0) != 0
            || node.wholes("axes").is_some()
            || node.text("keep_aspect_ratio_policy").is_some_and(|way| way != "stretch");
        let sides = match map.layout {
            Layout::First => [2, 3],
            Layout::Last => [1, 2],
            Layout::Vector | Layout::Line => return Err(self.unknown(node)),
        };
        if odd {
            return Err(self.bad(node, "resizes in a way that is not known"));
        }
        let four = |at: usize| {
            let made = inputs.get(at).and_then(Option::as_ref)?;
            self.numbers(made).map(|(_, numbers)| numbers).filter(|numbers| numbers.len() == 4)
        };
        let factors = match (node.attributes.get("scales"), old || inputs.len() == 2) {
            (Some(danqing_checkpoints::OnnxAttribute::Reals(list)), _) if list.len() == 4 => {
                Some(list.iter().map(|v| Number::Known(f64::from(*v))).collect())
            }
            (_, true) => four(1),
            _ => four(2),
        };
        let (times, like) = match (factors, four(3)) {
            (Some(factors), _) => {
                let factors: Vec<Number> = factors;
                if factors.iter().enumerate().any(|(at, factor)| !sides.contains(&at) && *factor != Number::Known(1.0))
                {
                    return Err(self.bad(node, "makes more pictures or channels"));
                }
                let [Some(down), Some(across)] = sides.map(|at| factors[at].known()) else {
                    return Err(self.unknown(node));
                };
                ([down, across], map.blob)
            }
            (None, Some(sizes)) => {
                match sides.map(|at| sizes[at]) {
                    [
                        Number::Side { blob, axis: 0, times: down },
                        Number::Side { blob: other, axis: 1, times: across },
                    ] if blob == other => ([down, across], blob),
                    _ => {
                        return Err(self
                            .bad(node, "makes a size that does not follow from the picture's, or not in a known way"));
                    }
                }
            }
            _ => return Err(self.bad(node, "does not say what size it makes")),
        };
        if times.iter().any(|t| !(1.0 / 64.0..=64.0).contains(t)) {
            return Err(self.bad(node, "has a factor out of range"));
        }
        let way = text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" });
        let grid = match way.as_str() {
            "half_pixel" | "pytorch_half_pixel" => Grid::Borders,
            "align_corners" => Grid::Corners,
            "asymmetric" => Grid::First,
            _ => return Err(self.bad(node, "lays its pixels in a way that is not known")),
        };
        let rounding = text("nearest_mode", if old { "floor" } else { "round_prefer_floor" });
        let whole = like == map.blob && times.iter().all(|t| t.fract() == 0.0);
        let sampling = match (text("mode", "nearest").as_str(), grid, rounding.as_str()) {
            // For whole factors both give each pixel as many times.
            ("nearest", Grid::First, "floor") => Sampling::Nearest,
            ("nearest", Grid::Borders, "round_prefer_floor" | "round_prefer_ceil") if whole => Sampling::Nearest,
            ("nearest", Grid::First, "round_prefer_floor") if times.iter().all(|t| [1.0, 2.0].contains(t)) && whole => {
                Sampling::Nearest
            }
            ("linear" | "bilinear", grid, _) => Sampling::Linear(grid),
            ("cubic", grid, _) => Sampling::Cubic(grid, node.real("cubic_coeff_a").unwrap_or(-0.75)),
            _ => return Err(self.bad(node, "resizes in a way that is not known")),
        };
        let inputs = if like == map.blob { vec![map.blob] } else { vec![map.blob, like] };
        self.add(node, Op::Resample(sampling, times), &inputs, map.layout)
    }
}
