#!/usr/bin/env python3
"""Bicubic resampling and picture quality as super-resolution measures them, by basicsr (its port of MATLAB's imresize, its PSNR and SSIM).

  python reference/gen_resampling.py        (pip: basicsr without its dependencies, torch, numpy, opencv-python-headless)

Writes fixtures/reference/imaging/resampling.safetensors: `picture` [24, 30, 3] in 0..1, `down2`, `down3`, `down4`, `up2`, `up4` its resampled
forms; `a`, `b` [40, 44, 3] as 0..255, and `quality`: PSNR and SSIM on luma with a border of 4, then PSNR of all colours without a border.
"""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

OUT = Path(__file__).resolve().parent.parent / "fixtures/reference/imaging/resampling.safetensors"
torch.set_num_threads(1)

# basicsr's package start imports its whole training framework; only these files are wanted.
root = Path(importlib.util.find_spec("basicsr").submodule_search_locations[0])


def part(name, path):
    spec = importlib.util.spec_from_file_location(name, root / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for name in ["basicsr", "basicsr.utils", "basicsr.metrics"]:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
registry = part("basicsr.utils.registry", "utils/registry.py")
matlab = part("basicsr.utils.matlab_functions", "utils/matlab_functions.py")
colour = part("basicsr.utils.color_util", "utils/color_util.py") if (root / "utils/color_util.py").exists() else matlab
sys.modules["basicsr.utils"].bgr2ycbcr = colour.bgr2ycbcr
part("basicsr.metrics.metric_util", "metrics/metric_util.py")
metrics = part("basicsr.metrics.psnr_ssim", "metrics/psnr_ssim.py")


def main():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:30]
    smooth = np.stack([np.sin(x / 4 + c) * np.cos(y / (3 + c)) * 0.3 + 0.5 for c in range(3)], -1)
    picture = np.clip(smooth + rng.normal(0, 0.1, smooth.shape), 0, 1).astype(np.float32)
    tensors = {"picture": picture}
    for name, scale in [("down2", 1 / 2), ("down3", 1 / 3), ("down4", 1 / 4), ("up2", 2), ("up4", 4)]:
        tensors[name] = np.ascontiguousarray(matlab.imresize(picture, scale), dtype=np.float32)
    y, x = np.mgrid[0:40, 0:44]
    a = np.clip(127 + 90 * np.stack([np.sin((x + y * c) / 5) for c in range(3)], -1), 0, 255).round()
    b = np.clip(a + rng.normal(0, 9, a.shape), 0, 255).round()
    bgr = lambda v: v[..., ::-1].astype(np.uint8)
    quality = [
        metrics.calculate_psnr(bgr(a), bgr(b), crop_border=4, test_y_channel=True),
        metrics.calculate_ssim(bgr(a), bgr(b), crop_border=4, test_y_channel=True),
        metrics.calculate_psnr(bgr(a), bgr(b), crop_border=0, test_y_channel=False),
    ]
    tensors |= {"a": a.astype(np.float32), "b": b.astype(np.float32), "quality": np.array(quality, np.float32)}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    notes = {"generator": "reference/gen_resampling.py", "basicsr": "1.4.2", "numpy": np.__version__, "torch": torch.__version__}
    safetensors.numpy.save_file(tensors, OUT, notes)
    print(OUT, quality)


main()
