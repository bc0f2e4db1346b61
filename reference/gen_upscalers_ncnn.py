#!/usr/bin/env python3
"""What ncnn makes of its own networks: published ones (values only) and a tiny one of every layer that is read.

    python reference/gen_upscalers_ncnn.py ASSETS

Writes fixtures/reference/upscalers/ncnn.safetensors: `in` a picture [1, height, width, 3] in 0..1 and for each published file
the answer under its name, in f32 throughout; and tiny.param, tiny.bin, with `tiny/in` and `tiny/out`.
"""

import hashlib
import pathlib
import sys

import ncnn
import numpy
from safetensors.numpy import load_file, save_file

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "upscalers"

# file: pixels that its program mirrors around the picture
FILES = {
    "realesrgan/realesr-general-x4v3": 0,
    "waifu2x/models-cunet/scale2.0x_model": 18,
    "waifu2x/models-cunet/noise1_scale2.0x_model": 18,
    "waifu2x/models-upconv_7_photo/noise1_scale2.0x_model": 7,
    "realcugan/models-nose/up2x-no-denoise": 18,
    "realcugan/models-se/up2x-conservative": 18,
}

TINY = """7767517
27 36
Input          in    0 1 a
Split          s0    1 3 a a0 a1 a2
Padding        pad   1 1 a0 p 0=1 1=1 2=1 3=1 4=1
Convolution    c0    1 1 p b 0=6 1=3 5=1 6=162 9=2 -23310=1,1.0e-01
PReLU          pr    1 1 b c 0=6
ConvolutionDepthWise dw 1 1 c d 0=6 1=3 4=1 5=1 6=54 7=6
Split          s1    1 4 d d0 d1 d2 d3
Pooling        gap   1 1 d0 g 0=1 4=1
InnerProduct   fc0   1 1 g h 0=3 1=1 2=18 9=1
InnerProduct   fc1   1 1 h i 0=6 1=1 2=18 9=4
BinaryOp       mul   2 1 d1 i j 0=2
Convolution    down  1 1 j k 0=4 1=2 3=2 5=1 6=96 9=3 -23310=2,-1.0,1.5
Deconvolution  up    1 1 k l 0=6 1=4 3=2 4=2 5=1 6=384 9=1
Split          s2    1 2 l l0 l1
Crop           cut   2 1 d2 l0 m 0=1 1=1
Eltwise        sum   2 1 m l1 n 0=1
Crop           edge  1 1 d3 r -23309=2,1,1 -23310=2,-1,-1 -23311=2,1,-1
Concat         cat   2 1 n r o
Sigmoid        sig   1 1 o q
BinaryOp       plus  1 1 q t 0=0 1=1 2=0.25
Convolution    last  1 1 t u 0=12 1=3 4=1 5=1 6=1296
PixelShuffle   ps    1 1 u v 0=2
Interp         near  1 1 a1 w 0=1 1=2.0 2=2.0
Interp         lin   1 1 a2 x 0=2 1=2.0 2=2.0
BinaryOp       sub   2 1 w x y 0=1
Crop           trim  1 1 y z -23309=2,2,2 -23310=2,-2,-2 -23311=2,-2,-1
BinaryOp       add   2 1 v z out 0=0
"""


def run(network, picture):
    """`[h, w, 3]` → `[h', w', c]`."""
    extractor = network.create_extractor()
    # ncnn borrows the array, which must live as long as its Mat.
    planes = numpy.ascontiguousarray(picture.transpose(2, 0, 1))
    borrowed = ncnn.Mat(planes)
    extractor.input(network.input_names()[0], borrowed.clone())
    status, out = extractor.extract(network.output_names()[-1])
    assert status == 0
    return numpy.ascontiguousarray(numpy.array(out).transpose(1, 2, 0))


def load(param, binary):
    network = ncnn.Net()
    for option in ["use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"]:
        setattr(network.opt, option, False)
    network.opt.use_winograd_convolution = False
    network.opt.num_threads = 1
    assert network.load_param(str(param)) == 0 and network.load_model(str(binary)) == 0
    return network


def tiny_numbers(lines):
    """Random numbers for each layer that has some, in ncnn's order; the first convolution's in half precision."""
    g = numpy.random.RandomState(11)

    def draw(n, size):
        return (g.standard_normal(n) * size).astype(numpy.float16).astype(numpy.float32)

    parts = []
    for line in lines:
        kind, *_ = line.split()
        values = dict(word.split("=") for word in line.split() if "=" in word)
        size = int(values.get("2" if kind == "InnerProduct" else "6", 0))
        outputs = int(values.get("0", "0").split(".")[0])
        if kind in ("Convolution", "ConvolutionDepthWise", "Deconvolution", "InnerProduct"):
            weight = draw(size, 1.2 / (size / outputs) ** 0.5)
            half = kind == "Convolution"
            parts.append(numpy.uint32(0x01306B47 if half else 0).tobytes())
            data = weight.astype(numpy.float16 if half else numpy.float32).tobytes()
            parts += [data, b"\0" * (-len(data) % 4), draw(outputs, 0.3).tobytes()]
        elif kind == "PReLU":
            parts.append(draw(outputs, 0.4).tobytes())
    return b"".join(parts)


def main():
    assets = pathlib.Path(sys.argv[1])
    golden = load_file(assets / "golden/sr_kodak23_64to256.safetensors")
    picture = numpy.ascontiguousarray(golden["input"][:, 20:44, 24:52].transpose(1, 2, 0))
    tensors = {"in": picture[None]}
    for file, pad in FILES.items():
        network = load(assets / f"weights/sr/{file}.param", assets / f"weights/sr/{file}.bin")
        out = run(network, numpy.pad(picture, [(pad, pad), (pad, pad), (0, 0)], mode="reflect"))
        tensors[file.replace("/", ".")] = numpy.ascontiguousarray(out[8:48, 8:48])
        print(file, out.shape, f"{out.min():.3f} {out.max():.3f}", flush=True)
    (OUT / "tiny.param").write_text(TINY)
    (OUT / "tiny.bin").write_bytes(tiny_numbers(TINY.splitlines()[2:]))
    small = numpy.random.RandomState(12).random_sample((8, 10, 3)).astype(numpy.float32)
    tensors["tiny/in"] = small[None]
    tensors["tiny/out"] = run(load(OUT / "tiny.param", OUT / "tiny.bin"), numpy.pad(small, [(1, 1), (1, 1), (0, 0)], mode="reflect"))[None]
    print("tiny", tuple(tensors["tiny/out"].shape), tensors["tiny/out"].std())
    meta = {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"ncnn {ncnn.__version__}, numpy {numpy.__version__}",
    }
    save_file(tensors, OUT / "ncnn.safetensors", metadata=meta)
    print((OUT / "ncnn.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
