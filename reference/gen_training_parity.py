#!/usr/bin/env python3
"""Training runs by PyTorch that ours must follow: initial weights, batches and the loss of each of 200 steps.

  python reference/gen_training_parity.py                    the small stack, committed
  python reference/gen_training_parity.py --unet FOLDER      diffusers' mini U-Net, outside the repository (18 MB)

Small stack: fixtures/reference/nn/training_parity.safetensors holds `init/<name>` the weights, `images` and `targets` a pool of
samples [32, 8, 8, 4] and `losses`. Batch `i` is made of the samples `(7 i + 5 j) mod 32`, j = 0..7. AdamW (betas 0.9, 0.999,
weight decay 0.01 on weights of two or more dimensions), learning rate 2e-3 after 10 steps of warm-up, gradients clipped to 1.

Mini U-Net: FOLDER/unet.safetensors holds the initial weights under diffusers' names; FOLDER/batches.safetensors `latents`
[64, 16, 16, 4], `noise` [64, 16, 16, 4], `context` [64, 24, 192], `timesteps` [200, 16] and `losses` [200]. Batch `i` is made of latents and
context `(7 i + 5 j) mod 64` with noise `(11 i + 3 j) mod 64`, j = 0..15; the noised latent is `sqrt(a) x + sqrt(1 - a) n` with `a` the
cumulative product of the scaled-linear betas 0.00085..0.012; the loss is the mean squared error of the predicted noise. AdamW as
above, learning rate 5e-4 after 20 steps of warm-up, gradients clipped to 1. Maps are [batch, height, width, channels].
Same versions give the same bytes.
"""

import argparse
from pathlib import Path

import diffusers
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

OUT = Path(__file__).resolve().parent.parent / "fixtures/reference/nn/training_parity.safetensors"
STEPS = 200
NOTES = {"generator": "reference/gen_training_parity.py", "torch": torch.__version__, "diffusers": diffusers.__version__}


class Stack(nn.Module):
    """Convolution, norm, attention, gated feed-forward, stride, upsampling and skip, each once."""

    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(4, 16, 3, padding=1)
        self.norm1 = nn.GroupNorm(4, 16)
        self.conv1 = nn.Conv2d(16, 16, 3, padding=1)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96, bias=False)
        self.proj = nn.Linear(32, 32)
        self.norm3 = nn.LayerNorm(32)
        self.gate = nn.Linear(32, 128)
        self.out = nn.Linear(64, 32)
        self.conv2 = nn.Conv2d(48, 16, 3, padding=1)
        self.norm4 = nn.GroupNorm(4, 16)
        self.conv_out = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x):
        skip = self.conv_in(x)
        skip = skip + self.conv1(F.silu(self.norm1(skip)))
        h = self.down(skip)
        b, c, height, width = h.shape
        h = h.flatten(2).transpose(1, 2)
        q, k, v = (t.reshape(b, -1, 2, 16).transpose(1, 2) for t in self.qkv(self.norm2(h)).chunk(3, -1))
        h = h + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, -1, 32))
        value, gate = self.gate(self.norm3(h)).chunk(2, -1)
        h = h + self.out(value * F.gelu(gate))
        h = h.transpose(1, 2).reshape(b, c, height, width)
        h = torch.cat([F.interpolate(h, scale_factor=2), skip], 1)
        return self.conv_out(F.silu(self.norm4(self.conv2(h))))


def train(model, loss_of, rate, warmup):
    """Runs the steps; returns the losses."""
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=rate)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warmup)
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 0:
            print(step, losses[-1], flush=True)
    return torch.tensor(losses)


def nchw(x):
    return x.permute(0, 3, 1, 2).contiguous()


def small():
    torch.manual_seed(0)
    model = Stack()
    init = {f"init/{name}": p.detach().clone() for name, p in model.named_parameters()}
    images = torch.randn(32, 8, 8, 4)
    # Something to learn: a blurred, mixed and bent picture.
    mixed = F.avg_pool2d(nchw(images), 3, 1, 1) @ torch.randn(8, 8) * 0.5
    targets = torch.tanh(mixed).permute(0, 2, 3, 1).contiguous()

    def loss_of(step):
        index = [(7 * step + 5 * j) % 32 for j in range(8)]
        return F.mse_loss(model(nchw(images[index])), nchw(targets[index]))

    losses = train(model, loss_of, 2e-3, 10)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(init | {"images": images, "targets": targets, "losses": losses}, OUT, NOTES)
    print(OUT, OUT.stat().st_size, losses[-1].item())


def unet(folder):
    torch.manual_seed(0)
    model = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=192,
        norm_num_groups=16,
        attention_head_dim=4,
    )
    init = {name: p.detach().clone() for name, p in model.named_parameters()}
    latents, noise, context = torch.randn(64, 16, 16, 4), torch.randn(64, 16, 16, 4), torch.randn(64, 24, 192)
    # Latents with something to learn in them: smooth, and tied to their context.
    smooth = F.avg_pool2d(nchw(latents), 5, 1, 2) * 4 + context[:, 0, :4, None, None]
    latents = smooth.permute(0, 2, 3, 1).contiguous()
    timesteps = torch.randint(0, 1000, (STEPS, 16))
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)

    def loss_of(step):
        x = nchw(latents[[(7 * step + 5 * j) % 64 for j in range(16)]])
        c = context[[(7 * step + 5 * j) % 64 for j in range(16)]]
        n = nchw(noise[[(11 * step + 3 * j) % 64 for j in range(16)]])
        a = alphas[timesteps[step]][:, None, None, None]
        return F.mse_loss(model(a.sqrt() * x + (1 - a).sqrt() * n, timesteps[step], c).sample, n)

    losses = train(model, loss_of, 5e-4, 20)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(init, folder / "unet.safetensors", NOTES)
    model.save_config(folder)
    batches = {"latents": latents, "noise": noise, "context": context, "timesteps": timesteps, "losses": losses}
    safetensors.torch.save_file(batches, folder / "batches.safetensors", NOTES)
    print(folder, losses[-1].item())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--unet", type=Path, metavar="FOLDER")
    folder = arguments.parse_args().unet
    torch.set_num_threads(1)
    if folder:
        unet(folder)
    else:
        small()


if __name__ == "__main__":
    main()
