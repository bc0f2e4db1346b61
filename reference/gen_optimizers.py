#!/usr/bin/env python3
"""Ten steps of AdamW, gradient clipping and a moving average, by PyTorch and diffusers.

  python reference/gen_optimizers.py

Writes fixtures/reference/nn/optimizers.safetensors: `start/<p>` values at the start, `grad/<step>/<p>` gradients, `weights/<step>/<p>`
values after each step, `ema/<step>/<p>` their average, `norm` the gradients' lengths before clipping to 1, `rate` the learning rates. Weight
decay 0.05 applies to `matrix` alone. Same versions give the same bytes.
"""

from pathlib import Path

import diffusers
import safetensors.torch
import torch
from diffusers.training_utils import EMAModel

OUT = Path(__file__).resolve().parent.parent / "fixtures/reference/nn/optimizers.safetensors"
STEPS = 10
torch.set_num_threads(1)


def main():
    generator = torch.Generator().manual_seed(0)
    params = {
        "matrix": torch.nn.Parameter(torch.randn(5, 7, generator=generator)),
        "vector": torch.nn.Parameter(torch.randn(9, generator=generator)),
    }
    groups = [{"params": [params["matrix"]], "weight_decay": 0.05}, {"params": [params["vector"]], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-8)
    warmup = 4
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 3e-2 * min(1.0, (step + 1) / warmup))
    ema = EMAModel(params.values(), decay=0.7)
    tensors = {f"start/{name}": p.detach().clone() for name, p in params.items()}
    norms, rates = [], []
    for step in range(STEPS):
        for name, p in params.items():
            p.grad = torch.randn(p.shape, generator=generator) * (0.05 if step % 2 else 2.0)
            tensors[f"grad/{step}/{name}"] = p.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), 1.0))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        ema.step(params.values())
        for i, (name, p) in enumerate(params.items()):
            tensors[f"weights/{step}/{name}"] = p.detach().clone()
            tensors[f"ema/{step}/{name}"] = ema.shadow_params[i].clone()
    tensors |= {"norm": torch.stack(norms), "rate": torch.tensor(rates)}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    notes = {"generator": "reference/gen_optimizers.py", "torch": torch.__version__, "diffusers": diffusers.__version__}
    safetensors.torch.save_file(tensors, OUT, notes)
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
