#!/usr/bin/env python3
"""Whole tiny pipelines of Stable Diffusion 1, XL and the XL refiner, made and run by diffusers: the folders (random
weights in float16, a byte-level CLIP vocabulary) and the latents that they draw, the first for several scheduler classes.
Writes fixtures/reference/pipelines/tiny*/ and fixtures/reference/pipelines/*.safetensors.

    python reference/gen_pipelines.py
"""

import hashlib
import json
import pathlib
import shutil

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "pipelines"
TINY = OUT / "tiny"
torch.set_num_threads(1)

NOTES = {
    "script": HERE.name,
    "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
    "versions": f"torch {torch.__version__}, diffusers {diffusers.__version__}, transformers {transformers.__version__}",
}


def randomise(module, seed, gain=1.0):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim == 1:
                p.copy_((1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.1 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(torch.randn(p.shape, generator=g) * (gain / p[0].numel() ** 0.5))
            p.copy_(p.half().float())
    return module.eval()


def byte_alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(len(extra))]


def tokenizer(folder, pad="<|endoftext|>"):
    letters = byte_alphabet()
    merges = ["c a", "ca t</w>", "r e", "re d</w>", "b l", "bl u", "blu e</w>"]
    tokens = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 16, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "pad_token": pad, "unk_token": "<|endoftext|>"}))
    return CLIPTokenizer.from_pretrained(folder), len(tokens)


if TINY.exists():
    shutil.rmtree(TINY)
tok, vocabulary = tokenizer(TINY / "tokenizer")
text = randomise(CLIPTextModel(CLIPTextConfig(
    vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=16, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1)), 1)
unet = randomise(UNet2DConditionModel(
    sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16], layers_per_block=1, cross_attention_dim=16,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    attention_head_dim=2, norm_num_groups=4), 2)
vae = randomise(AutoencoderKL(
    block_out_channels=[8, 16], down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=16), 3)
SCHEDULER = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1,
             "set_alpha_to_one": False, "clip_sample": False}
base = StableDiffusionPipeline(
    vae=vae, text_encoder=text, tokenizer=tok, unet=unet, scheduler=diffusers.DDIMScheduler(**SCHEDULER),
    safety_checker=None, feature_extractor=None, requires_safety_checker=False)
for part in (text, unet, vae):
    part.half()
base.save_pretrained(TINY, safe_serialization=True)
shutil.rmtree(TINY / "tokenizer")
tokenizer(TINY / "tokenizer")
for part in (text, unet, vae):
    part.float()

# diffusers' DDIM steps by 1000 // steps whatever the spacing, so only divisors of 1000 make sense to it.
PROMPT, NEGATIVE, SEED, STEPS, GUIDANCE = "a red cat, 蓝 house", "blue", 42, 5, 5.0
CASES = {
    "ddim": diffusers.DDIMScheduler(**SCHEDULER),
    "ddim_v_zero_snr": diffusers.DDIMScheduler(**SCHEDULER | {
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
        "set_alpha_to_one": True}),
    "pndm": diffusers.PNDMScheduler(**{k: v for k, v in SCHEDULER.items() if k != "clip_sample"}, skip_prk_steps=True),
    "euler": diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "euler_leading": diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading", steps_offset=1),
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "unipc": diffusers.UniPCMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
}
tensors, configs = {}, {}
for name, scheduler in CASES.items():
    pipe = StableDiffusionPipeline(**{**base.components, "scheduler": scheduler}, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    out = pipe(PROMPT, negative_prompt=NEGATIVE, height=16, width=24, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
               guidance_rescale=0.7 if "zero" in name else 0.0, generator=torch.Generator().manual_seed(SEED),
               num_images_per_prompt=2, output_type="latent").images
    tensors[f"{name}.latents"] = out.float().contiguous()
    configs[name] = dict(scheduler.config) | {"_class_name": type(scheduler).__name__}
    configs[name] = {k: v for k, v in configs[name].items() if isinstance(v, (int, float, str, bool)) and v not in (float("inf"), float("-inf"))}
picture = torch.randint(0, 256, (16, 24, 3), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
tensors["img2img.picture"] = picture.contiguous()
out = base(PROMPT, negative_prompt=NEGATIVE, height=16, width=24, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
           generator=torch.Generator().manual_seed(SEED), output_type="np").images
tensors["ddim.picture"] = torch.from_numpy(out)[0].contiguous()
save_file(tensors, OUT / "latents.safetensors", metadata=NOTES | {
    "request": json.dumps({"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "steps": STEPS,
                           "guidance_scale": GUIDANCE, "width": 24, "height": 16, "batch": 2}),
    "schedulers": json.dumps(configs)})


# ---- SDXL: two encoders, pooled text, sizes; the refiner: one encoder, an aesthetic score, a picture to start from ----

def text_encoder(kind, seed, hidden, **config):
    return randomise(kind(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1,
        architectures=[kind.__name__], **config)), seed)


def xl_unet(seed, context, added):
    return randomise(UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16], layers_per_block=1,
        cross_attention_dim=context, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], attention_head_dim=[1, 2], transformer_layers_per_block=[1, 2],
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=added, norm_num_groups=4), seed)


def xl_vae(seed):
    return randomise(AutoencoderKL(
        block_out_channels=[8, 16], down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=16, scaling_factor=0.13025), seed)


def saved(pipe, folder, tokenizers):
    """Writes the folder in float16; the pipeline itself goes on in float32."""
    if folder.exists():
        shutil.rmtree(folder)
    parts = [m for m in pipe.components.values() if isinstance(m, torch.nn.Module)]
    for part in parts:
        part.half()
    pipe.save_pretrained(folder, safe_serialization=True)
    for part in parts:
        part.float()
    for name, pad in tokenizers.items():
        shutil.rmtree(folder / name)
        tokenizer(folder / name, pad)
    pipe.set_progress_bar_config(disable=True)


XL, REFINER = OUT / "tiny-xl", OUT / "tiny-refiner"
EULER = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading",
         "steps_offset": 1}
for folder in (XL, REFINER):
    if folder.exists():
        shutil.rmtree(folder)
tok_1, _ = tokenizer(XL / "tokenizer")
tok_2, _ = tokenizer(XL / "tokenizer_2", "!")
second = text_encoder(CLIPTextModelWithProjection, 12, 24, projection_dim=8, hidden_act="gelu")
base = StableDiffusionXLPipeline(
    vae=xl_vae(15), text_encoder=text_encoder(CLIPTextModel, 11, 16), text_encoder_2=second, tokenizer=tok_1,
    tokenizer_2=tok_2, unet=xl_unet(13, 40, 8 + 6 * 4), scheduler=diffusers.EulerDiscreteScheduler(**EULER),
    force_zeros_for_empty_prompt=True, add_watermarker=False)
saved(base, XL, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"})
COMMON = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "latent"}
tensors = {}
for name, negative in {"negative": NEGATIVE, "zeros": None}.items():
    tensors[f"xl.{name}.latents"] = base(
        PROMPT, negative_prompt=negative, height=16, width=24, num_images_per_prompt=2,
        generator=torch.Generator().manual_seed(SEED), **COMMON).images.float().contiguous()

refiner = StableDiffusionXLImg2ImgPipeline(
    vae=xl_vae(16), text_encoder=None, text_encoder_2=second, tokenizer=None, tokenizer_2=tok_2,
    unet=xl_unet(14, 24, 8 + 5 * 4), scheduler=diffusers.EulerDiscreteScheduler(**EULER), requires_aesthetics_score=True,
    force_zeros_for_empty_prompt=False, add_watermarker=False)
saved(refiner, REFINER, {"tokenizer_2": "!"})
image = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
# The mean of the latent distribution, not a draw from it.
start = refiner.vae.encode(image).latent_dist.mean.detach() * refiner.vae.config.scaling_factor
STRENGTH = 0.6
tensors["refiner.picture"] = picture.contiguous()
tensors["refiner.latents"] = refiner(
    PROMPT, negative_prompt=NEGATIVE, image=start, strength=STRENGTH, generator=torch.Generator().manual_seed(SEED),
    **COMMON).images.float().contiguous()
save_file(tensors, OUT / "xl.safetensors", metadata=NOTES | {
    "request": json.dumps({"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "steps": STEPS,
                           "guidance_scale": GUIDANCE, "width": 24, "height": 16, "batch": 2, "strength": STRENGTH})})
for path in sorted(OUT.rglob("*")):
    if path.is_file():
        assert path.stat().st_size < 256 * 1024, path
        print(path.relative_to(OUT), path.stat().st_size)
