//! Values and gradients of operations against PyTorch (`reference/gen_tensor_ops.py`).

use danqing_tensor::{
    Activation, AttentionOptions, Conv2dOptions, ConvFusion, DType, Gradients, PadMode, Param, Result, Tensor,
};
use danqing_testing::{Fixture, assert_close, assert_relative_l2};

type Op = fn(&[Tensor], &[Param]) -> Result<Tensor>;

fn same() -> Conv2dOptions {
    Conv2dOptions::padded(1)
}

const CASES: &[(&str, Op)] = &[
    ("silu", |x, _| x[0].silu()),
    ("gelu", |x, _| x[0].gelu()),
    ("gelu_tanh", |x, _| x[0].gelu_tanh()),
    ("quick_gelu", |x, _| x[0].quick_gelu()),
    ("sigmoid", |x, _| x[0].sigmoid()),
    ("tanh", |x, _| x[0].tanh()),
    ("leaky_relu", |x, _| x[0].leaky_relu(0.1)),
    ("geglu", |x, _| x[0].geglu()),
    ("softmax", |x, _| x[0].softmax_last()),
    ("log_softmax", |x, _| x[0].log_softmax_last()),
    ("cross_entropy", |x, _| x[0].cross_entropy(&[0, 6, 3, 3, 1])),
    ("mean", |x, _| x[0].mean(&[0, 2], false)),
    ("broadcast", |x, _| x[0].mul(&x[1])?.add(&x[0].div(&x[1].square()?.add_scalar(2.0)?)?)),
    ("matmul", |x, _| x[0].matmul(&x[1])),
    ("linear", |x, p| x[0].linear(&p[0], Some(&p[1]))),
    ("embedding", |_, p| Tensor::embedding(&p[0], &[3, 0, 3, 5, 5, 1], &[2, 3])),
    ("conv3", |x, p| x[0].conv2d(&p[0], Some(&p[1]), same())),
    ("conv3_wide", |x, p| x[0].conv2d(&p[0], Some(&p[1]), same())),
    ("conv1", |x, p| x[0].conv2d(&p[0], Some(&p[1]), Conv2dOptions::default())),
    ("conv3_stride", |x, p| x[0].conv2d(&p[0], Some(&p[1]), same().stride(2))),
    ("conv3_stride_asymmetric", |x, p| {
        x[0].conv2d(&p[0], Some(&p[1]), Conv2dOptions { padding: [0, 1, 0, 1], ..same().stride(2) })
    }),
    ("conv_groups", |x, p| {
        x[0].conv2d(&p[0], None, Conv2dOptions { groups: 2, dilation: [2; 2], ..Conv2dOptions::padded(2) })
    }),
    ("conv_depthwise", |x, p| x[0].conv2d(&p[0], Some(&p[1]), Conv2dOptions { groups: 6, ..same() })),
    ("conv7", |x, p| x[0].conv2d(&p[0], Some(&p[1]), Conv2dOptions::padded(3).stride(2))),
    ("conv_fused", |x, p| {
        let fusion = ConvFusion { row_bias: Some(&x[1]), residual: Some(&x[2]), activation: Activation::Silu };
        x[0].conv2d_with(&p[0], Some(&p[1]), same(), fusion)
    }),
    ("conv_transpose", |x, p| x[0].conv_transpose2d(&p[0], Some(&p[1]), same().stride(2))),
    ("conv_transpose_groups", |x, p| {
        let options = Conv2dOptions { output_padding: [1; 2], groups: 2, ..same().stride(2) };
        x[0].conv_transpose2d(&p[0], Some(&p[1]), options)
    }),
    ("group_norm", |x, p| x[0].group_norm(4, &p[0], &p[1], 1e-5, Activation::None)),
    ("group_norm_silu", |x, p| x[0].group_norm(2, &p[0], &p[1], 1e-6, Activation::Silu)),
    ("layer_norm", |x, p| x[0].layer_norm(&p[0], &p[1], 1e-5)),
    ("attention", |x, _| Tensor::attention(&x[0], &x[1], &x[2], 3, AttentionOptions::default())),
    ("attention_self", |x, _| {
        let x = x[0].chunk(3, 2)?;
        Tensor::attention(&x[0], &x[1], &x[2], 2, AttentionOptions::default())
    }),
    ("attention_causal", |x, _| {
        let x = x[0].chunk(3, 2)?;
        let options = AttentionOptions { causal: true, scale: Some(0.5), key_bias: None };
        Tensor::attention(&x[0], &x[1], &x[2], 1, options)
    }),
    ("attention_masked", |x, _| {
        let hidden = f32::NEG_INFINITY;
        let bias = Tensor::from_vec(vec![0.0, -1.0, 0.5, hidden, 0.25, 0.0, 0.0, hidden, 0.0, -2.0], &[2, 5])?;
        let options = AttentionOptions { key_bias: Some(&bias), ..AttentionOptions::default() };
        Tensor::attention(&x[0], &x[1], &x[2], 2, options)
    }),
    ("upsample_nearest", |x, _| x[0].upsample_nearest(2)),
    ("resize_bilinear_up", |x, _| x[0].resize_bilinear(7, 9)),
    ("resize_bilinear_down", |x, _| x[0].resize_bilinear(4, 5)),
    ("pixel_shuffle", |x, _| x[0].pixel_shuffle(2)),
    ("pixel_unshuffle", |x, _| x[0].pixel_unshuffle(2)),
    ("avg_pool", |x, _| x[0].avg_pool2d([3; 2], [2; 2], [1; 2])),
    ("max_pool", |x, _| x[0].max_pool2d([2; 2], [2; 2], [0; 2])),
    ("pad_reflect", |x, _| x[0].pad2d([3, 0, 1, 2], PadMode::Reflect)),
    ("pad_replicate", |x, _| x[0].pad2d([3, 0, 1, 2], PadMode::Replicate)),
    ("prelu", |x, p| x[0].prelu(&p[0])),
    ("prelu_shared", |x, p| x[0].prelu(&p[0])),
];

/// Result and gradients of every case, each with its name and what PyTorch says.
fn compare(dtype: DType, check: impl Fn(&str, &[f32], &[f32])) {
    let fixture = Fixture::open("reference/tensor/ops.safetensors");
    for (case, op) in CASES {
        let tensor = |key: &str| {
            let name = format!("{case}/{key}");
            Tensor::from_vec(fixture.f32(&name), &fixture.shape(&name)).unwrap()
        };
        let count = |kind: &str| (0..).take_while(|i| fixture.contains(&format!("{case}/{kind}{i}"))).count();
        let inputs: Vec<Tensor> =
            (0..count("x")).map(|i| tensor(&format!("x{i}")).cast(dtype).unwrap().with_grad()).collect();
        let params: Vec<Param> =
            (0..count("p")).map(|i| Param::new(format!("p{i}"), tensor(&format!("p{i}")))).collect();
        params.iter().for_each(|p| p.trainable(true));
        let y = op(&inputs, &params).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(y.shape(), tensor("y").shape(), "{case}");
        check(&format!("{case} y"), &y.to_vec(), &tensor("y").to_vec());
        let mut gradients = Gradients::new();
        y.backward_from(&tensor("w").cast(y.dtype()).unwrap(), &mut gradients).unwrap();
        for (i, x) in inputs.iter().enumerate() {
            let key = format!("dx{i}");
            check(&format!("{case} {key}"), &gradients.get(x).unwrap().to_vec(), &tensor(&key).to_vec());
        }
        for (i, param) in params.iter().enumerate() {
            let key = format!("dp{i}");
            check(&format!("{case} {key}"), gradients.slice(param).unwrap(), &tensor(&key).to_vec());
        }
    }
}

#[test]
fn every_fixture_has_a_case() {
    let fixture = Fixture::open("reference/tensor/ops.safetensors");
    for name in fixture.names() {
        let case = name.split('/').next().unwrap();
        assert!(CASES.iter().any(|(c, _)| *c == case), "no test uses {case}");
    }
}

#[test]
fn f32_values_and_gradients_are_pytorchs() {
    compare(DType::F32, |name, got, want| {
        // Relative to the size of the whole result: sums of numbers of both signs have elements near zero.
        let size = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert_close(name, got, want, 1e-5 * size.max(1.0));
    });
}

#[test]
fn bf16_values_and_gradients_are_near_pytorchs() {
    compare(DType::Bf16, |name, got, want| assert_relative_l2(name, got, want, 2e-2));
}
