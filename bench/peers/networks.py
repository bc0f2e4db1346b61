"""The networks of Stable Diffusion 1.5 with random weights, from diffusers and transformers, with their inputs."""

import torch

UNET = dict(
    sample_size=64,
    in_channels=4,
    out_channels=4,
    block_out_channels=(320, 640, 1280, 1280),
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    layers_per_block=2,
    cross_attention_dim=768,
    attention_head_dim=8,
)
VAE = dict(
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    latent_channels=4,
)
CLIP = dict(
    vocab_size=49408,
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=12,
    num_attention_heads=12,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
)


class Unet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from diffusers import UNet2DConditionModel

        self.net = UNet2DConditionModel(**UNET)

    def forward(self, sample, timestep, context):
        return self.net(sample, timestep, encoder_hidden_states=context, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from diffusers import AutoencoderKL

        vae = AutoencoderKL(**VAE)
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latent):
        return self.decoder(self.post_quant_conv(latent))


class TextEncoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel

        self.net = CLIPTextModel(CLIPTextConfig(**CLIP))

    def forward(self, ids):
        return self.net(input_ids=ids, return_dict=False)[0]


def build(name, device="cpu"):
    """The network in float32, in evaluation mode."""
    torch.manual_seed(1)
    with torch.device(device):
        net = {"unet": Unet, "vae": Decoder, "clip": TextEncoder}[name]()
    return net.eval().requires_grad_(False)


def inputs(name, dtype=torch.float32, device="cpu"):
    torch.manual_seed(2)
    latent = torch.randn(1, 4, 64, 64, dtype=dtype, device=device)
    if name == "unet":
        return latent, torch.tensor(500.0, device=device), torch.randn(1, 77, 768, dtype=dtype, device=device)
    if name == "vae":
        return (latent,)
    ids = 1000 + 37 * torch.arange(77, device=device)
    ids[0], ids[-1] = 49406, 49407
    return (ids[None],)


def work(name):
    """Operations of one evaluation (2 for each multiply-add), and the parameters that it reads."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    net = build(name, "meta")
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(*inputs(name, device="meta"))
    read = sum(p.numel() for key, p in net.named_parameters() if "embeddings" not in key)
    return counter.get_total_flops(), read
