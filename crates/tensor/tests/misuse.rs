//! Shapes, types and arguments that do not fit are refused with a sentence; empty tensors are computed or refused. Nothing panics.

use std::panic::catch_unwind;

use danqing_tensor::{
    Activation, AttentionOptions, Conv2dOptions, ConvFusion, DType, LinearFusion, PadMode, Param, Result, Tensor,
};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32).unwrap()
}

fn param(shape: &[usize]) -> Param {
    Param::new("weight", zeros(shape))
}

#[test]
fn what_does_not_fit_is_said() {
    let (x, map) = (zeros(&[2, 3]), zeros(&[1, 4, 4, 3]));
    let narrow = zeros(&[2, 3]).cast(DType::Bf16).unwrap();
    let refused: Vec<(Result<Tensor>, &str)> = vec![
        (
            x.add(&zeros(&[2, 4])),
            "add: shapes [2, 3] and [2, 4] do not fit: each dimension must be equal or one, counted from the last",
        ),
        (x.add(&narrow), "add: element types f32 and bf16 differ; cast one of them first"),
        (x.reshape(&[5]), "reshape: shapes [2, 3] and [5] do not fit: the numbers of elements must be equal"),
        (x.permute(&[0, 0]), "permute: [0, 0] must name each of 2 dimensions once"),
        (x.narrow(1, 2, 2), "narrow: 2..2+2 is not inside dimension 1 of [2, 3]"),
        (
            x.narrow(1, usize::MAX, 2),
            "narrow: 18446744073709551615..18446744073709551615+2 is not inside dimension 1 of [2, 3]",
        ),
        (x.matmul(&x), "matmul: shapes [2, 3] and [2, 3] do not fit: […, m, k] and […, k, n] are needed"),
        (
            x.linear(&param(&[4, 5]), None),
            "linear: shapes [2, 3] and [4, 5] do not fit: the last dimension must be 5, the input width of `weight`",
        ),
        (
            x.linear(&param(&[4, 3]), Some(&param(&[3]))),
            "linear: shapes [3] and [4] do not fit: bias `weight` must have one value per output",
        ),
        (
            map.conv2d(&param(&[8, 3, 9, 9]), None, Conv2dOptions::padded(1)),
            "conv2d: shapes [1, 4, 4, 3] and [8, 3, 9, 9] do not fit: the padded input of 6x6 is smaller than the kernel's span of \
             9x9; add padding (weight `weight`)",
        ),
        (Tensor::embedding(&param(&[4, 2]), &[4], &[1]), "embedding: index 4 is not below 4"),
        (x.cross_entropy(&[0, 3]), "cross_entropy: target 3 is not below 3"),
        (
            map.pad2d([4, 0, 0, 0], PadMode::Reflect),
            "pad2d: reflected borders [4, 0, 0, 0] must be smaller than the map 4x4",
        ),
        (Tensor::from_vec(vec![0.0; 3], &[2, 2]), "from_slice: 3 values cannot fill shape [2, 2]"),
        (Tensor::zeros(&[1; 9], DType::F32), "zeros: shape [1, 1, 1, 1, 1, 1, 1, 1, 1] has more than 8 dimensions"),
        (Tensor::zeros(&[usize::MAX, 2], DType::F32), "zeros: shape [18446744073709551615, 2] has too many elements"),
    ];
    for (result, said) in refused {
        assert_eq!(result.err().map(|e| e.to_string()).as_deref(), Some(said));
    }
}

/// Every operation on tensors of every small shape, most of which it refuses.
#[test]
fn no_shape_makes_an_operation_panic() {
    let sizes: [&[usize]; 12] = [
        &[],
        &[0],
        &[1],
        &[4],
        &[0, 4],
        &[3, 0],
        &[2, 4],
        &[1, 0, 4],
        &[2, 3, 4],
        &[0, 2, 2, 4],
        &[1, 2, 2, 4],
        &[2, 4, 4, 0],
    ];
    type Op = fn(&Tensor, &Tensor, &Param, &Param) -> Result<Tensor>;
    let ops: &[(&str, Op)] = &[
        ("unary", |x, _, _, _| x.gelu()?.square()?.clamp(-1.0, 1.0)?.mul_scalar(2.0)),
        ("geglu", |x, _, _, _| x.geglu()),
        ("binary", |x, y, _, _| x.add(y)?.mul(y)?.div(y)?.maximum(y)?.sub(x)),
        ("sum", |x, _, _, _| x.sum(&[0], false)?.mean(&[0], true)?.sum_all()),
        ("mean_all", |x, _, _, _| x.mean_all()),
        ("max", |x, _, _, _| x.max(0)),
        ("softmax", |x, _, _, _| x.softmax_last()?.log_softmax_last()),
        ("views", |x, _, _, _| x.unsqueeze(0)?.transpose(0, 1)?.contiguous()?.flip(0)?.chunk(2, 1)?[0].squeeze(1)),
        ("reshape", |x, y, _, _| x.reshape(y.shape())?.expand(&[2, 4, 4, 4])),
        ("concat", |x, y, _, _| Tensor::concat(&[x, y, x], 0)),
        ("index", |x, _, _, _| x.index_select(1, &[0, 0])),
        ("matmul", |x, y, _, _| x.matmul(y)),
        ("matmul transposed", |x, y, _, _| x.matmul(&y.transpose(0, 1)?)),
        ("linear", |x, y, w, b| {
            x.linear_with(w, Some(b), LinearFusion { activation: Activation::Silu, residual: Some(y) })
        }),
        ("linear alone", |x, _, w, _| x.linear(w, None)),
        ("conv", |x, y, w, b| {
            let fusion = ConvFusion { row_bias: Some(y), ..ConvFusion::default() };
            x.conv2d_with(w, Some(b), Conv2dOptions::padded(1), fusion)
        }),
        ("conv alone", |x, _, w, _| x.conv2d(w, None, Conv2dOptions::padded(1).stride(2))),
        ("conv zero stride", |x, _, w, _| x.conv2d(w, None, Conv2dOptions::default().stride(0))),
        ("conv_transpose", |x, _, w, _| x.conv_transpose2d(w, None, Conv2dOptions::padded(1).stride(2))),
        ("conv_transpose cropped", |x, _, w, _| x.conv_transpose2d(w, None, Conv2dOptions::padded(9))),
        ("group_norm", |x, _, w, b| x.group_norm(2, w, b, 1e-5, Activation::Silu)),
        ("group_norm alone", |x, _, _, b| x.group_norm(2, b, b, 1e-5, Activation::None)),
        ("layer_norm", |x, _, _, b| x.layer_norm(b, b, 1e-5)),
        ("embedding", |_, _, w, _| Tensor::embedding(w, &[0, 1], &[2])),
        ("embedding none", |_, _, w, _| Tensor::embedding(w, &[], &[0])),
        ("cross_entropy", |x, _, _, _| x.cross_entropy(&[0, 1])),
        ("attention", |x, y, _, _| Tensor::attention(x, y, y, 2, AttentionOptions::default())),
        ("attention causal", |x, y, _, _| {
            Tensor::attention(x, y, y, 1, AttentionOptions { causal: true, ..AttentionOptions::default() })
        }),
        ("resize", |x, _, _, _| x.upsample_nearest(2)?.resize_bilinear(3, 3)?.resize_nearest(1, 5)),
        ("resize to nothing", |x, _, _, _| x.upsample_nearest(0)),
        ("shuffle", |x, _, _, _| x.pixel_shuffle(2)?.pixel_unshuffle(2)),
        ("pool", |x, _, _, _| x.avg_pool2d([2; 2], [1; 2], [1; 2])?.max_pool2d([2; 2], [2; 2], [0; 2])),
        ("pad", |x, _, _, _| x.pad2d([1, 0, 1, 0], PadMode::Reflect)?.pad2d([2; 4], PadMode::Replicate)),
    ];
    let weights =
        [vec![0, 4], vec![4, 4], vec![4, 4, 1, 1], vec![4, 4, 3, 3], vec![0, 4, 3, 3], vec![4, 0, 3, 3], vec![4]];
    for (name, op) in ops {
        for (a, b) in sizes.iter().flat_map(|a| sizes.iter().map(move |b| (*a, *b))) {
            for w in &weights {
                let run = || {
                    let (x, y) = (zeros(a).with_grad(), zeros(b).with_grad());
                    let (w, bias) = (param(w), param(&[4]));
                    w.trainable(true);
                    let Ok(out) = op(&x, &y, &w, &bias) else { return };
                    if let Ok(total) = out.sum_all() {
                        drop(total.backward());
                    }
                };
                assert!(catch_unwind(run).is_ok(), "{name} of {a:?}, {b:?} with weight {w:?}");
            }
        }
    }
}
