#!/usr/bin/env python3
"""What frozen TensorFlow upscalers make of a picture, computed by NumPy from the operations' definitions in float64: published
files (values only) and fixtures/corpus/graphdef/sound.pb.

    python reference/gen_upscalers_tensorflow.py ASSETS

OpenCV 4.10 and 5.0 of the package index cannot run these files (they lack, or misread, DepthToSpace). Writes
fixtures/reference/upscalers/tensorflow.safetensors: `in` luma [1, height, width, 1] in 0..1, for each published file the answer
under its name, and `tiny`.
"""

import hashlib
import pathlib
import sys

import numpy
from safetensors.numpy import load_file, save_file

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parent.parent
OUT = ROOT / "fixtures/reference/upscalers/tensorflow.safetensors"
FILES = ["fsrcnn/FSRCNN-small_x2", "fsrcnn/FSRCNN_x2", "fsrcnn/FSRCNN_x3", "fsrcnn/FSRCNN_x4", "lapsrn/LapSRN_x2"]


def fields(data):
    """(number, value) of a protocol buffer's fields."""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    at, out = 0, []
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            out.append((key >> 3, varint()))
        else:
            size = varint() if key & 7 == 2 else 4
            out.append((key >> 3, data[at : at + size]))
            at += size
    return out


def tensor(data):
    parts = dict(fields(data))
    shape = [dict(fields(dim)).get(1, 0) for number, dims in fields(data) if number == 2 for _, dim in fields(dims)]
    kind = {1: "<f4", 3: "<i4"}[parts[1]]
    values = numpy.frombuffer(parts.get(4, parts.get(5, b"")), kind)
    return numpy.full(shape, values[0]) if values.size == 1 else values.reshape(shape)


def same(x, weight):
    """Convolution of [h, w, c] with [kh, kw, c, o]; the larger half of the border at the bottom and right."""
    kh, kw = weight.shape[:2]
    h, w = x.shape[:2]
    x = numpy.pad(x, [((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2), (0, 0)])
    return sum(x[i : i + h, j : j + w] @ weight[i, j] for i in range(kh) for j in range(kw))


def depth_to_space(x, r):
    h, w, c = x.shape
    return x.reshape(h, w, r, r, c // r // r).transpose(0, 2, 1, 3, 4).reshape(h * r, w * r, c // r // r)


def run(file, luma):
    values = {}
    for number, node in fields(file.read_bytes()):
        if number != 1:
            continue
        parts = fields(node)
        name, op = (next(v for n, v in parts if n == key).decode() for key in (1, 2))
        x = [values[v.decode()] for n, v in parts if n == 3]
        attributes = {dict(fields(v))[1].decode(): dict(fields(dict(fields(v))[2])) for n, v in parts if n == 5}
        values[name] = {
            "Const": lambda: tensor(attributes["value"][8]).astype(numpy.float64),
            "Placeholder": lambda: luma.astype(numpy.float64)[:, :, None],
            "Conv2D": lambda: same(*x),
            "Add": lambda: x[0] + x[1],
            "BiasAdd": lambda: x[0] + x[1],
            "Sub": lambda: x[0] - x[1],
            "Mul": lambda: x[0] * x[1],
            "Abs": lambda: abs(x[0]),
            "Relu": lambda: numpy.maximum(x[0], 0),
            "DepthToSpace": lambda: depth_to_space(x[0], attributes["block_size"][3]),
            "Transpose": lambda: x[0],
        }[op]()
    return values[name].astype(numpy.float32)[None]


def main():
    assets = pathlib.Path(sys.argv[1])
    golden = load_file(assets / "golden/sr_kodak23_64to256.safetensors")
    weights = numpy.array([0.299, 0.587, 0.114], numpy.float32)[:, None, None]
    luma = numpy.ascontiguousarray((golden["input"][:, 20:44, 24:52] * weights).sum(0))
    tensors = {"in": luma[None, :, :, None]}
    for file in FILES:
        tensors[file.replace("/", ".")] = run(assets / f"weights/sr/{file}.pb", luma)
    tensors["tiny"] = run(ROOT / "fixtures/corpus/graphdef/sound.pb", luma)
    for name, value in tensors.items():
        print(name, value.shape, f"{value.min():.3f} {value.max():.3f}", flush=True)
    meta = {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"numpy {numpy.__version__}",
    }
    save_file({k: numpy.ascontiguousarray(v) for k, v in tensors.items()}, OUT, metadata=meta)
    print(OUT.stat().st_size)


if __name__ == "__main__":
    main()
