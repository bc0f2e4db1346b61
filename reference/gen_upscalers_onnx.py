#!/usr/bin/env python3
"""Small networks with random weights as PyTorch's exporter writes them to ONNX, and what onnxruntime makes of a picture with them.

    python reference/gen_upscalers_onnx.py

Writes fixtures/reference/upscalers/onnx/<case>.onnx, fixtures/reference/upscalers/onnx.safetensors with `<case>.in` and `<case>.out`
[batch, height, width, channels], and fixtures/corpus/onnx/*.onnx for mutations.
"""

import hashlib
import pathlib

import numpy
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.SPAN import SPAN
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).resolve()
FIXTURES = HERE.parent.parent / "fixtures"
torch.set_num_threads(1)


def randomise(module, seed, gain=0.7):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in list(module.named_parameters()) + list(module.named_buffers()):
            if p.dtype != torch.float32:
                continue
            if name.endswith("running_var"):
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            elif p.ndim <= 1:
                p.copy_((1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(torch.randn(p.shape, generator=g) * (gain / p[0].numel() ** 0.5))
    return module.eval()


class Espcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 8, 3, padding=1), nn.Tanh())
        self.last = nn.Conv2d(8, 9, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.last(self.body(x)), 3)


class Views(nn.Module):
    """Pixel shuffles and their reverse by hand, channels divided, sliced, joined; batch norm."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.last = nn.Conv2d(10, 48, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, c * 4, h // 2, w // 2)
        x = F.leaky_relu(self.norm(self.first(x)), 0.1)
        a, b_, d = torch.split(x, [4, 6, 6], 1)
        x = torch.cat([F.gelu(a), torch.sigmoid(b_) * d], 1)[:, :10]
        x = self.last(x)
        b, c, h, w = x.shape
        return x.view(b, 3, 4, 4, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, 3, h * 4, w * 4) + 0.5


class Resized(nn.Module):
    """Every way to another size, a U with pooling, borders, squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.slope, self.last = nn.PReLU(8), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        base = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        x = self.slope(self.first(F.pad(x, (1, 1, 1, 1), mode="reflect")))
        low = self.grouped(self.down(x)) + F.max_pool2d(x, 2) - F.avg_pool2d(x, 2)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(low.mean((2, 3))))))
        low = low * gate[:, :, None, None]
        x = x + F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        x = x + F.interpolate(low, size=x.shape[2:], mode="nearest")
        x = self.last(F.interpolate(x, scale_factor=2, mode="nearest"))
        return torch.clamp(1 - (base + x) / 2, 0, 1)


class Corners(nn.Module):
    """The ways that tell where in the picture they are."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate")

    def forward(self, x):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return self.last(F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True))


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.each = nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2)
        self.last = nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1)

    def forward(self, x):
        return self.last(F.hardswish(self.each(F.relu(self.first(x)))))


class Dense(nn.Module):
    """RRDBNet of one block, in ESRGAN's definition."""

    def __init__(self, c=8, g=4):
        super().__init__()
        self.first, self.trunk, self.high, self.last = (nn.Conv2d(*n, 3, padding=1) for n in [(3, c), (c, c), (c, c), (c, 3)])
        self.ups = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _ in range(2))
        dense = lambda: nn.ModuleList(nn.Conv2d(c + i * g, g if i < 4 else c, 3, padding=1) for i in range(5))
        self.blocks = nn.ModuleList(dense() for _ in range(3))

    def forward(self, x):
        leaky = lambda t: F.leaky_relu(t, 0.2)
        x = block = self.first(x)
        for dense in self.blocks:
            parts = [block]
            for conv in dense[:4]:
                parts.append(leaky(conv(torch.cat(parts, 1))))
            block = block + 0.2 * dense[4](torch.cat(parts, 1))
        x = x + self.trunk(x + 0.2 * block)
        for up in self.ups:
            x = leaky(up(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.last(leaky(self.high(x)))


CASES = {
    "srvgg": (lambda: Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=3, upscale=4), 3, 1, True),
    "span": (lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=7, upscale=2), 3, 2, True),
    "espcn": (Espcn, 1, 3, True),
    "rrdb": (Dense, 3, 4, True),
    "views": (Views, 3, 5, True),
    "resized": (Resized, 3, 6, True),
    "corners": (Corners, 3, 7, True),
    "transposed": (Transposed, 3, 8, False),
}


def main():
    (FIXTURES / "reference/upscalers/onnx").mkdir(parents=True, exist_ok=True)
    (FIXTURES / "corpus/onnx").mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (make, channels, seed, dynamic) in CASES.items():
        model = randomise(make(), seed)
        x = torch.rand(1, channels, 12, 16, generator=torch.Generator().manual_seed(seed))
        path = FIXTURES / f"reference/upscalers/onnx/{name}.onnx"
        axes = {key: {0: "b", 2: "h", 3: "w"} for key in ["in", "out"]} if dynamic else None
        torch.onnx.export(
            model, (x,), str(path), dynamo=False, opset_version=17, input_names=["in"], output_names=["out"], dynamic_axes=axes
        )
        file = onnx.load(path)
        file.graph.doc_string = ""
        for node in file.graph.node:
            node.doc_string = ""
        onnx.save(file, path)
        out = onnxruntime.InferenceSession(str(path)).run(None, {"in": x.numpy()})[0]
        tensors[f"{name}.in"] = numpy.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))
        tensors[f"{name}.out"] = numpy.ascontiguousarray(out.transpose(0, 2, 3, 1))
        ops = sorted({node.op_type for node in file.graph.node})
        print(name, path.stat().st_size, out.shape, f"{out.min():.3f} {out.max():.3f}", *ops, flush=True)
        if name == "transposed":
            (FIXTURES / "corpus/onnx/sound.onnx").write_bytes(path.read_bytes())
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    meta = {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }
    save_file(tensors, FIXTURES / "reference/upscalers/onnx.safetensors", metadata=meta)


if __name__ == "__main__":
    main()
