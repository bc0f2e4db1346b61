"""Golden values for danqing's noise: writes fixtures/reference/sampling/noise.safetensors.

torch.randn on the CPU by torch itself; the NVIDIA generator by numpy from its definition (Philox4x32-10, Box-Muller in
float64); A1111's spherical interpolation from its definition; the Brownian tree of SDE samplers by torchsde through k-diffusion.
Needs torch, torchsde, k-diffusion, numpy, safetensors.

    python reference/gen_noise.py
"""

import importlib.metadata
import json
import pathlib

import numpy as np
import torch
from k_diffusion import sampling
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures/reference/sampling/noise.safetensors"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def torch_draws():
    tensors = {}
    for name, dtype in TYPES.items():
        for seed in (0, 42, 2**32 + 7, 2**63 + 12345):
            for n in (1, 4, 15, 16, 17, 31, 100, 256):
                generator = torch.Generator().manual_seed(seed if seed < 2**63 else seed - 2**64)
                tensors[f"torch.{name}.{seed}.{n}"] = torch.randn(n, dtype=dtype, generator=generator)
        # Short draws keep the second of a pair for the next short draw, also across a long one.
        generator = torch.Generator().manual_seed(7)
        parts = [torch.randn(n, dtype=dtype, generator=generator) for n in (3, 20, 3, 16, 1, 5)]
        tensors[f"torch.{name}.sequence"] = torch.cat(parts)
    return {name: tensor.to(torch.float32).numpy() for name, tensor in tensors.items()}


def philox(counter, key):
    """counter [4, n], key [2, n], both uint32 in uint64."""
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        counter = np.stack([(b >> np.uint64(32)) ^ counter[1] ^ key[0], b & mask,
                            (a >> np.uint64(32)) ^ counter[3] ^ key[1], a & mask])
        key = np.stack([key[0] + np.uint64(0x9E3779B9), key[1] + np.uint64(0xBB67AE85)]) & mask
    return counter


def nv(seed, n, call):
    zero = np.zeros(n, dtype=np.uint64)
    counter = np.stack([zero + np.uint64(call), zero, np.arange(n, dtype=np.uint64), zero])
    key = np.stack([zero + np.uint64(seed & 0xFFFFFFFF), zero + np.uint64(seed >> 32)])
    g0, g1 = philox(counter, key)[:2].astype(np.float64)
    angle = np.float64(np.float32(2.3283064e-10 * 6.2831855))
    u, v = g0 * 2.0**-32 + 2.0**-33, g1 * angle + angle / 2
    return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


def slerp(strength, low, high):
    """A1111's: norms along dimension 1 of [channel, height, width]."""
    low_unit = low / np.linalg.norm(low, axis=1, keepdims=True)
    high_unit = high / np.linalg.norm(high, axis=1, keepdims=True)
    dot = (low_unit * high_unit).sum(1)
    omega = np.arccos(dot)[:, None]
    return (np.sin((1 - strength) * omega) * low + np.sin(strength * omega) * high) / np.sin(omega)


def variation():
    def draw(seed):
        return torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(seed)).numpy().astype(np.float64)

    pictures = [slerp(0.3, draw(5), draw(100 + i)) for i in range(2)]
    return np.stack(pictures).astype(np.float32)


def tree():
    """The Brownian tree of k-diffusion's SDE samplers: per picture as A1111 seeds it, and one for a batch as ComfyUI."""
    sigmas = sampling.get_sigmas_karras(12, 0.0291671582, 14.6146412293)
    middle = ((sigmas[3] * sigmas[4]) ** 0.5).item()
    steps = [*zip(sigmas[:-2].tolist(), sigmas[1:-1].tolist()), (sigmas[3].item(), middle)]
    out = {"tree.sigmas": sigmas.numpy(), "tree.steps": np.asarray(steps, dtype=np.float64)}
    x = torch.zeros(2, 4, 3, 5)
    for name, seed in (("a1111", [42, 43]), ("comfyui", 2**40 + 7)):
        sampler = sampling.BrownianTreeNoiseSampler(x, sigmas[-2], sigmas[0], seed=seed)
        draws = [sampler(torch.tensor(a), torch.tensor(b)) for a, b in steps]
        out[f"tree.{name}"] = torch.stack(draws).flatten(1).numpy()
    return out


def main():
    tensors = torch_draws()
    for seed in (0, 42, 2**32 + 7, 2**63 + 12345):
        for call in (0, 1):
            tensors[f"nv.{seed}.{call}"] = nv(seed, 64, call)
    tensors["variation"] = variation()
    tensors.update(tree())
    versions = {"torch": torch.__version__, "numpy": np.__version__, "torchsde": importlib.metadata.version("torchsde")}
    versions["k_diffusion"] = importlib.metadata.version("k-diffusion")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT, {"versions": json.dumps(versions)})
    print(OUT.stat().st_size)


main()
