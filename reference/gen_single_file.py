#!/usr/bin/env python3
"""Which tensors of a single-file checkpoint (LDM layout) hold which tensors of a diffusers folder, for tiny networks with
the widths by which the families SD1 and SDXL are told apart. The names are written here from the layouts of the CompVis
and Stability checkpoints, then diffusers' own converters must give back every tensor, value by value. Writes
fixtures/reference/pipelines/single-file/{sd1,sdxl}.json: configurations, shapes, and for each stored tensor its sources.

    python reference/gen_single_file.py
"""

import hashlib
import json
import pathlib
import re

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "pipelines" / "single-file"
TOKENS, LENGTH = 521, 16  # of the tiny tokenizer in fixtures/reference/pipelines/tiny

UNET_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
               "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET_ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
             "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
             "add_embedding.linear_2": "label_emb.0.2"}


def unet_name(name, layers, levels):
    """`layers` residual blocks on each of `levels` levels, with attention wherever the folder has it."""
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours):]
    resnet = lambda rest: re.sub(r"^(\w+)", lambda m: UNET_RESNET[m[1]], rest)
    if m := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        return f"middle_block.1.{m[3]}" if m[1] == "attentions" else f"middle_block.{2 * int(m[2])}.{resnet(m[3])}"
    half, level, kind, index, rest = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name).groups()
    level, index = int(level), int(index)
    if half == "down":
        block = 1 + level * (layers + 1) + (layers if kind == "downsamplers" else index)
        where = f"input_blocks.{block}"
        return {"resnets": lambda: f"{where}.0.{resnet(rest)}", "attentions": lambda: f"{where}.1.{rest}",
                "downsamplers": lambda: f"{where}.0.op{rest[len('conv'):]}"}[kind]()
    block = level * (layers + 1) + (layers if kind == "upsamplers" else index)
    where = f"output_blocks.{block}"
    after = "2" if f"up_blocks.{level}.attentions" in ATTENTION else "1"
    return {"resnets": lambda: f"{where}.0.{resnet(rest)}", "attentions": lambda: f"{where}.1.{rest}",
            "upsamplers": lambda: f"{where}.{after}.{rest}"}[kind]()


ATTENTION = set()


def vae_name(name, levels):
    """The name, and whether the linear layer is stored as a 1×1 convolution."""
    for ours, theirs in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        if m := re.match(rf"(encoder|decoder)\.mid_block\.attentions\.0\.{re.escape(ours)}\.(\w+)$", name):
            return f"{m[1]}.mid.attn_1.{theirs}.{m[2]}", ours != "group_norm" and m[2] == "weight"
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    return name, False


CLIP_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
              "self_attn.out_proj": "attn.out_proj"}


def stored(names, family, config):
    """`{stored name: (operation, [source tensors])}` of a whole file."""
    out = {}
    for name in names["unet"]:
        out["model.diffusion_model." + unet_name(name, config["unet"]["layers_per_block"], 2)] = ("copy", [f"unet/{name}"])
    for name in names["vae"]:
        theirs, point = vae_name(name, 2)
        out["first_stage_model." + theirs] = ("point" if point else "copy", [f"vae/{name}"])
    prefix = "cond_stage_model.transformer." if family == "sd1" else "conditioner.embedders.0.transformer."
    for name in names["text_encoder"]:
        out[prefix + name] = ("copy", [f"text_encoder/{name}"])
    prefix = "conditioner.embedders.1.model."
    for name in names.get("text_encoder_2", []):
        source = f"text_encoder_2/{name}"
        short = name.removeprefix("text_model.")
        ends = {"embeddings.token_embedding.weight": "token_embedding.weight", "text_projection.weight": "text_projection",
                "embeddings.position_embedding.weight": "positional_embedding", "final_layer_norm.weight": "ln_final.weight",
                "final_layer_norm.bias": "ln_final.bias"}
        if short in ends:
            out[prefix + ends[short]] = ("transpose" if short == "text_projection.weight" else "copy", [source])
        elif m := re.match(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", short):
            if m[2] == "q":
                parts = [source.replace("q_proj", f"{x}_proj") for x in "qkv"]
                out[f"{prefix}transformer.resblocks.{m[1]}.attn.in_proj_{m[3]}"] = ("stack", parts)
        else:
            m = re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", short)
            out[f"{prefix}transformer.resblocks.{m[1]}.{CLIP_LAYER[m[2]]}.{m[3]}"] = ("copy", [source])
    return out


def made(operation, sources):
    match operation:
        case "point":
            return sources[0][:, :, None, None]
        case "transpose":
            return sources[0].T.contiguous()
        case "stack":
            return torch.cat(sources)
        case _:
            return sources[0]


def prefixed(state):
    """transformers has dropped the prefix `text_model.` from its modules; files keep it."""
    ours = "embeddings.token_embedding.weight" in state
    return {k if not ours or k.startswith("text_projection") else f"text_model.{k}": v for k, v in state.items()}


def family(name, models):
    ATTENTION.clear()
    ATTENTION.update(re.match(r"(up_blocks\.\d\.\w+)", k)[1] for k in models["unet"].state_dict() if k.startswith("up_blocks"))
    states, config = {}, {}
    g = torch.Generator().manual_seed(1)
    for part, model in models.items():
        state = {k: torch.randn(v.shape, generator=g) for k, v in model.state_dict().items() if v.is_floating_point()}
        states[part] = prefixed(state) if part.startswith("text") else state
        config[part] = {k: v for k, v in dict(model.config.to_dict() if part.startswith("text") else model.config).items()
                        if not k.startswith("_") and v is not None and k not in ("dtype", "torch_dtype", "id2label", "label2id")}
    table = stored(states, name, config)
    file = {k: made(op, [states[s.split("/", 1)[0]][s.split("/", 1)[1]] for s in sources]) for k, (op, sources) in table.items()}

    def same(what, back, want):
        assert back.keys() >= want.keys(), (what, sorted(want.keys() - back.keys())[:5])
        for k, v in want.items():
            assert torch.equal(back[k].reshape(v.shape), v), (what, k)

    same("unet", convert_ldm_unet_checkpoint(file, config["unet"]), states["unet"])
    same("vae", convert_ldm_vae_checkpoint(file, config["vae"]), states["vae"])
    first = "cond_stage_model.transformer." if name == "sd1" else "conditioner.embedders.0.transformer."
    same("text", convert_ldm_clip_checkpoint(file, first), states["text_encoder"])
    if "text_encoder_2" in states:
        back = convert_open_clip_checkpoint(models["text_encoder_2"], file, "conditioner.embedders.1.model.")
        same("text 2", prefixed({k.removeprefix("text_model."): v for k, v in back.items()}), states["text_encoder_2"])
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    lines = lambda rows: "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items()) + "\n }"
    shapes = {f"{part}/{k}": list(v.shape) for part, state in states.items() for k, v in state.items()}
    note = {"script": HERE.name, "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
            "versions": f"torch {torch.__version__}, diffusers {diffusers.__version__}, transformers {transformers.__version__}"}
    path.write_text(f'{{\n "made_by": {json.dumps(note)},\n "config": {json.dumps(config)},\n "shapes": {lines(shapes)},\n'
                    f' "stored": {lines({k: [op, *sources] for k, (op, sources) in table.items()})}\n}}\n')
    assert path.stat().st_size < 256 * 1024
    print(path.name, len(shapes), "tensors,", len(table), "stored,", path.stat().st_size, "bytes")


def text(kind, hidden, **config):
    return kind(CLIPTextConfig(vocab_size=TOKENS, hidden_size=hidden, intermediate_size=32, num_hidden_layers=2,
                               num_attention_heads=hidden // 64, max_position_embeddings=LENGTH, bos_token_id=TOKENS - 2,
                               eos_token_id=TOKENS - 1, pad_token_id=TOKENS - 1, architectures=[kind.__name__], **config))


def autoencoder(**config):
    return AutoencoderKL(block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2,
                         up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, layers_per_block=1, **config)


family("sd1", {
    "unet": UNet2DConditionModel(
        sample_size=8, block_out_channels=[32, 64], layers_per_block=1, cross_attention_dim=768, attention_head_dim=8,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"]),
    "vae": autoencoder(scaling_factor=0.18215),
    "text_encoder": text(CLIPTextModel, 768),
})
family("sdxl", {
    "unet": UNet2DConditionModel(
        sample_size=8, block_out_channels=[32, 64], layers_per_block=1, cross_attention_dim=2048, attention_head_dim=[1, 1],
        transformer_layers_per_block=[1, 2], use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"]),
    "vae": autoencoder(scaling_factor=0.13025),
    "text_encoder": text(CLIPTextModel, 768),
    "text_encoder_2": text(CLIPTextModelWithProjection, 1280, projection_dim=1280, hidden_act="gelu"),
})
