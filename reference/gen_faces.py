#!/usr/bin/env python3
"""What face detectors make of a picture: RetinaFace as facexlib has it (its pyramid, contexts, heads, priors and decoding) on tiny
bodies with random weights, and the published RFB-320 through onnxruntime.

    python reference/gen_faces.py ASSETS

Writes fixtures/reference/faces/*.safetensors: `w.<name>` weights as a file holds them (rounded to float16), `in` picture
[1, height, width, 3] in 0..1, and of each prior `scores`, `boxes` (left, top, right, bottom in pixels) and `landmarks`. Of RFB-320 only
the answers are kept; its picture is `pattern`.
"""

import hashlib
import pathlib
import sys
import types

import facexlib
import numpy
import onnxruntime
import torch
from facexlib.detection import retinaface_net as net
from facexlib.detection import retinaface_utils as utils
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import Bottleneck

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "faces"
torch.set_num_threads(1)
onnxruntime.set_default_logger_severity(3)


def pattern(height, width):
    """A picture of whole numbers that any program can make."""
    y, x, c = numpy.ogrid[:height, :width, :3]
    return (((x * (3 + c) + y * (5 - c)) ^ (x * y // 16)) & 255).astype(numpy.uint8)


def randomise(module, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in list(module.named_parameters()) + list(module.named_buffers()):
            if p.dtype != torch.float32:
                continue
            if name.endswith("running_var"):
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            elif p.ndim <= 1:
                p.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(torch.randn(p.shape, generator=g) * (1.4 / p[0].numel() ** 0.5))
            p.copy_(p.half().float())
    return module.eval()


def down(c_in, planes, stride):
    return nn.Sequential(nn.Conv2d(c_in, planes * 4, 1, stride, bias=False), nn.BatchNorm2d(planes * 4))


class ResNet(nn.Module):
    """torchvision's ResNet with few and narrow blocks, for pictures less their means: their size is brought down first."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Bottleneck(4, 4, 1, down(4, 4, 1)), Bottleneck(16, 4))
        self.layer2 = nn.Sequential(Bottleneck(16, 6, 2, down(16, 6, 2)))
        self.layer3 = nn.Sequential(Bottleneck(24, 8, 2, down(24, 8, 2)))
        self.layer4 = nn.Sequential(Bottleneck(32, 10, 2, down(32, 10, 2)))

    widths = [24, 32, 40]

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        a = self.layer2(self.layer1(x))
        b = self.layer3(a)
        return [a, b, self.layer4(b)]


class MobileNet(nn.Module):
    """facexlib's MobileNetV1 with narrower blocks."""

    def __init__(self):
        super().__init__()
        bn, dw = net.conv_bn, net.conv_dw
        self.stage1 = nn.Sequential(bn(3, 4, 2, leaky=0.1), dw(4, 6, 1), dw(6, 8, 2), dw(8, 8, 1), dw(8, 16, 2), dw(16, 16, 1))
        self.stage2 = nn.Sequential(dw(16, 24, 2), *(dw(24, 24, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(dw(24, 32, 2), dw(32, 32, 1))

    widths = [16, 24, 32]

    def forward(self, x):
        a = self.stage1(x)
        b = self.stage2(a)
        return [a, b, self.stage3(b)]


class RetinaFace(nn.Module):
    def __init__(self, body, c):
        super().__init__()
        self.body = body
        self.fpn = net.FPN(body.widths, c)
        self.ssh1, self.ssh2, self.ssh3 = net.SSH(c, c), net.SSH(c, c), net.SSH(c, c)
        self.ClassHead = net.make_class_head(fpn_num=3, inchannels=c)
        self.BboxHead = net.make_bbox_head(fpn_num=3, inchannels=c)
        self.LandmarkHead = net.make_landmark_head(fpn_num=3, inchannels=c)

    def forward(self, x):
        maps = self.fpn(self.body(x))
        maps = [ssh(m) for ssh, m in zip([self.ssh1, self.ssh2, self.ssh3], maps)]
        joined = lambda heads: torch.cat([head(m) for head, m in zip(heads, maps)], 1)
        return joined(self.BboxHead), joined(self.ClassHead).softmax(-1), joined(self.LandmarkHead)


CONFIG = {"min_sizes": [[16, 32], [64, 128], [256, 512]], "steps": [8, 16, 32], "variance": [0.1, 0.2], "clip": False}


def retinaface(name, body, c, seed):
    model = randomise(RetinaFace(body, c), seed)
    with torch.no_grad():
        # Means are large beside random weights: a first and a last layer of small ones keep boxes within reach.
        next(model.body.parameters()).mul_(1 / 64)
        for head in model.BboxHead.parameters():
            head.mul_(1 / 16)
    height, width = 75, 100
    picture = torch.from_numpy(pattern(height, width)).float()
    bgr = picture.flip(2).permute(2, 0, 1)[None] - torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        boxes, classes, landmarks = model(bgr)
    priors = utils.PriorBox(CONFIG, image_size=(height, width)).forward()
    variance = CONFIG["variance"]
    boxes = utils.decode(boxes[0], priors, variance) * torch.tensor([width, height] * 2)
    landmarks = utils.decode_landm(landmarks[0], priors, variance) * torch.tensor([width, height] * 5)
    out = {"in": picture[None] / 255, "scores": classes[0, :, 1], "boxes": boxes, "landmarks": landmarks}
    state = {f"w.{k}": (v.half() if v.dtype == torch.float32 else v) for k, v in model.state_dict().items()}
    write(name, out | state)


def rfb(assets):
    session = onnxruntime.InferenceSession(str(assets / "weights/face/version-RFB-320.onnx"))
    x = (pattern(240, 320).astype(numpy.float32) - 127) / 128
    scores, boxes = session.run(["scores", "boxes"], {"input": x.transpose(2, 0, 1)[None]})
    sides = numpy.array([320, 240, 320, 240], numpy.float32)
    write("rfb", {"scores": torch.from_numpy(scores[0, :, 1].copy()), "boxes": torch.from_numpy(boxes[0] * sides)})


def write(name, tensors):
    for key, value in tensors.items():
        if not key.startswith("w."):
            print(name, key, tuple(value.shape), f"{value.min():.3f} {value.max():.3f}", flush=True)
    versions = {"torch": torch.__version__, "facexlib": facexlib.__version__, "onnxruntime": onnxruntime.__version__}
    meta = {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=meta)
    print(name, path.stat().st_size)


def main():
    retinaface("retinaface_resnet", ResNet(), 16, 1)
    retinaface("retinaface_mobilenet", MobileNet(), 16, 2)
    rfb(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
