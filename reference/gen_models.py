#!/usr/bin/env python3
"""Golden values of the network blocks: tiny U-Nets, autoencoders and CLIP text encoders made by diffusers and
transformers with random weights (rounded to float16, so that the file is small and exact), their inputs and the
output of every block. Writes fixtures/reference/models/*.safetensors.

    python reference/gen_models.py
"""

import copy
import hashlib
import json
import pathlib

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "models"


def header(config):
    return {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"torch {torch.__version__}, diffusers {diffusers.__version__}, transformers {transformers.__version__}",
        "config": json.dumps(config),
    }


def randomise(module, seed):
    """Weights that exercise every path, norms and biases away from 1 and 0, small enough that values stay near 1: then an
    absolute bound on a block's output means the same for every block."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim == 1:
                base = 1.0 if ("norm" in name and name.endswith("weight")) else 0.0
                p.copy_(base + 0.2 * torch.randn(p.shape, generator=g))
            else:
                fan_in = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) * (0.6 / fan_in**0.5))
            p.copy_(p.half().float())
    return module.eval()


def hooks(module, names, into):
    found = dict(module.named_modules())
    for name in names:

        def hook(_m, _i, o, name=name):
            o = o[0] if isinstance(o, tuple) else o
            into["out." + name] = o.detach().float().contiguous().clone()

        found[name].register_forward_hook(hook)


def save(name, module, config, tensors):
    data = {"w." + k: v.half().contiguous() for k, v in module.state_dict().items() if v.dtype.is_floating_point}
    data |= {k: v.contiguous().clone() for k, v in tensors.items()}
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.safetensors"
    save_file(data, path, metadata=header(config))
    size = path.stat().st_size
    assert size < 256 * 1024, (name, size)
    spread = {k: round(v.std().item(), 2) for k, v in tensors.items() if k.startswith("out.")}
    print(f"{path.name}: {size} bytes", spread)


def unet(name, seed, height, width, **config):
    model = randomise(UNet2DConditionModel(**config), seed)
    g = torch.Generator().manual_seed(seed + 1)
    batch = 2
    t = {
        "in.sample": torch.randn(batch, config["in_channels"], height, width, generator=g),
        "in.timestep": torch.tensor([981.0, 12.5]),
        "in.context": torch.randn(batch, 7, config["cross_attention_dim"], generator=g),
    }
    added = None
    if config.get("addition_embed_type") == "text_time":
        n_ids = 6
        pooled = config["projection_class_embeddings_input_dim"] - n_ids * config["addition_time_embed_dim"]
        t["in.pooled"] = torch.randn(batch, pooled, generator=g)
        t["in.time_ids"] = torch.tensor([[64.0, 96.0, 0.0, 8.0, 64.0, 96.0]] * batch)
        added = {"text_embeds": t["in.pooled"], "time_ids": t["in.time_ids"]}
    names = ["conv_in", "time_embedding", "mid_block", "conv_out"]
    names += [f"down_blocks.{i}" for i in range(len(config["down_block_types"]))]
    names += [f"up_blocks.{i}" for i in range(len(config["up_block_types"]))]
    hooks(model, names, t)
    with torch.no_grad():
        t["out.sample"] = model(t["in.sample"], t["in.timestep"], t["in.context"], added_cond_kwargs=added).sample
        # How far PyTorch's own bfloat16 is away: what a bfloat16 path may be measured by.
        wide = {k: v.clone() for k, v in t.items()}
        half = copy.deepcopy(model).bfloat16()
        inputs = [t["in.sample"].bfloat16(), t["in.timestep"], t["in.context"].bfloat16()]
        narrow = half(*inputs, added_cond_kwargs=added and {k: v.bfloat16() for k, v in added.items()}).sample.float()
        t = wide
        t["bf16.relative_l2"] = ((narrow - t["out.sample"]).norm() / t["out.sample"].norm()).reshape(1)
        print(name, "bf16 relative l2", t["bf16.relative_l2"].item())
    save(name, model, dict(config), t)


def autoencoder(name, seed, **config):
    model = randomise(AutoencoderKL(**config), seed)
    g = torch.Generator().manual_seed(seed + 1)
    t = {"in.image": torch.rand(1, 3, 24, 32, generator=g) * 2 - 1}
    hooks(model, ["encoder.conv_in", "encoder.mid_block", "encoder", "decoder.conv_in", "decoder.mid_block"], t)
    with torch.no_grad():
        posterior = model.encode(t["in.image"]).latent_dist
        t["out.mean"], t["out.logvar"] = posterior.mean, posterior.logvar
        t["in.latent"] = torch.randn(posterior.mean.shape, generator=g)
        t["out.decoded"] = model.decode(t["in.latent"]).sample
    save(name, model, config, t)


def text(name, seed, projection, **config):
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(CLIPTextConfig(**config))
    model = randomise(model, seed)
    g = torch.Generator().manual_seed(seed + 1)
    n = config["max_position_embeddings"]
    eos = config["eos_token_id"] if config["eos_token_id"] != 2 else config["vocab_size"] - 1
    ids = torch.randint(3, config["vocab_size"] - 2, (3, n), generator=g)
    ids[:, 0] = config["vocab_size"] - 2
    for row, end in enumerate([4, 9, n - 1]):
        ids[row, end:] = eos
    with torch.no_grad():
        o = model(ids, output_hidden_states=True)
    t = {"in.ids": ids.int(), "out.last_hidden_state": o.last_hidden_state}
    t["out.pooled"] = o.text_embeds if projection else o.pooler_output
    for k, hidden in enumerate(o.hidden_states):
        t[f"out.hidden.{k}"] = hidden
    save(name, model, dict(config) | {"architectures": [type(model).__name__]}, t)


CROSS, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, UP = "CrossAttnUpBlock2D", "UpBlock2D"

torch.manual_seed(0)
torch.set_num_threads(1)
unet("unet_sd1", 10, 8, 12, sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16],
     down_block_types=[CROSS, DOWN], up_block_types=[UP, CROSS_UP], layers_per_block=1, cross_attention_dim=12,
     attention_head_dim=2, norm_num_groups=4)
unet("unet_sd2", 20, 9, 7, sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16],
     down_block_types=[CROSS, DOWN], up_block_types=[UP, CROSS_UP], layers_per_block=2, cross_attention_dim=12,
     attention_head_dim=[2, 4], norm_num_groups=4, use_linear_projection=True)
unet("unet_sdxl", 30, 8, 8, sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16],
     down_block_types=[DOWN, CROSS], up_block_types=[CROSS_UP, UP], layers_per_block=1, cross_attention_dim=12,
     attention_head_dim=[2, 4], norm_num_groups=4, use_linear_projection=True, transformer_layers_per_block=[1, 2],
     addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=34)
unet("unet_inpaint", 40, 8, 8, sample_size=8, in_channels=9, out_channels=4, block_out_channels=[8, 16],
     down_block_types=[CROSS, DOWN], up_block_types=[UP, CROSS_UP], layers_per_block=1, cross_attention_dim=12,
     attention_head_dim=2, norm_num_groups=4)
autoencoder("vae", 50, block_out_channels=[8, 16, 16], down_block_types=["DownEncoderBlock2D"] * 3,
            up_block_types=["UpDecoderBlock2D"] * 3, latent_channels=4, layers_per_block=1, norm_num_groups=4)
autoencoder("vae_no_quant", 60, block_out_channels=[8, 16], down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=6, layers_per_block=1, norm_num_groups=4,
            use_quant_conv=False, use_post_quant_conv=False)
text("clip_l", 70, False, vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
     num_attention_heads=2, max_position_embeddings=17, hidden_act="quick_gelu", bos_token_id=0, eos_token_id=2,
     pad_token_id=1)
text("clip_g", 80, True, vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
     num_attention_heads=4, max_position_embeddings=17, hidden_act="gelu", bos_token_id=58, eos_token_id=59,
     pad_token_id=0, projection_dim=12)
