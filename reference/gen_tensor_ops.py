#!/usr/bin/env python3
"""Values and gradients of tensor operations, computed by PyTorch in double precision.

  python reference/gen_tensor_ops.py

Writes fixtures/reference/tensor/ops.safetensors: for every case `<case>/x<i>` inputs, `<case>/p<i>` parameters, `<case>/y` the
result, `<case>/w` the gradient of a loss with respect to it, `<case>/dx<i>` and `<case>/dp<i>` the gradients. Inputs are numbers
that bfloat16 holds exactly. Feature maps are [batch, height, width, channels]. Same versions give the same bytes.
"""

from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parent.parent / "fixtures/reference/tensor/ops.safetensors"
torch.set_num_threads(1)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def map_op(f):
    """Lifts an operation on NCHW maps to NHWC ones."""
    return lambda x, p: nhwc(f(nchw(x[0]), *p))


def heads(x, count):
    b, n, d = x.shape
    return x.reshape(b, n, count, d // count).transpose(1, 2)


def joined(x):
    b, k, n, e = x.shape
    return x.transpose(1, 2).reshape(b, n, k * e)


def attention(q, k, v, count, **options):
    return joined(F.scaled_dot_product_attention(heads(q, count), heads(k, count), heads(v, count), **options))


KEY_BIAS = torch.tensor([[0.0, -1.0, 0.5, float("-inf"), 0.25], [0.0, 0.0, float("-inf"), 0.0, -2.0]], dtype=torch.float64)

# name: (shapes of inputs, shapes of parameters, function of both lists)
CASES = {
    "silu": ([[3, 37]], [], lambda x, p: F.silu(x[0])),
    "gelu": ([[3, 37]], [], lambda x, p: F.gelu(x[0])),
    "gelu_tanh": ([[3, 37]], [], lambda x, p: F.gelu(x[0], approximate="tanh")),
    "quick_gelu": ([[3, 37]], [], lambda x, p: x[0] * torch.sigmoid(1.702 * x[0])),
    "sigmoid": ([[3, 37]], [], lambda x, p: torch.sigmoid(x[0])),
    "tanh": ([[3, 37]], [], lambda x, p: torch.tanh(x[0])),
    "leaky_relu": ([[3, 37]], [], lambda x, p: F.leaky_relu(x[0], 0.1)),
    "geglu": ([[2, 3, 34]], [], lambda x, p: (lambda a, g: a * F.gelu(g))(*x[0].chunk(2, -1))),
    "softmax": ([[3, 21]], [], lambda x, p: F.softmax(x[0], -1)),
    "log_softmax": ([[3, 21]], [], lambda x, p: F.log_softmax(x[0], -1)),
    "cross_entropy": ([[5, 7]], [], lambda x, p: F.cross_entropy(x[0], torch.tensor([0, 6, 3, 3, 1]))),
    "mean": ([[3, 4, 5]], [], lambda x, p: x[0].mean((0, 2))),
    "broadcast": ([[2, 1, 5], [3, 1]], [], lambda x, p: x[0] * x[1] + x[0] / (2 + x[1] ** 2)),
    "matmul": ([[2, 1, 5, 7], [3, 7, 6]], [], lambda x, p: x[0] @ x[1]),
    "linear": ([[2, 5, 19]], [[23, 19], [23]], lambda x, p: F.linear(x[0], p[0], p[1])),
    "embedding": ([], [[6, 5]], lambda x, p: F.embedding(torch.tensor([[3, 0, 3], [5, 5, 1]]), p[0])),
    "conv3": ([[2, 7, 5, 6]], [[10, 6, 3, 3], [10]], map_op(lambda x, w, b: F.conv2d(x, w, b, padding=1))),
    "conv3_wide": ([[1, 6, 6, 33]], [[18, 33, 3, 3], [18]], map_op(lambda x, w, b: F.conv2d(x, w, b, padding=1))),
    "conv1": ([[2, 4, 5, 9]], [[7, 9, 1, 1], [7]], map_op(lambda x, w, b: F.conv2d(x, w, b))),
    "conv3_stride": ([[2, 8, 6, 5]], [[8, 5, 3, 3], [8]], map_op(lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1))),
    "conv3_stride_asymmetric": (
        [[1, 6, 8, 4]],
        [[6, 4, 3, 3], [6]],
        map_op(lambda x, w, b: F.conv2d(F.pad(x, (0, 1, 0, 1)), w, b, stride=2)),
    ),
    "conv_groups": ([[1, 5, 6, 8]], [[12, 4, 3, 3]], map_op(lambda x, w: F.conv2d(x, w, groups=2, padding=2, dilation=2))),
    "conv_depthwise": ([[2, 5, 4, 6]], [[6, 1, 3, 3], [6]], map_op(lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=6))),
    "conv7": ([[1, 9, 8, 3]], [[5, 3, 7, 7], [5]], map_op(lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=3))),
    "conv_fused": (
        [[2, 4, 5, 6], [2, 8], [2, 4, 5, 8]],
        [[8, 6, 3, 3], [8]],
        lambda x, p: nhwc(F.silu(F.conv2d(nchw(x[0]), p[0], p[1], padding=1) + x[1][:, :, None, None])) + x[2],
    ),
    "conv_transpose": (
        [[2, 3, 4, 6]],
        [[6, 5, 4, 4], [5]],
        map_op(lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1)),
    ),
    "conv_transpose_groups": (
        [[1, 3, 3, 4]],
        [[4, 3, 3, 3], [6]],
        map_op(lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2)),
    ),
    "group_norm": ([[2, 5, 3, 12]], [[12], [12]], map_op(lambda x, g, b: F.group_norm(x, 4, g, b, 1e-5))),
    "group_norm_silu": ([[2, 4, 4, 8]], [[8], [8]], map_op(lambda x, g, b: F.silu(F.group_norm(x, 2, g, b, 1e-6)))),
    "layer_norm": ([[2, 3, 19]], [[19], [19]], lambda x, p: F.layer_norm(x[0], [19], p[0], p[1], 1e-5)),
    "attention": ([[2, 7, 12], [2, 5, 12], [2, 5, 12]], [], lambda x, p: attention(*x, 3)),
    "attention_self": ([[1, 19, 48]], [], lambda x, p: attention(*x[0].chunk(3, -1), 2)),
    "attention_causal": ([[2, 9, 30]], [], lambda x, p: attention(*x[0].chunk(3, -1), 1, is_causal=True, scale=0.5)),
    "attention_masked": (
        [[2, 4, 8], [2, 5, 8], [2, 5, 8]],
        [],
        lambda x, p: attention(*x, 2, attn_mask=KEY_BIAS[:, None, None, :]),
    ),
    "upsample_nearest": ([[2, 3, 4, 5]], [], map_op(lambda x: F.interpolate(x, scale_factor=2, mode="nearest"))),
    "resize_bilinear_up": ([[1, 4, 3, 5]], [], map_op(lambda x: F.interpolate(x, size=(7, 9), mode="bilinear"))),
    "resize_bilinear_down": ([[1, 9, 8, 3]], [], map_op(lambda x: F.interpolate(x, size=(4, 5), mode="bilinear"))),
    "pixel_shuffle": ([[1, 3, 2, 12]], [], map_op(lambda x: F.pixel_shuffle(x, 2))),
    "pixel_unshuffle": ([[1, 6, 4, 3]], [], map_op(lambda x: F.pixel_unshuffle(x, 2))),
    "avg_pool": ([[2, 6, 5, 3]], [], map_op(lambda x: F.avg_pool2d(x, 3, 2, 1))),
    "max_pool": ([[2, 6, 5, 3]], [], map_op(lambda x: F.max_pool2d(x, 2, 2))),
    "pad_reflect": ([[1, 4, 3, 2]], [], map_op(lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"))),
    "pad_replicate": ([[1, 4, 3, 2]], [], map_op(lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"))),
    "prelu": ([[2, 3, 4, 5]], [[5]], map_op(lambda x, s: F.prelu(x, s))),
    "prelu_shared": ([[2, 3, 4, 5]], [[1]], map_op(lambda x, s: F.prelu(x, s))),
}


def exact(shape, generator):
    return torch.randn(shape, generator=generator).bfloat16().double()


def main():
    tensors = {}
    for seed, (name, (inputs, params, function)) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(seed)
        x = [exact(shape, generator).requires_grad_() for shape in inputs]
        p = [exact(shape, generator).requires_grad_() for shape in params]
        y = function(x, p)
        w = exact(y.shape, generator)
        grads = torch.autograd.grad(y, x + p, w)
        parts = {f"x{i}": t for i, t in enumerate(x)} | {f"p{i}": t for i, t in enumerate(p)} | {"y": y, "w": w}
        parts |= {f"dx{i}": t for i, t in enumerate(grads[: len(x)])} | {f"dp{i}": t for i, t in enumerate(grads[len(x) :])}
        tensors |= {f"{name}/{key}": t.detach().float().contiguous() for key, t in parts.items()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, OUT, {"generator": "reference/gen_tensor_ops.py", "torch": torch.__version__})
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
