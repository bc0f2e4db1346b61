"""Golden values for danqing's schedules, in float64: writes fixtures/reference/sampling/schedules_*.safetensors.

k-diffusion and diffusers compute in float32; here their code runs in float64 (the modules' torch and numpy are handed out
with float32 replaced), so that the comparison is about formulas. What neither library has is computed in numpy from its
paper or from its definition in ComfyUI. Needs torch, diffusers, k-diffusion, scipy, numpy, safetensors.

    python reference/gen_schedules.py
"""

import importlib
import json
import math
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double

import diffusers  # noqa: E402
import k_diffusion  # noqa: E402
import scipy  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures/reference/sampling"
STEPS = (1, 2, 4, 10, 20, 30, 50, 999)
SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


class Wide:
    """A module whose float32 is float64."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


def scheduler(cls, **config):
    module = importlib.import_module(cls.__module__)
    module.torch, module.np = Wide(torch), Wide(np)
    return cls(**SD, **config)


def training(betas):
    alphas = np.cumprod(1 - np.asarray(betas, dtype=np.float64))
    return np.sqrt((1 - alphas) / alphas)


def training_noise():
    """The sigmas of all timesteps, by diffusers' own functions."""
    from diffusers.schedulers import scheduling_ddpm as ddpm

    out = {}
    ddpm.torch = Wide(torch)
    for name in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        betas = ddpm.DDPMScheduler(beta_schedule=name, beta_start=0.00085, beta_end=0.012).betas
        out[f"training.{name}"] = training(betas.numpy())
    euler = scheduler(diffusers.EulerDiscreteScheduler, rescale_betas_zero_snr=True)
    out["training.zero_snr"] = torch.sqrt((1 - euler.alphas_cumprod) / euler.alphas_cumprod).numpy()
    return out


def from_k_diffusion():
    from k_diffusion import external, sampling

    alphas = torch.as_tensor(1 / (training_noise()["training.scaled_linear"] ** 2 + 1))
    discrete = external.DiscreteEpsDDPMDenoiser(None, alphas, False)
    low, high = discrete.sigma_min.item(), discrete.sigma_max.item()
    out = {}
    for n in STEPS:
        out[f"normal.{n}"] = discrete.get_sigmas(n)
        out[f"karras.{n}"] = sampling.get_sigmas_karras(n, low, high)
        out[f"karras_rho5.{n}"] = sampling.get_sigmas_karras(n, 0.1, 10.0, rho=5.0)
        out[f"exponential.{n}"] = sampling.get_sigmas_exponential(n, low, high)
        out[f"polyexponential.{n}"] = sampling.get_sigmas_polyexponential(n, low, high)
        out[f"polyexponential_rho2.{n}"] = sampling.get_sigmas_polyexponential(n, low, high, rho=2.0)
    out = {name: sigmas.to(torch.float64).numpy() for name, sigmas in out.items()}
    sigmas = torch.tensor([0.01, 0.0292, 0.03, 0.5, 1.0, 3.3, 14.0, 14.6146, 20.0])
    out["timestep.sigmas"] = sigmas.numpy()
    out["timestep.exact"] = discrete.sigma_to_t(sigmas, quantize=False).numpy()
    out["timestep.quantised"] = discrete.sigma_to_t(sigmas, quantize=True).to(torch.float64).numpy()
    return out


def from_diffusers():
    out = {}
    classes = {
        "euler": (diffusers.EulerDiscreteScheduler, {}),
        "ddim": (diffusers.DDIMScheduler, dict(set_alpha_to_one=True)),
        "multistep": (diffusers.DPMSolverMultistepScheduler, {}),
        "euler_minimum": (diffusers.EulerDiscreteScheduler, dict(final_sigmas_type="sigma_min")),
        "euler_zero_snr": (diffusers.EulerDiscreteScheduler, dict(rescale_betas_zero_snr=True)),
    }
    for name, (cls, config) in classes.items():
        for spacing in ("leading", "trailing", "linspace"):
            made = scheduler(cls, timestep_spacing=spacing, steps_offset=1, **config)
            for n in STEPS:
                made.set_timesteps(n)
                timesteps = made.timesteps.numpy().astype(np.float64)
                if hasattr(made, "sigmas"):
                    sigmas = made.sigmas.numpy()
                else:
                    alphas = made.alphas_cumprod.numpy()[made.timesteps.numpy()]
                    sigmas = np.append(np.sqrt((1 - alphas) / alphas), 0.0)
                out[f"{name}.{spacing}.{n}"] = sigmas.astype(np.float64)
                out[f"{name}.{spacing}.{n}.timesteps"] = timesteps
    for n in STEPS:
        # The Flux pipeline: its own sigmas, shifted by mu for 1024 tokens.
        module = importlib.import_module("diffusers.schedulers.scheduling_flow_match_euler_discrete")
        module.torch, module.np = Wide(torch), Wide(np)
        mu = 0.5 + (1.15 - 0.5) / (4096 - 256) * (1024 - 256)
        flux = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        flux.set_timesteps(sigmas=np.linspace(1.0, 1 / n, n), mu=mu)
        out[f"flow_1024_tokens.{n}"] = flux.sigmas.numpy().astype(np.float64)
        still = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        still.set_timesteps(sigmas=np.linspace(1.0, 1 / 1000, n))
        out[f"flow_normal_shift3.{n}"] = still.sigmas.numpy().astype(np.float64)
        lcm = scheduler(diffusers.LCMScheduler, original_inference_steps=50)
        if n <= 50:
            lcm.set_timesteps(n)
            out[f"lcm.{n}"] = lcm.timesteps.numpy().astype(np.float64)
    return out


def place(sigmas, t):
    """k-diffusion's interpolation of log sigma."""
    return np.exp(np.interp(t, np.arange(len(sigmas)), np.log(sigmas)))


def linear_quadratic(n, high, threshold=0.025):
    if n == 1:
        return [high, 0.0]
    half = n // 2
    rest = half - threshold * n
    quadratic = rest / (half * (n - half) ** 2)
    linear = threshold / half - 2 * rest / (n - half) ** 2
    done = [i * threshold / half for i in range(half)]
    done += [quadratic * i**2 + linear * i + quadratic * half**2 for i in range(half, n)]
    return [(1 - x) * high for x in done + [1.0]]


AYS = {
    "ays": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    "ays_sdxl": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
    "ays_svd": [700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
}


def from_definitions():
    sigmas = training_noise()["training.scaled_linear"]
    low, high, total = sigmas[0], sigmas[-1], len(sigmas)
    out = {}
    for n in STEPS:
        out[f"sgm_uniform.{n}"] = [*place(sigmas, np.linspace(total - 1, 0, n + 1)[:-1]), 0.0]
        out[f"simple.{n}"] = [*(sigmas[-(1 + int(i * (total / n)))] for i in range(n)), 0.0]
        out[f"ddim_uniform.{n}"] = [*sigmas[1 :: max(total // n, 1)][::-1], 0.0]
        t = np.rint(scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * (total - 1))
        distinct = [int(v) for i, v in enumerate(t) if i == 0 or v != t[i - 1]]
        out[f"beta.{n}"] = [*sigmas[distinct], 0.0]
        share = np.arange(n) / max(n - 1, 1)
        out[f"kl_optimal.{n}"] = [*np.tan(share * math.atan(low) + (1 - share) * math.atan(high)), 0.0]
        out[f"linear_quadratic.{n}"] = linear_quadratic(n, high)
        for name, table in AYS.items():
            places = np.linspace(0, 1, n + 1)[:-1]
            out[f"{name}.{n}"] = [*np.exp(np.interp(places, np.linspace(0, 1, 11), np.log(table))), 0.0]
    return {name: np.asarray(values, dtype=np.float64) for name, values in out.items()}


def main():
    versions = {module.__name__: module.__version__ for module in (torch, diffusers, np, scipy)}
    versions["k_diffusion"] = importlib.metadata.version("k-diffusion")
    header = {"versions": json.dumps(versions)}
    OUT.mkdir(parents=True, exist_ok=True)
    diffusers_values = from_diffusers()
    groups = {
        "training": training_noise(),
        "k_diffusion": from_k_diffusion(),
        "diffusers": {k: v for k, v in diffusers_values.items() if "999" not in k},
        "diffusers_999": {k: v for k, v in diffusers_values.items() if "999" in k and "minimum" not in k},
        "definitions": from_definitions(),
    }
    for name, tensors in groups.items():
        path = OUT / f"schedules_{name}.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, header)
        print(path.name, path.stat().st_size)


main()
