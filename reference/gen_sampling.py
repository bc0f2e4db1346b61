"""Golden trajectories for danqing's samplers: writes fixtures/reference/sampling/trajectories_*.safetensors.

The network is a fixed function, x0 = tanh(0.7 x) / (1 + sigma); each sampler makes 20 steps on 4x8x8 in float64, and all
states are kept. Randomness is a recorded list of draws, injected into the libraries here and into danqing in its test.
k-diffusion and diffusers where they have the sampler, else its definition in numpy. diffusers' states are brought to
x0 + sigma * noise by the factor sqrt(1 + sigma^2). Needs torch, diffusers, k-diffusion, numpy, safetensors.

    python reference/gen_sampling.py
"""

import importlib
import importlib.metadata
import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_default_dtype(torch.float64)

import diffusers  # noqa: E402
from k_diffusion import sampling as k  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures/reference/sampling"
N, SHAPE = 20, (1, 4, 8, 8)
rng = np.random.default_rng(20260101)
START = torch.tensor(rng.standard_normal(SHAPE).astype(np.float32).astype(np.float64))
DRAWS = torch.tensor(rng.standard_normal((2 * N, *SHAPE)).astype(np.float32).astype(np.float64))
SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
KARRAS = k.get_sigmas_karras(N, 0.0291671582, 14.6146412293)
LONG = k.get_sigmas_karras(40, 0.0291671582, 14.6146412293)


def toy(x, sigma, **_):
    sigma = sigma.reshape(-1, 1, 1, 1) if torch.is_tensor(sigma) and sigma.ndim else sigma
    return torch.tanh(0.7 * x) / (1 + sigma)


def toy_unconditional(x, sigma):
    return 0.8 * torch.tanh(0.4 * x) / (1 + sigma)


class Recorded:
    """Hands out the recorded draws one after the other."""

    def __init__(self):
        self.next = 0

    def __call__(self, *_, **__):
        self.next += 1
        return DRAWS[self.next - 1]


class Wide:
    """A module whose float32 is float64."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


groups = {}


def keep(group, name, sigmas, states):
    tensors = groups.setdefault(group, {})
    tensors[f"{name}.states"] = torch.stack(list(states)).reshape(len(states), -1).numpy().astype(np.float32)
    tensors[f"{name}.sigmas"] = np.asarray(sigmas, dtype=np.float64)


def by_k_diffusion(group, name, function, sigmas=KARRAS, start=None, noisy=False, **options):
    states = []
    if noisy:
        options["noise_sampler"] = Recorded()
    x = sigmas[0] * START if start is None else start
    last = function(toy, x, sigmas, callback=lambda info: states.append(info["x"]), disable=True, **options)
    keep(group, name, sigmas, [*states, last])


def k_diffusion():
    by_k_diffusion("k_diffusion", "euler", k.sample_euler)
    by_k_diffusion("k_diffusion", "heun", k.sample_heun)
    by_k_diffusion("k_diffusion", "dpm_2", k.sample_dpm_2)
    by_k_diffusion("k_diffusion", "lms", k.sample_lms)
    by_k_diffusion("k_diffusion", "lms_order2", k.sample_lms, order=2)
    by_k_diffusion("k_diffusion", "dpmpp_2m", k.sample_dpmpp_2m)
    noisy = "k_diffusion_noisy"
    by_k_diffusion(noisy, "euler_ancestral", k.sample_euler_ancestral, noisy=True)
    by_k_diffusion(noisy, "euler_ancestral_eta", k.sample_euler_ancestral, noisy=True, eta=0.6, s_noise=1.1)
    by_k_diffusion(noisy, "dpm_2_ancestral", k.sample_dpm_2_ancestral, noisy=True)
    by_k_diffusion(noisy, "dpmpp_2s_ancestral", k.sample_dpmpp_2s_ancestral, noisy=True)
    by_k_diffusion(noisy, "dpmpp_sde", k.sample_dpmpp_sde, noisy=True)
    by_k_diffusion(noisy, "dpmpp_2m_sde", k.sample_dpmpp_2m_sde, noisy=True)
    by_k_diffusion(noisy, "dpmpp_2m_sde_eta", k.sample_dpmpp_2m_sde, noisy=True, eta=0.5, s_noise=0.9)
    by_k_diffusion(noisy, "dpmpp_2m_sde_heun", k.sample_dpmpp_2m_sde, noisy=True, solver_type="heun")
    by_k_diffusion(noisy, "dpmpp_3m_sde", k.sample_dpmpp_3m_sde, noisy=True)
    # Churn changes the state before it is reported, so only the last one is compared.
    for name, function in (("euler", k.sample_euler), ("heun", k.sample_heun), ("dpm_2", k.sample_dpm_2)):
        source = Recorded()
        k.torch = type("Torch", (Wide,), {"randn_like": staticmethod(source)})(torch)
        churn = dict(s_churn=4.0, s_tmin=0.05, s_tmax=10.0, s_noise=1.003)
        last = function(toy, KARRAS[0] * START, KARRAS, disable=True, **churn)
        keep(noisy, f"{name}_churn", KARRAS, [last])
        k.torch = torch
    # On a flow x0 + sigma (noise - x0) the slope (x - x0) / sigma is the same formula.
    flow = torch.cat([3 * torch.linspace(1, 0.05, N) / (1 + 2 * torch.linspace(1, 0.05, N)), torch.zeros(1)])
    for name, function in (("euler", k.sample_euler), ("heun", k.sample_heun), ("dpm_2", k.sample_dpm_2), ("lms", k.sample_lms)):
        by_k_diffusion("flow", name, function, sigmas=flow, start=START)


def by_diffusers(group, name, cls, steps=N, call=None, flow=False, last=None, **config):
    module = importlib.import_module(cls.__module__)
    source = Recorded()
    module.torch, module.np, module.randn_tensor = Wide(torch), Wide(np), source
    made = cls(**config) if "Match" in cls.__name__ else cls(**SD, **config)
    if "Match" in cls.__name__:
        made.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
    else:
        made.set_timesteps(steps)
    timesteps = made.timesteps
    if getattr(made, "sigmas", None) is not None and len(made.sigmas) == len(timesteps) + 1:
        sigmas = made.sigmas.to(torch.float64)
    else:
        alphas = made.alphas_cumprod[timesteps]
        end = 0.0 if last is None else torch.sqrt((1 - made.alphas_cumprod[last]) / made.alphas_cumprod[last])
        sigmas = torch.cat([torch.sqrt((1 - alphas) / alphas), torch.tensor([end])])
    scales = torch.ones_like(sigmas) if flow else torch.sqrt(1 + sigmas**2)
    kind = made.config.get("prediction_type", "flow_prediction")
    x = START if flow else START * sigmas[0] / scales[0]
    states = [x * scales[0]]
    for i, t in enumerate(timesteps):
        sigma, state = sigmas[i], x * scales[i]
        x0 = toy(state, sigma)
        output = {
            "sample": lambda: x0,
            "epsilon": lambda: (state - x0) / sigma,
            "v_prediction": lambda: (state / scales[i] ** 2 - x0) * scales[i] / sigma,
            "flow_prediction": lambda: (state - x0) / sigma,
        }[kind]()
        x = made.step(output, t, x, **(call(source) if call else {})).prev_sample
        states.append(x * scales[i + 1])
    keep(group, name, sigmas, states)


def diffusers_():
    d = diffusers
    plain = dict(clip_sample=False)
    by_diffusers("diffusers", "ddim", d.DDIMScheduler, steps_offset=1, prediction_type="v_prediction", **plain)
    by_diffusers("diffusers", "ddim_minimum", d.DDIMScheduler, last=0, set_alpha_to_one=False, steps_offset=1, **plain)
    by_diffusers("diffusers", "ddim_trailing", d.DDIMScheduler, timestep_spacing="trailing", **plain)
    # bh1 divides infinity by infinity on its way to sigma 0.
    bh1 = dict(solver_type="bh1", final_sigmas_type="sigma_min")
    by_diffusers("diffusers", "uni_pc", d.UniPCMultistepScheduler, **bh1)
    by_diffusers("diffusers", "uni_pc_bh2", d.UniPCMultistepScheduler, solver_type="bh2")
    by_diffusers("diffusers", "uni_pc_order3", d.UniPCMultistepScheduler, solver_order=3, **bh1)
    by_diffusers("diffusers", "uni_pc_bh2_order3", d.UniPCMultistepScheduler, solver_type="bh2", solver_order=3)
    by_diffusers("diffusers", "deis", d.DEISMultistepScheduler)
    by_diffusers("diffusers", "deis_order3", d.DEISMultistepScheduler, solver_order=3)
    more = "diffusers_more"
    by_diffusers(more, "deis_short", d.DEISMultistepScheduler, steps=6, solver_order=3)
    by_diffusers(more, "dpmpp_2m", d.DPMSolverMultistepScheduler, use_karras_sigmas=True)
    by_diffusers(more, "dpmpp_2m_sde", d.DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++")
    by_diffusers(more, "ddim_eta", d.DDIMScheduler, steps_offset=1, call=lambda source: dict(eta=0.7), **plain)
    by_diffusers(more, "ddpm", d.DDPMScheduler, steps_offset=1, timestep_spacing="leading", **plain)
    by_diffusers(more, "lcm", d.LCMScheduler, steps=8, timestep_scaling=1e5, **plain)
    by_diffusers(more, "tcd", d.TCDScheduler, steps=8, last=0, call=lambda source: dict(eta=0.3))
    by_diffusers(more, "tcd_half", d.TCDScheduler, steps=8, last=0, call=lambda source: dict(eta=0.5))
    flow = dict(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    by_diffusers("flow", "euler_match", d.FlowMatchEulerDiscreteScheduler, flow=True, shift=3.0)
    by_diffusers("flow", "uni_pc_bh2", d.UniPCMultistepScheduler, flow=True, **flow)
    by_diffusers("flow", "dpmpp_2m", d.DPMSolverMultistepScheduler, flow=True, **flow)
    by_diffusers("flow", "dpmpp_2m_sde", d.DPMSolverMultistepScheduler, flow=True, algorithm_type="sde-dpmsolver++", **flow)


def predictions():
    """Clean pictures and scaled inputs by k-diffusion's and diffusers' conversions, and rescaled guidance."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    state, output = 3 * START, DRAWS[0]
    tensors = groups.setdefault("predictions", {})
    for kind in ("epsilon", "v_prediction", "sample"):
        module = importlib.import_module(diffusers.DDIMScheduler.__module__)
        module.torch, module.np = Wide(torch), Wide(np)
        made = diffusers.DDIMScheduler(**SD, prediction_type=kind, clip_sample=False)
        made.set_timesteps(20)
        for t in (1, 500, 999):
            alpha = made.alphas_cumprod.double()[t]
            scaled = state * alpha.sqrt()
            tensors[f"{kind}.{t}.denoised"] = made.step(output, t, scaled).pred_original_sample
            tensors[f"{kind}.{t}.input"] = scaled
            tensors[f"{kind}.{t}.sigma"] = ((1 - alpha) / alpha).sqrt().reshape(1)
    conditional, plain = DRAWS[1:3], DRAWS[3:5]
    conditional, plain = conditional.reshape(2, 4, 8, 8), plain.reshape(2, 4, 8, 8)
    guided = plain + 7.5 * (conditional - plain)
    tensors["guidance.conditional"], tensors["guidance.unconditional"] = conditional, plain
    tensors["guidance.cfg"] = guided
    tensors["guidance.cfg_rescale"] = rescale_noise_cfg(guided, conditional, guidance_rescale=0.7)
    tensors["state"], tensors["output"] = state, output
    for name, tensor in tensors.items():
        tensors[name] = tensor.flatten().numpy()


def pndm(name):
    """Stable Diffusion's PLMS evaluates at the second timestep twice: the first time from a state that is thrown away."""
    module = importlib.import_module(diffusers.PNDMScheduler.__module__)
    module.torch, module.np = Wide(torch), Wide(np)
    made = diffusers.PNDMScheduler(**SD, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    made.set_timesteps(N)
    timesteps = made.timesteps
    alphas = made.alphas_cumprod.double()
    noise = torch.sqrt((1 - alphas) / alphas)
    scales = torch.sqrt(1 + noise**2)
    x, states = START, [START * scales[timesteps[0]]]
    for i, t in enumerate(timesteps):
        sigma, state = noise[t], x * scales[t]
        x0 = toy(state, sigma)
        x = made.step((state - x0) / sigma, t, x).prev_sample
        if i != 0:
            states.append(x * scales[timesteps[i + 1] if i + 1 < len(timesteps) else 0])
    sigmas = torch.cat([noise[timesteps[:1]], noise[timesteps[2:]], noise[:1]])
    keep("diffusers_more", name, sigmas, states)


def cfg_pp():
    """ComfyUI's CFG++ samplers."""
    for name, ancestral in (("euler_cfg_pp", False), ("euler_ancestral_cfg_pp", True)):
        x, source = KARRAS[0] * START, Recorded()
        states = [x]
        for sigma, to in zip(KARRAS[:-1], KARRAS[1:]):
            down, up = k.get_ancestral_step(sigma, to) if ancestral else (to, 0.0)
            x = toy(x, sigma) + k.to_d(x, sigma, toy_unconditional(x, sigma)) * down
            if up > 0:
                x = x + source() * up
            states.append(x)
        keep("definitions", name, KARRAS, states)
    x, old = KARRAS[0] * START, None
    states = [x]
    for i in range(N):
        sigma, to = KARRAS[i], KARRAS[i + 1]
        guided, plain = toy(x, sigma), toy_unconditional(x, sigma)
        mix = -(to / sigma) * plain
        if old is not None and to > 0:
            h, h_last = torch.log(sigma / to), torch.log(KARRAS[i - 1] / sigma)
            mix = mix - torch.expm1(-h) / (2 * h_last / h) * (guided - old)
        x, old = guided + mix + (to / sigma) * x, plain
        states.append(x)
    keep("definitions", "dpmpp_2m_cfg_pp", KARRAS, states)


def restart(name, sigmas):
    """A1111's Restart with its default lists."""
    steps = len(sigmas) - 1
    each, times = (9, 1) if steps < 36 else (steps // 4, 2)
    main = k.get_sigmas_karras(steps - each * times, sigmas[-2].item(), sigmas[0].item())
    low, high = (int(torch.argmin(abs(main - s))) for s in (0.1, 2.0))
    pairs = []
    for i in range(len(main) - 1):
        pairs.append((main[i], main[i + 1]))
        if i + 1 == low:
            again = k.get_sigmas_karras(each + 1, main[low].item(), main[high].item())[:-1]
            for _ in range(times):
                pairs.extend(zip(again[:-1], again[1:]))
    x, source, before = sigmas[0] * START, Recorded(), None
    states = []
    for sigma, to in pairs:
        if before is not None and before < sigma:
            states.append(x)
            x = x + source() * (sigma**2 - before**2) ** 0.5
        states.append(x)
        d = k.to_d(x, sigma, toy(x, sigma))
        end = x + d * (to - sigma)
        x = end if to == 0 else x + (d + k.to_d(end, to, toy(end, to))) / 2 * (to - sigma)
        before = to
    keep("definitions", name, sigmas, [*states, x])


def flow_definitions():
    """ComfyUI's ancestral samplers on a flow, from below sigma 1, where its half steps are ordinary."""
    s = torch.linspace(0.98, 0.05, N)
    sigmas = torch.cat([3 * s / (1 + 2 * s), torch.zeros(1)])

    def split(sigma, to, eta=1.0):
        down = to * (1 + (to / sigma - 1) * eta)
        factor = (1 - to) / (1 - down)
        return down, factor, (to**2 - (down * factor) ** 2) ** 0.5

    def go(x, x0, sigma, to):
        return to / sigma * x + (1 - to / sigma) * x0

    def half(sigma, to):
        odds = torch.sqrt((1 - sigma) / sigma * (1 - to) / to)
        return 1 / (1 + odds)

    def euler(x, sigma, down):
        return go(x, toy(x, sigma), sigma, down)

    def dpm_2(x, sigma, down):
        middle = torch.sqrt(sigma * down)
        x_2 = go(x, toy(x, sigma), sigma, middle)
        return x + (x_2 - toy(x_2, middle)) / middle * (down - sigma)

    def dpmpp_2s(x, sigma, down):
        middle = half(sigma, down)
        return go(x, toy(go(x, toy(x, sigma), sigma, middle), middle), sigma, down)

    for name, method in (("euler_ancestral", euler), ("dpm_2_ancestral", dpm_2), ("dpmpp_2s_ancestral", dpmpp_2s)):
        x, source = START, Recorded()
        states = [x]
        for sigma, to in zip(sigmas[:-1], sigmas[1:]):
            if to == 0:
                x = toy(x, sigma)
            else:
                down, factor, up = split(sigma, to)
                x = factor * method(x, sigma, down) + up * source()
            states.append(x)
        keep("flow_definitions", name, sigmas, states)

    # DPM++ SDE and 3M SDE over y = x / (1 - sigma), whose noise is rho = sigma / (1 - sigma): there k-diffusion applies.
    for name, function in (("dpmpp_sde", k.sample_dpmpp_sde), ("dpmpp_3m_sde", k.sample_dpmpp_3m_sde)):
        rho = sigmas / (1 - sigmas)
        states = []

        def model(y, r, **_):
            r = r.reshape(-1, 1, 1, 1)
            return toy(y / (1 + r), r / (1 + r))

        last = function(model, START * (1 + rho[0]), rho, disable=True, noise_sampler=Recorded(),
                        callback=lambda info: states.append(info["x"] / (1 + info["sigma"])))
        keep("flow_definitions", name, sigmas, [*states, last])


def main():
    k_diffusion()
    diffusers_()
    pndm("pndm")
    predictions()
    cfg_pp()
    restart("restart", LONG)
    restart("restart_short", KARRAS)
    flow_definitions()
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "numpy": np.__version__}
    versions["k_diffusion"] = importlib.metadata.version("k-diffusion")
    header = {"versions": json.dumps(versions)}
    groups["recorded"] = {"start": START, "draws": DRAWS.reshape(2 * N, -1)}
    groups["recorded"] = {name: t.numpy().astype(np.float32) for name, t in groups["recorded"].items()}
    OUT.mkdir(parents=True, exist_ok=True)
    for name, tensors in groups.items():
        path = OUT / ("predictions.safetensors" if name == "predictions" else f"trajectories_{name}.safetensors")
        save_file({key: np.ascontiguousarray(v) for key, v in tensors.items()}, path, header)
        print(path.name, path.stat().st_size, {key: float(v[-1].std()) for key, v in tensors.items() if "states" in key})


main()
