#!/usr/bin/env python3
"""The linear preview of Stable Diffusion latents: a least-squares fit of each cell's mean colour (-1..1) on TAESD's latent of
photographs. Prints the table that crates/pipelines/src/preview.rs holds.

    python reference/gen_preview.py TAESD_ENCODER.safetensors PHOTO...
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

torch.set_num_threads(1)
weights = {k: v.float() for k, v in load_file(sys.argv[1]).items()}


def conv(x, name, stride=1):
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, 1)


def encode(x):
    for i in range(15):
        if f"{i}.weight" in weights:
            x = conv(x, i, 2 if f"{i}.bias" not in weights else 1)
        else:
            h = F.relu(conv(x, f"{i}.conv.0"))
            h = F.relu(conv(h, f"{i}.conv.2"))
            x = F.relu(conv(h, f"{i}.conv.4") + x)
    return x


rows, targets = [], []
with torch.no_grad():
    for path in sys.argv[2:]:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((512, 512))
        w, h = (s // 8 * 8 for s in picture.size)
        x = torch.from_numpy(np.asarray(picture.crop((0, 0, w, h)), np.float32) / 255).permute(2, 0, 1)[None]
        rows.append(encode(x)[0].flatten(1).T.numpy())
        targets.append((F.avg_pool2d(x, 8) * 2 - 1)[0].flatten(1).T.numpy())
a, b = np.concatenate(rows), np.concatenate(targets)
a = np.concatenate([a, np.ones((len(a), 1))], 1)
fit, *_ = np.linalg.lstsq(a, b, rcond=None)
print(f"torch {torch.__version__}, numpy {np.__version__}, {len(sys.argv) - 2} photographs, {len(a)} cells")
print(np.array2string(fit, precision=4, separator=", "))
print("explained", 1 - ((a @ fit - b) ** 2).sum() / ((b - b.mean(0)) ** 2).sum())
