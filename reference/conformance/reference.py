#!/usr/bin/env python3
"""A full-size Stable Diffusion checkpoint with random weights, made by diffusers and transformers, and what it answers:
text encoders, one U-Net evaluation block by block, autoencoder both ways, and a whole picture.

    python reference.py sd15|sdxl FOLDER [--assets DIR]

writes FOLDER/model (a diffusers folder in float16) and FOLDER/reference.safetensors (values in float32, computed from
exactly the stored weights; beside them the errors of PyTorch's own bfloat16). Nothing is downloaded. One component is
in memory at a time; SDXL takes about 12 GB.

How the weights are scaled. A random network is of use only if it neither dies out nor amplifies every rounding error, so
one forward pass sets the size of each layer as it is reached (layer-sequential unit variance, Mishkin & Matas 2016):

- weights are normal with variance 1 / fan-in, norms near 1, biases and norm shifts a tenth of the signal;
- a hook on each linear layer and convolution scales weight and bias so that this layer's output has the standard
  deviation asked for, and hands the scaled output on, so that the layers after it see what they will see later;
- that is 1 for layers on the main path. Residual branches are smaller, so that the sum stays below 2 however many there
  are and each still counts: 0.5 for a residual block's second convolution and time projection, an autoencoder's
  attention and a transformer's way out, 1 / sqrt(n) for each of the n branches inside a transformer;
- queries and keys have 1.5, so that attention scores have a standard deviation near 2: attention looks at a few dozen
  cells, neither at one nor at all;
- the autoencoder is scaled on the latents that the U-Net drew, not on noise; decoded pictures have 0.6, so that few
  values are clipped.

Then every weight is rounded to float16, and the standard deviation of every block's output in the evaluation that is
recorded must lie between 0.5 and 2, or the script fails.
"""

import argparse
import gc
import json
import math
import pathlib
import shutil

import diffusers
import numpy
import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

torch.set_grad_enabled(False)
diffusers.logging.set_verbosity_error()
transformers.logging.set_verbosity_error()

SIDE, SEED = 512, 42
PROMPT, NEGATIVE = "two red cats on a blue sofa, 夜景, oil painting", "blurry, text"
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "hidden_act": "quick_gelu", "projection_dim": 768}
BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
         "hidden_act": "gelu", "projection_dim": 1280}
VAE = {"block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
       "up_block_types": ["UpDecoderBlock2D"] * 4, "latent_channels": 4, "layers_per_block": 2, "force_upcast": False}
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
FAMILIES = {
    "sd15": {
        "pipeline": StableDiffusionPipeline,
        "text": [(CLIPTextModel, CLIP_L)],
        "unet": {"sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768,
                 "attention_head_dim": 8, "down_block_types": [CROSS_DOWN] * 3 + ["DownBlock2D"],
                 "up_block_types": ["UpBlock2D"] + [CROSS_UP] * 3},
        "vae": VAE | {"sample_size": 512, "scaling_factor": 0.18215},
        "scheduler": PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1),
        "steps": 4, "guidance": 7.5,
    },
    "sdxl": {
        "pipeline": StableDiffusionXLPipeline,
        "text": [(CLIPTextModel, CLIP_L), (CLIPTextModelWithProjection, BIG_G)],
        "unet": {"sample_size": 128, "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048,
                 "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10],
                 "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                 "projection_class_embeddings_input_dim": 2816, "down_block_types": ["DownBlock2D"] + [CROSS_DOWN] * 2,
                 "up_block_types": [CROSS_UP] * 2 + ["UpBlock2D"]},
        "vae": VAE | {"sample_size": 1024, "scaling_factor": 0.13025},
        "scheduler": EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
        "steps": 2, "guidance": 5.0,
    },
}


# ---- weights ----

def randomise(model, seed):
    """Normal weights of variance 1 / fan-in; norms near 1; small biases."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        p.normal_(generator=g)
        if "embedding.weight" in name and p.ndim == 2:
            p.mul_(0.7)  # two tables are added
        elif p.ndim == 1:
            p.mul_(0.1)
            if "norm" in name and name.endswith("weight"):
                p.add_(1)
        else:
            p.mul_(p[0].numel() ** -0.5)
    return model.eval()


def goal(model, name):
    """The standard deviation that the output of the layer `name` shall have."""
    if name.endswith(("to_q", "to_k", "q_proj", "k_proj")):
        return 1.5
    if name.endswith(("to_out.0", "ff.net.2")) and ".transformer_blocks." in name:
        owner = model.get_submodule(name.split(".transformer_blocks.")[0])
        return (3 * len(owner.transformer_blocks)) ** -0.5
    if name.endswith(("out_proj", "mlp.fc2")):
        return (2 * model.config.num_hidden_layers) ** -0.5
    if name.endswith(("conv2", "proj_out", "to_out.0", "time_emb_proj")):
        return 0.5
    return 0.6 if name == "decoder.conv_out" else 1.0


def scale(model, run):
    """Runs the network once and scales each layer as it is reached; then rounds all weights to float16."""
    hooks = []
    for name, layer in model.named_modules():
        if not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
            continue

        def hook(layer, _inputs, out, wanted=goal(model, name)):
            factor = wanted / out.std()
            layer.weight.mul_(factor)
            if layer.bias is not None:
                layer.bias.mul_(factor)
            return out * factor

        hooks.append(layer.register_forward_hook(hook))
    run()
    for hook in hooks:
        hook.remove()
    for p in model.parameters():
        p.copy_(p.half())


BLOCKS = ("ResnetBlock2D", "Transformer2DModel", "BasicTransformerBlock", "Downsample2D", "Upsample2D", "CLIPEncoderLayer",
          "DownBlock2D", CROSS_DOWN, "UNetMidBlock2DCrossAttn", "UpBlock2D", CROSS_UP, "UNetMidBlock2D",
          "DownEncoderBlock2D", "UpDecoderBlock2D")


class Spread:
    """Standard deviations of the outputs of all blocks."""

    def __init__(self, model):
        self.seen = {}
        self.hooks = []
        for name, module in model.named_modules():
            if type(module).__name__ in BLOCKS or name.endswith(("conv_in", "conv_out", "text_projection")):
                self.hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: self.note(name, out)))

    def note(self, name, out):
        self.seen[name] = float((out[0] if isinstance(out, tuple) else out).float().std())

    def check(self, title):
        for hook in self.hooks:
            hook.remove()
        low, high = min(self.seen, key=self.seen.get), max(self.seen, key=self.seen.get)
        print(f"{title}: standard deviation of {len(self.seen)} blocks' outputs from {self.seen[low]:.2f} ({low}) "
              f"to {self.seen[high]:.2f} ({high})", flush=True)
        assert 0.5 <= self.seen[low] and self.seen[high] <= 2, "a block's output is outside 0.5 to 2"


# ---- what is recorded ----

class Record:
    """Values in float32, and how far PyTorch's bfloat16 is from them."""

    def __init__(self):
        self.tensors = {}

    def put(self, name, value):
        self.tensors[name] = value.detach().to(torch.float32 if value.is_floating_point() else value.dtype).contiguous().clone()

    def narrow(self, name, value):
        wide, value = self.tensors[name].double(), value.double()
        if name == "picture.pixels":
            error = 10 * math.log10(255**2 / float((wide - value).square().mean()))
        else:
            error = float((wide - value).norm() / wide.norm())
        self.tensors[f"bf16.{name}"] = torch.tensor([error], dtype=torch.float32)


def tokenizer(folder, assets, second):
    """CLIP's vocabulary from the assets, else one of single bytes in the same places."""
    folder.mkdir(parents=True)
    own = assets and assets / "weights" / "tokenizers" / "clip"
    if own and (own / "vocab.json").is_file():
        shutil.copy(own / "vocab.json", folder)
        shutil.copy(own / "merges.txt", folder)
    else:
        keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
        letters = [chr(b) for b in keep] + [chr(256 + i) for i in range(256 - len(keep))]
        tokens = letters + [c + "</w>" for c in letters]
        tokens += [f"<{i}>" for i in range(49406 - len(tokens))] + ["<|startoftext|>", "<|endoftext|>"]
        (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
        (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!" if second else "<|endoftext|>"}))
    return CLIPTokenizer.from_pretrained(folder)




def text_encoders(family, folder, assets, record):
    """Makes, runs and saves the text encoders. Gives what the pipeline's prompt encoding answers in both precisions."""
    toks, models = [], []
    for i, (kind, config) in enumerate(family["text"]):
        suffix = f"_{i + 1}" if i else ""
        tok = tokenizer(folder / f"tokenizer{suffix}", assets, second=i == 1)
        model = kind(CLIPTextConfig(**config, vocab_size=49408, max_position_embeddings=77, bos_token_id=49406,
                                    eos_token_id=49407, pad_token_id=1, architectures=[kind.__name__]))
        randomise(model, 10 + i)
        ids = tok([NEGATIVE, PROMPT], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        scale(model, lambda: model(ids))
        spread = Spread(model)
        out = model(ids, output_hidden_states=True)
        spread.check(f"text encoder {i + 1}")
        record.put(f"text.{i}.ids", ids)
        record.put(f"text.{i}.last", out.last_hidden_state)
        record.put(f"text.{i}.penultimate", out.hidden_states[-2])
        record.put(f"text.{i}.pooled", out.text_embeds if "text_embeds" in out else out.pooler_output)
        toks.append(tok)
        models.append(model)

    def prompts():
        names = {"text_encoder": models[0], "tokenizer": toks[0], "unet": None, "vae": None, "scheduler": family["scheduler"]}
        if len(models) == 2:
            pipe = StableDiffusionXLPipeline(**names, text_encoder_2=models[1], tokenizer_2=toks[1])
            return pipe.encode_prompt(PROMPT, negative_prompt=NEGATIVE, device="cpu", do_classifier_free_guidance=True)
        pipe = StableDiffusionPipeline(**names, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
        return pipe.encode_prompt(PROMPT, "cpu", 1, True, negative_prompt=NEGATIVE)

    wide = [t.clone() for t in prompts() if t is not None]
    record.put("prompt.context", torch.cat([wide[1], wide[0]]))
    if len(wide) > 2:
        record.put("prompt.pooled", torch.cat([wide[3], wide[2]]))
    for i, model in enumerate(models):
        model.half().save_pretrained(folder / ("text_encoder" + (f"_{i + 1}" if i else "")))
        model.bfloat16()
        out = model(record.tensors[f"text.{i}.ids"], output_hidden_states=True)
        record.narrow(f"text.{i}.last", out.last_hidden_state)
        record.narrow(f"text.{i}.penultimate", out.hidden_states[-2])
        record.narrow(f"text.{i}.pooled", out.text_embeds if "text_embeds" in out else out.pooler_output)
    narrow = [t.clone() for t in prompts() if t is not None]
    record.narrow("prompt.context", torch.cat([narrow[1], narrow[0]]))
    if len(narrow) > 2:
        record.narrow("prompt.pooled", torch.cat([narrow[3], narrow[2]]))
    return wide, narrow


def empty(kind, **config):
    """A network without the cost of its own random start."""
    with torch.device("meta"):
        model = kind(**config)
    return model.to_empty(device="cpu")


def unet(family, folder, encoded, record):
    """Makes, runs and saves the U-Net. Gives the latents that the pipeline draws in both precisions."""
    wide, narrow = encoded
    model = randomise(empty(UNet2DConditionModel, **family["unet"]), 20)
    g = torch.Generator().manual_seed(21)
    sample, timestep = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=g), torch.tensor([601.0])
    added = None
    if len(wide) > 2:
        added = {"text_embeds": wide[2], "time_ids": torch.tensor([[SIDE, SIDE, 0.0, 0.0, SIDE, SIDE]])}
        record.put("unet.pooled", added["text_embeds"])
        record.put("unet.time_ids", added["time_ids"])
    record.put("unet.sample", sample)
    record.put("unet.timestep", timestep)
    record.put("unet.context", wide[0])

    def run(dtype):
        more = added and {k: v.to(dtype) for k, v in added.items()}
        return model(sample.to(dtype), timestep, wide[0].to(dtype), added_cond_kwargs=more).sample

    def recorded(dtype, note):
        names = ["time_embedding", "conv_in", "mid_block"]
        names += [f"{half}.{i}" for half in ("down_blocks", "up_blocks") for i in range(len(model.down_blocks))]
        hooks = []
        for name in names:
            def hook(_m, _i, out, name=name):
                note(f"unet.out.{name}", out[0] if isinstance(out, tuple) else out)
            hooks.append(model.get_submodule(name).register_forward_hook(hook))
        note("unet.out", run(dtype))
        for hook in hooks:
            hook.remove()

    def latents(dtype, prompts):
        names = {"text_encoder": None, "tokenizer": None, "unet": model, "vae": None, "scheduler": family["scheduler"]}
        if added is not None:
            pipe = StableDiffusionXLPipeline(**names, text_encoder_2=None, tokenizer_2=None)
            more = {"pooled_prompt_embeds": prompts[2], "negative_pooled_prompt_embeds": prompts[3]}
        else:
            pipe = StableDiffusionPipeline(**names, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
            more = {}
        pipe.set_progress_bar_config(disable=True)
        noise = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(SEED)).to(dtype)
        return pipe(prompt_embeds=prompts[0], negative_prompt_embeds=prompts[1], **more, height=SIDE, width=SIDE,
                    num_inference_steps=family["steps"], guidance_scale=family["guidance"], latents=noise,
                    output_type="latent").images

    scale(model, lambda: run(torch.float32))
    spread = Spread(model)
    recorded(torch.float32, record.put)
    spread.check("U-Net")
    drawn = latents(torch.float32, wide).clone()
    record.put("picture.latents", drawn)
    model.half().save_pretrained(folder / "unet", max_shard_size="20GB")
    model.bfloat16()
    recorded(torch.bfloat16, record.narrow)
    drawn_narrow = latents(torch.bfloat16, narrow).clone()
    record.narrow("picture.latents", drawn_narrow)
    print(f"latents: standard deviation {float(drawn.std()):.2f}", flush=True)
    return drawn, drawn_narrow


def photograph():
    """A picture with large shapes and fine grain, 8 bits."""
    g = torch.Generator().manual_seed(30)
    coarse = torch.randn(1, 3, 9, 9, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)[0]
    return ((smooth * 60 + torch.randn(3, SIDE, SIDE, generator=g) * 8 + 128).clamp(0, 255)).byte()


def pixels(decoded):
    """8 bits, `[h, w, 3]`, as the pipelines round."""
    image = (decoded.float() / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return torch.from_numpy((image * 255).round().astype(numpy.uint8))


def autoencoder(family, folder, drawn, record):
    wide, narrow = drawn
    model = randomise(empty(AutoencoderKL, **family["vae"]), 40)
    factor = model.config.scaling_factor
    picture = photograph()
    image = (picture.float() / 127.5 - 1)[None]
    scale(model, lambda: (model.encode(image), model.decode(wide / factor)))
    spread = Spread(model)
    record.put("vae.picture", picture.permute(1, 2, 0))
    posterior = model.encode(image).latent_dist
    record.put("vae.mean", posterior.mean)
    record.put("vae.logvar", posterior.logvar)
    record.put("vae.latent", wide / factor)
    decoded = model.decode(wide / factor).sample
    record.put("vae.decoded", decoded)
    record.put("picture.pixels", pixels(decoded))
    spread.check("autoencoder")
    model.half().save_pretrained(folder / "vae")
    model.bfloat16()
    posterior = model.encode(image.bfloat16()).latent_dist
    record.narrow("vae.mean", posterior.mean)
    record.narrow("vae.logvar", posterior.logvar)
    record.narrow("vae.decoded", model.decode((wide / factor).bfloat16()).sample)
    record.narrow("picture.pixels", pixels(model.decode(narrow / factor).sample))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--assets", type=pathlib.Path, help="test assets; without them a byte vocabulary is made")
    arguments = parser.parse_args()
    family, folder = FAMILIES[arguments.family], arguments.folder / "model"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    record = Record()
    encoded = text_encoders(family, folder, arguments.assets, record)
    gc.collect()
    drawn = unet(family, folder, encoded, record)
    gc.collect()
    autoencoder(family, folder, drawn, record)
    family["scheduler"].save_pretrained(folder / "scheduler")
    index = {"_class_name": family["pipeline"].__name__, "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", type(family["scheduler"]).__name__]}
    for i, (kind, _) in enumerate(family["text"]):
        suffix = f"_{i + 1}" if i else ""
        index |= {f"text_encoder{suffix}": ["transformers", kind.__name__], f"tokenizer{suffix}": ["transformers", "CLIPTokenizer"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))
    save_file(record.tensors, arguments.folder / "reference.safetensors", metadata={
        "versions": f"torch {torch.__version__}, diffusers {diffusers.__version__}, transformers {transformers.__version__}",
        "request": json.dumps({"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "steps": family["steps"],
                               "guidance_scale": family["guidance"], "side": SIDE})})


main()
