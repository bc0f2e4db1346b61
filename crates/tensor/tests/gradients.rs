//! Every operation's backward rule against central differences of its forward.

use danqing_tensor::{
    Activation, AttentionOptions, Conv2dOptions, ConvFusion, DType, Gradients, LinearFusion, PadMode, Param, Result,
    Rng, Tensor,
};

/// What an operation computes from its differentiable inputs and parameters.
type Op = fn(&[Tensor], &[Param]) -> Result<Tensor>;

struct Case {
    name: &'static str,
    /// Shapes of the inputs and of the parameters.
    inputs: &'static [&'static [usize]],
    params: &'static [&'static [usize]],
    /// Range of the values drawn: away from where a function is not smooth.
    range: (f32, f32),
    op: Op,
}

const ANY: (f32, f32) = (-1.0, 1.0);
const POSITIVE: (f32, f32) = (0.5, 2.0);

macro_rules! case {
    ($name:literal, $inputs:expr, $params:expr, $range:expr, $op:expr) => {
        Case { name: $name, inputs: $inputs, params: $params, range: $range, op: $op }
    };
}

const CASES: &[Case] = &[
    case!("add_scalar", &[&[3, 5]], &[], ANY, |x, _| x[0].add_scalar(0.3)),
    case!("mul_scalar", &[&[3, 5]], &[], ANY, |x, _| x[0].mul_scalar(-1.7)),
    case!("neg", &[&[7]], &[], ANY, |x, _| x[0].neg()),
    case!("square", &[&[3, 5]], &[], ANY, |x, _| x[0].square()),
    case!("sqrt", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].sqrt()),
    case!("reciprocal", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].reciprocal()),
    case!("exp", &[&[3, 5]], &[], ANY, |x, _| x[0].exp()),
    case!("ln", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].ln()),
    case!("abs", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].mul(&signs(&x[0])?)?.abs()),
    case!("sin", &[&[3, 5]], &[], ANY, |x, _| x[0].sin()),
    case!("cos", &[&[3, 5]], &[], ANY, |x, _| x[0].cos()),
    case!("powf", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].powf(2.5)),
    case!("erf", &[&[3, 5]], &[], ANY, |x, _| x[0].erf()),
    case!("tanh", &[&[3, 5]], &[], ANY, |x, _| x[0].tanh()),
    case!("sigmoid", &[&[3, 5]], &[], ANY, |x, _| x[0].sigmoid()),
    case!("silu", &[&[3, 5]], &[], ANY, |x, _| x[0].silu()),
    case!("gelu", &[&[3, 5]], &[], ANY, |x, _| x[0].gelu()),
    case!("gelu_tanh", &[&[3, 5]], &[], ANY, |x, _| x[0].gelu_tanh()),
    case!("quick_gelu", &[&[3, 5]], &[], ANY, |x, _| x[0].quick_gelu()),
    case!("relu", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].mul(&signs(&x[0])?)?.relu()),
    case!("leaky_relu", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].mul(&signs(&x[0])?)?.leaky_relu(0.2)),
    case!("prelu", &[&[2, 3, 5]], &[&[5]], POSITIVE, |x, p| x[0].mul(&signs(&x[0])?)?.prelu(&p[0])),
    case!("prelu shared", &[&[2, 3, 5]], &[&[1]], POSITIVE, |x, p| x[0].mul(&signs(&x[0])?)?.prelu(&p[0])),
    case!("clamp", &[&[3, 5]], &[], POSITIVE, |x, _| x[0].clamp(0.0, 3.0)),
    case!("geglu", &[&[2, 3, 10]], &[], ANY, |x, _| x[0].geglu()),
    case!("sigmoid_gate", &[&[3, 7], &[3, 7]], &[], ANY, |x, _| x[0].sigmoid_gate(&x[1])),
    case!("add", &[&[2, 3, 5], &[2, 3, 5]], &[], ANY, |x, _| x[0].add(&x[1])),
    case!("add broadcast", &[&[2, 3, 5], &[3, 1]], &[], ANY, |x, _| x[0].add(&x[1])),
    case!("sub broadcast", &[&[5], &[4, 1, 5]], &[], ANY, |x, _| x[0].sub(&x[1])),
    case!("mul", &[&[3, 7], &[3, 7]], &[], ANY, |x, _| x[0].mul(&x[1])),
    case!("mul broadcast", &[&[2, 1, 5], &[3, 1]], &[], ANY, |x, _| x[0].mul(&x[1])),
    case!("div broadcast", &[&[2, 3, 5], &[1, 5]], &[], POSITIVE, |x, _| x[0].div(&x[1])),
    case!("maximum", &[&[3, 5], &[5]], &[], POSITIVE, |x, _| x[0].maximum(&x[1].mul(&signs(&x[0])?)?.mul_scalar(5.0)?)),
    case!("minimum", &[&[3, 5], &[3, 1]], &[], POSITIVE, |x, _| x[0]
        .mul(&signs(&x[0])?)?
        .mul_scalar(5.0)?
        .minimum(&x[1])),
    case!("twice used", &[&[3, 5]], &[], ANY, |x, _| x[0].mul(&x[0])?.add(&x[0])?.add(&x[0].exp()?)),
    case!("sum", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].sum(&[0, 2], false)),
    case!("sum keepdim", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].sum(&[1], true)),
    case!("mean", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].mean(&[1, 2], false)),
    case!("sum_all", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].sum_all()),
    case!("mean_all", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].mean_all()),
    case!("max", &[&[2, 3, 5]], &[], ANY, |x, _| spread(&x[0])?.max(1)),
    case!("softmax", &[&[3, 7]], &[], ANY, |x, _| x[0].softmax_last()),
    case!("log_softmax", &[&[2, 2, 7]], &[], ANY, |x, _| x[0].log_softmax_last()),
    case!("cross_entropy", &[&[4, 5]], &[], ANY, |x, _| x[0].cross_entropy(&[4, 0, 2, 2])),
    case!("reshape", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].reshape(&[5, 6])?.square()),
    case!("permute", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].permute(&[2, 0, 1])?.square()),
    case!("permute reshape", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].permute(&[1, 2, 0])?.reshape(&[15, 2])?.square()),
    case!("transpose", &[&[2, 3, 5]], &[], ANY, |x, _| x[0].transpose(0, 2)?.square()),
    case!("narrow", &[&[2, 7, 3]], &[], ANY, |x, _| x[0].narrow(1, 2, 3)?.square()),
    case!("chunks", &[&[2, 3, 6]], &[], ANY, |x, _| {
        let parts = x[0].chunk(3, 2)?;
        parts[0].mul(&parts[1])?.add(&parts[2].square()?)?.add(&parts[0])
    }),
    case!("overlapping narrows", &[&[2, 5]], &[], ANY, |x, _| x[0].narrow(1, 0, 3)?.mul(&x[0].narrow(1, 2, 3)?)),
    case!("narrow and whole", &[&[2, 5]], &[], ANY, |x, _| x[0].narrow(1, 1, 1)?.mul(&x[0])),
    case!("contiguous", &[&[3, 5]], &[], ANY, |x, _| x[0].transpose(0, 1)?.contiguous()?.square()),
    case!("squeeze", &[&[3, 1, 5]], &[], ANY, |x, _| x[0].squeeze(1)?.unsqueeze(0)?.square()),
    case!("expand", &[&[3, 1]], &[], ANY, |x, _| x[0].expand(&[2, 3, 4])?.square()),
    case!("concat", &[&[2, 3, 2], &[2, 1, 2], &[2, 2, 2]], &[], ANY, |x, _| Tensor::concat(&[&x[0], &x[1], &x[2]], 1)?
        .square()),
    case!("concat of one", &[&[2, 3]], &[], ANY, |x, _| Tensor::concat(&[&x[0], &x[0]], 1)?.square()),
    case!("cast", &[&[2, 3]], &[], ANY, |x, _| x[0].cast(DType::F32)?.square()),
    case!("flip", &[&[2, 3, 2]], &[], ANY, |x, _| x[0].flip(1)?.mul(&x[0])),
    case!("index_select", &[&[2, 4, 3]], &[], ANY, |x, _| x[0].index_select(1, &[3, 0, 3, 1, 1])?.square()),
    case!("embedding", &[], &[&[5, 3]], ANY, |_, p| Tensor::embedding(&p[0], &[4, 1, 1, 0], &[2, 2])?.square()),
    case!("param", &[&[2, 3]], &[&[3]], ANY, |x, p| x[0].mul(&p[0].tensor())?.add(&p[0].tensor().square()?)),
    case!("matmul", &[&[3, 5], &[5, 4]], &[], ANY, |x, _| x[0].matmul(&x[1])),
    case!("matmul batch", &[&[2, 3, 5], &[2, 5, 4]], &[], ANY, |x, _| x[0].matmul(&x[1])),
    case!("matmul one right", &[&[2, 3, 5], &[5, 4]], &[], ANY, |x, _| x[0].matmul(&x[1])),
    case!("matmul broadcast", &[&[2, 1, 3, 5], &[3, 5, 2]], &[], ANY, |x, _| x[0].matmul(&x[1])),
    case!("matmul transposed", &[&[2, 5, 3], &[2, 4, 5]], &[], ANY, |x, _| {
        x[0].transpose(1, 2)?.matmul(&x[1].transpose(1, 2)?)
    }),
    case!("linear", &[&[2, 3, 5]], &[&[4, 5], &[4]], ANY, |x, p| x[0].linear(&p[0], Some(&p[1]))),
    case!("linear without bias", &[&[3, 5]], &[&[4, 5]], ANY, |x, p| x[0].linear(&p[0], None)),
    case!("linear of a view", &[&[2, 3, 10]], &[&[4, 5]], ANY, |x, p| x[0].narrow(2, 5, 5)?.linear(&p[0], None)),
    case!("linear fused", &[&[3, 5], &[3, 4]], &[&[4, 5], &[4]], ANY, |x, p| {
        x[0].linear_with(&p[0], Some(&p[1]), LinearFusion { activation: Activation::Gelu, residual: Some(&x[1]) })
    }),
    case!("weight used twice", &[&[3, 5]], &[&[5, 5]], ANY, |x, p| x[0].linear(&p[0], None)?.linear(&p[0], None)),
    case!("conv 3x3", &[&[2, 5, 4, 3]], &[&[4, 3, 3, 3], &[4]], ANY, |x, p| {
        x[0].conv2d(&p[0], Some(&p[1]), Conv2dOptions::padded(1))
    }),
    case!("conv 1x1", &[&[2, 3, 4, 3]], &[&[4, 3, 1, 1]], ANY, |x, p| x[0].conv2d(
        &p[0],
        None,
        Conv2dOptions::default()
    )),
    case!("conv stride", &[&[1, 6, 5, 3]], &[&[4, 3, 3, 3], &[4]], ANY, |x, p| {
        let options = Conv2dOptions { padding: [0, 1, 0, 1], ..Conv2dOptions::default() };
        x[0].conv2d(&p[0], Some(&p[1]), options.stride(2))
    }),
    case!("conv groups", &[&[1, 4, 4, 4]], &[&[6, 2, 3, 3]], ANY, |x, p| {
        x[0].conv2d(&p[0], None, Conv2dOptions { groups: 2, dilation: [2, 1], ..Conv2dOptions::padded(1) })
    }),
    case!("conv fused", &[&[2, 3, 3, 3], &[2, 4], &[2, 3, 3, 4]], &[&[4, 3, 3, 3], &[4]], ANY, |x, p| {
        let fusion = ConvFusion { row_bias: Some(&x[1]), residual: Some(&x[2]), activation: Activation::Silu };
        x[0].conv2d_with(&p[0], Some(&p[1]), Conv2dOptions::padded(1), fusion)
    }),
    case!("conv residual", &[&[2, 3, 3, 3], &[2, 4], &[2, 3, 3, 4]], &[&[4, 3, 3, 3]], ANY, |x, p| {
        let fusion = ConvFusion { row_bias: Some(&x[1]), residual: Some(&x[2]), activation: Activation::None };
        x[0].conv2d_with(&p[0], None, Conv2dOptions::padded(1), fusion)
    }),
    case!("conv_transpose", &[&[1, 3, 4, 3]], &[&[3, 2, 4, 4], &[2]], ANY, |x, p| {
        x[0].conv_transpose2d(&p[0], Some(&p[1]), Conv2dOptions::padded(1).stride(2))
    }),
    case!("conv_transpose padded", &[&[2, 2, 3, 4]], &[&[4, 1, 3, 3]], ANY, |x, p| {
        let options = Conv2dOptions { output_padding: [1, 1], groups: 2, ..Conv2dOptions::padded(1).stride(2) };
        x[0].conv_transpose2d(&p[0], None, options)
    }),
    case!("group_norm", &[&[2, 3, 2, 6]], &[&[6], &[6]], ANY, |x, p| x[0].group_norm(
        3,
        &p[0],
        &p[1],
        1e-5,
        Activation::None
    )),
    case!("group_norm silu", &[&[2, 5, 6]], &[&[6], &[6]], ANY, |x, p| x[0].group_norm(
        2,
        &p[0],
        &p[1],
        1e-5,
        Activation::Silu
    )),
    case!("layer_norm", &[&[2, 3, 7]], &[&[7], &[7]], ANY, |x, p| x[0].layer_norm(&p[0], &p[1], 1e-5)),
    case!("attention", &[&[2, 3, 6], &[2, 5, 6], &[2, 5, 6]], &[], ANY, |x, _| {
        Tensor::attention(&x[0], &x[1], &x[2], 2, AttentionOptions::default())
    }),
    case!("attention fused qkv", &[&[2, 4, 18]], &[], ANY, |x, _| {
        let parts = x[0].chunk(3, 2)?;
        let options = AttentionOptions { causal: true, scale: Some(0.7), key_bias: None };
        Tensor::attention(&parts[0], &parts[1], &parts[2], 3, options)
    }),
    case!("attention masked", &[&[2, 3, 4], &[2, 4, 4], &[2, 4, 4]], &[], ANY, |x, _| {
        let bias =
            Tensor::from_vec(vec![0.0, -1.0, 0.5, f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY, 0.0], &[2, 4])?;
        let options = AttentionOptions { key_bias: Some(&bias), ..AttentionOptions::default() };
        Tensor::attention(&x[0], &x[1], &x[2], 1, options)
    }),
    case!("upsample_nearest", &[&[1, 3, 2, 3]], &[], ANY, |x, _| x[0].upsample_nearest(2)?.square()),
    case!("resize_nearest", &[&[1, 3, 4, 2]], &[], ANY, |x, _| x[0].resize_nearest(5, 3)?.square()),
    case!("resize_bilinear", &[&[2, 3, 4, 2]], &[], ANY, |x, _| x[0].resize_bilinear(7, 3)?.square()),
    case!("pixel_shuffle", &[&[1, 2, 3, 8]], &[], ANY, |x, _| x[0].pixel_shuffle(2)?.square()),
    case!("pixel_unshuffle", &[&[1, 4, 6, 2]], &[], ANY, |x, _| x[0].pixel_unshuffle(2)?.square()),
    case!("avg_pool", &[&[2, 5, 4, 2]], &[], ANY, |x, _| x[0].avg_pool2d([3, 2], [2, 2], [1, 1])?.square()),
    case!("max_pool", &[&[2, 5, 4, 2]], &[], ANY, |x, _| spread(&x[0])?.max_pool2d([3, 2], [2, 2], [1, 0])),
    case!("pad zero", &[&[1, 3, 4, 2]], &[], ANY, |x, _| x[0].pad2d([1, 0, 2, 1], PadMode::Constant(0.5))?.square()),
    case!("pad reflect", &[&[2, 3, 4, 1]], &[], ANY, |x, _| x[0].pad2d([2, 1, 0, 3], PadMode::Reflect)?.square()),
    case!("pad replicate", &[&[2, 3, 2, 1]], &[], ANY, |x, _| x[0].pad2d([2, 1, 0, 3], PadMode::Replicate)?.square()),
];

/// `1, -1, 1, …` along the last dimension of `x`: moves values to both sides of a kink, never near it.
fn signs(x: &Tensor) -> Result<Tensor> {
    let n = x.dim(x.rank() - 1);
    Tensor::from_vec((0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect(), &[n])?.cast(x.dtype())
}

/// `x` plus whole numbers in scrambled order, so that no two values come near each other.
fn spread(x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let order = Tensor::from_vec((0..n).map(|i| (i * 17 % n) as f32).collect(), x.shape())?.cast(x.dtype())?;
    x.mul_scalar(0.25)?.add(&order)
}

fn draw(shape: &[usize], range: (f32, f32), rng: &mut Rng) -> Tensor {
    Tensor::rand(shape, range.0, range.1, rng).unwrap()
}

/// `Σ weights · y`, summed in f64.
fn weighted(y: &Tensor, weights: &[f32]) -> f64 {
    y.to_vec().iter().zip(weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
}

/// Derivative of `f` at `at` along each element, by central differences of two widths joined after Richardson.
fn differences(at: &[f32], f: impl Fn(&[f32]) -> f64) -> Vec<f32> {
    let slope = |i: usize, step: f32| {
        let mut x = at.to_vec();
        x[i] = at[i] + step;
        let (up, high) = (x[i], f(&x));
        x[i] = at[i] - step;
        (high - f(&x)) / (f64::from(up) - f64::from(x[i]))
    };
    (0..at.len()).map(|i| ((4.0 * slope(i, 0.02) - slope(i, 0.04)) / 3.0) as f32).collect()
}

fn check(case: &Case, inputs: &[Tensor], params: &[Param], rng: &mut Rng) {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::with_grad).collect();
    let y = (case.op)(&leaves, params).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    assert!(y.requires_grad(), "{}: the result must be recorded", case.name);
    let weights = draw(y.shape(), ANY, rng);
    let mut gradients = Gradients::new();
    y.backward_from(&weights, &mut gradients).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let weights = weights.to_vec();
    let compare = |what: String, got: Vec<f32>, want: Vec<f32>| {
        let size = want.iter().fold(0.1f32, |m, v| m.max(v.abs()));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let error = (got - want).abs();
            assert!(error <= 1e-3 * size, "{}: gradient of {what} [{i}] is {got}, differences say {want}", case.name);
        }
    };
    for (i, leaf) in leaves.iter().enumerate() {
        let got = gradients.get(leaf).unwrap_or_else(|| panic!("{}: no gradient of input {i}", case.name)).to_vec();
        let want = differences(&inputs[i].to_vec(), |x| {
            let mut moved = inputs.to_vec();
            moved[i] = Tensor::from_slice(x, inputs[i].shape()).unwrap();
            weighted(&(case.op)(&moved, params).unwrap(), &weights)
        });
        compare(format!("input {i}"), got, want);
    }
    for (i, param) in params.iter().enumerate() {
        let got = gradients.slice(param).unwrap_or_else(|| panic!("{}: no gradient of param {i}", case.name)).to_vec();
        let values = param.value();
        let want = differences(&values.to_vec(), |x| {
            param.set(Tensor::from_slice(x, param.shape()).unwrap()).unwrap();
            weighted(&(case.op)(inputs, params).unwrap(), &weights)
        });
        param.set(values).unwrap();
        compare(format!("param {i}"), got, want);
    }
}

fn params_of(case: &Case, rng: &mut Rng) -> Vec<Param> {
    let params: Vec<Param> =
        case.params.iter().enumerate().map(|(i, s)| Param::new(format!("p{i}"), draw(s, case.range, rng))).collect();
    params.iter().for_each(|p| p.trainable(true));
    params
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    for (seed, case) in CASES.iter().enumerate() {
        let mut rng = Rng::new(seed as u64);
        let inputs: Vec<Tensor> = case.inputs.iter().map(|s| draw(s, case.range, &mut rng)).collect();
        let params = params_of(case, &mut rng);
        check(case, &inputs, &params, &mut rng);
    }
}

/// The same operations on views whose dimensions lie in reverse order in memory.
#[test]
fn gradients_do_not_depend_on_strides() {
    for (seed, case) in CASES.iter().enumerate().filter(|(_, c)| !c.inputs.is_empty()) {
        let mut rng = Rng::new(seed as u64);
        let inputs: Vec<Tensor> = case.inputs.iter().map(|s| draw(s, case.range, &mut rng)).collect();
        let params = params_of(case, &mut rng);
        let run = |strided: bool| {
            let leaves: Vec<Tensor> = inputs.iter().map(Tensor::with_grad).collect();
            let seen: Vec<Tensor> = leaves.iter().map(|t| if strided { turned(t) } else { t.clone() }).collect();
            let y = (case.op)(&seen, &params).unwrap();
            let mut gradients = Gradients::new();
            y.backward_from(&Tensor::ones(y.shape(), y.dtype()).unwrap(), &mut gradients).unwrap();
            let mut all = vec![y.to_vec()];
            all.extend(leaves.iter().map(|l| gradients.get(l).unwrap().to_vec()));
            all.extend(params.iter().map(|p| gradients.slice(p).unwrap().to_vec()));
            all
        };
        for (straight, strided) in run(false).iter().zip(&run(true)) {
            danqing_testing::assert_close(case.name, strided, straight, 1e-5);
        }
    }
}

/// The same values, stored with dimensions reversed.
fn turned(x: &Tensor) -> Tensor {
    let order: Vec<usize> = (0..x.rank()).rev().collect();
    x.permute(&order).unwrap().contiguous().unwrap().permute(&order).unwrap()
}

/// bf16 runs of every operation stay near f32 ones, values and gradients.
#[test]
fn bf16_follows_f32() {
    for (seed, case) in CASES.iter().enumerate() {
        let run = |dtype: DType| {
            let mut rng = Rng::new(seed as u64);
            // Both runs see numbers that bf16 holds exactly.
            let exact = |t: Tensor| t.cast(DType::Bf16).unwrap();
            let inputs: Vec<Tensor> = case.inputs.iter().map(|s| exact(draw(s, case.range, &mut rng))).collect();
            let params = params_of(case, &mut rng);
            params.iter().for_each(|p| p.set(exact(p.value())).unwrap());
            let leaves: Vec<Tensor> = inputs.iter().map(|t| t.cast(dtype).unwrap().with_grad()).collect();
            if case.name == "param" && dtype == DType::Bf16 {
                return None; // a parameter seen as a tensor has its own type
            }
            let y = (case.op)(&leaves, &params).unwrap();
            let weights = draw(y.shape(), ANY, &mut rng).cast(y.dtype()).unwrap();
            let mut gradients = Gradients::new();
            y.backward_from(&weights, &mut gradients).unwrap();
            let mut all = vec![y.to_vec()];
            all.extend(leaves.iter().map(|l| gradients.get(l).unwrap().to_vec()));
            all.extend(params.iter().map(|p| gradients.slice(p).unwrap().to_vec()));
            Some(all)
        };
        let (Some(wide), Some(narrow)) = (run(DType::F32), run(DType::Bf16)) else { continue };
        for (i, (want, got)) in wide.iter().zip(&narrow).enumerate() {
            danqing_testing::assert_relative_l2(&format!("{} {i}", case.name), got, want, 2e-2);
        }
    }
}
