#!/usr/bin/env python3
"""Golden values of restorers and transformers: tiny networks with random weights (rounded to float16, so that the file is
small and exact), a picture, and the network's answer to it. Most networks are spandrel's, and spandrel recognises and loads
the weights itself where it can build such narrow ones; those of waifu2x are written down here. Writes
fixtures/reference/upscalers/*.safetensors as gen_upscalers.py does: `w.<name>` weights as a file holds them, `in` and `out`
pictures [batch, height, width, channels].

    python reference/gen_restorers.py [CASE ...]
"""

import hashlib
import json
import pathlib
import sys

import spandrel
import torch
from safetensors.torch import save_file
from spandrel.architectures.DAT import DAT
from spandrel.architectures.FBCNN import FBCNN
from spandrel.architectures.GFPGAN import GFPGAN
from spandrel.architectures.HAT import HAT
from spandrel.architectures.NAFNet import NAFNet
from spandrel.architectures.RealCUGAN import UpCunet2x, UpCunet3x, UpCunet4x
from spandrel.architectures.RealCUGAN.__arch.upcunet_v3 import UNet1, UNet2
from spandrel.architectures.SCUNet import SCUNet
from spandrel.architectures.SwinIR import SwinIR
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "upscalers"
torch.set_num_threads(1)


def randomise(module, seed, gain=0.7):
    """Weights that exercise every path, norms and biases away from 1 and 0."""
    g = torch.Generator().manual_seed(seed)
    noise = lambda shape: torch.randn(shape, generator=g)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim <= 1 or "temperature" in name:
                one = name.endswith("modulation.bias") or "temperature" in name
                one = one or (name.endswith("weight") and (".ln" in name or "norm" in name))
                p.copy_(float(one) + 0.2 * noise(p.shape))
            elif p.ndim == 5:
                p.copy_(noise(p.shape) * (gain / p[0, 0].numel() ** 0.5))
            else:
                p.copy_(noise(p.shape) * (gain / p[0].numel() ** 0.5))
            p.copy_(p.half().float())
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(0.2 * noise(b.shape))
            if name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=g))
            if b.dtype.is_floating_point:
                b.copy_(b.half().float())
    return module.eval()


def narrowed(network, divisor=16, kept=(1, 3, 12)):
    """The network with fewer channels in all its convolutions and linear layers; pictures keep theirs."""
    few = lambda n: n if n in kept else max(1, n // divisor)
    for part in list(network.modules()):
        for name, old in list(part.named_children()):
            bias = getattr(old, "bias", None) is not None
            if isinstance(old, nn.Linear):
                new = nn.Linear(few(old.in_features), few(old.out_features), bias=bias)
            elif isinstance(old, (nn.Conv2d, nn.ConvTranspose2d)):
                sizes = (old.kernel_size, old.stride, old.padding)
                new = type(old)(few(old.in_channels), few(old.out_channels), *sizes, bias=bias)
            else:
                continue
            part._modules[name] = new
    return network


def with_features(network, features=8):
    """A transformer whose reconstruction is `features` wide instead of 64."""
    few = lambda n: n * features // 64 if n % 64 == 0 else n
    for name, part in network.named_modules():
        if name.startswith(("conv_before_upsample", "upsample", "conv_up", "conv_hr", "conv_last")):
            for key, old in list(part.named_children()) + [("", part)]:
                if isinstance(old, nn.Conv2d):
                    new = nn.Conv2d(few(old.in_channels), few(old.out_channels), 3, 1, 1)
                    if key:
                        part._modules[key] = new
                    elif "." not in name:
                        network._modules[name] = new
    return network


def with_positions(network):
    """Position biases of a DAT so narrow that nothing would be left of them."""
    for part in network.modules():
        if hasattr(part, "pos"):
            part.pos = type(part.pos)(12, part.num_heads, residual=False)
    return network


class NarrowSCUNet(SCUNet):
    """Heads of two channels instead of 32."""

    head_dim = property(lambda self: 2, lambda self, value: None)


def fbcnn(colours, blocks, widths):
    network = FBCNN(in_nc=colours, out_nc=colours, nc=widths, nb=blocks)
    hidden = 10
    line = lambda i, o: nn.Linear(i, o)
    for i, (a, b) in zip((2, 4, 6), ((widths[3], hidden), (hidden, hidden), (hidden, 1))):
        network.qf_pred[blocks + i] = line(a, b)
    for i, a in zip((0, 2, 4), (1, hidden, hidden)):
        network.qf_embed[i] = line(a, hidden)
    for level in (1, 2, 3):
        for kind in ("gamma", "beta"):
            getattr(network, f"to_{kind}_{level}")[0] = line(hidden, widths[level - 1])
    return network


class CUNet(nn.Module):
    """waifu2x's cunet (nagadomi/nunif) around the context that it eats; the first result is clamped before the second."""

    def __init__(self, scale):
        super().__init__()
        self.context = {1: 28, 2: 18}[scale]
        self.unet1 = UNet1(3, 3, deconv=scale == 2)
        self.unet2 = UNet2(3, 3, deconv=False)

    def forward(self, x):
        x = F.pad(x, (self.context,) * 4, mode="replicate")
        first = self.unet1(x).clamp(0, 1)
        return self.unet2(first) + F.pad(first, (-20,) * 4)


class Plain(nn.Module):
    """waifu2x's vgg_7 and upconv_7 (nagadomi/nunif): seven layers, the last of upconv_7 doubling."""

    def __init__(self, widths, doubling):
        super().__init__()
        layers = []
        for a, b in zip([3, *widths], widths):
            layers += [nn.Conv2d(a, b, 3), nn.LeakyReLU(0.1)]
        layers.append(nn.ConvTranspose2d(widths[-1], 3, 4, 2, 3) if doubling else nn.Conv2d(widths[-1], 3, 3))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(F.pad(x, (7,) * 4, mode="replicate"))


def swinir(**options):
    options = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "mlp_ratio": 2.0} | options
    options = {"window_size": 4, "img_size": 8} | options
    return lambda: with_features(SwinIR(**options))


def hat(**options):
    options = {"embed_dim": 12, "depths": (2, 1), "num_heads": (2, 3), "window_size": 4, "num_feat": 8} | options
    return lambda: HAT(compress_ratio=3, squeeze_factor=6, overlap_ratio=0.5, mlp_ratio=2.0, img_size=8, **options)


def dat(**options):
    options = {"embed_dim": 16, "depth": [3, 2], "num_heads": [4, 4], "expansion_factor": 2.0, "img_size": 8} | options
    return lambda: with_positions(with_features(DAT(**options)))


def gfpgan(**options):
    options = {"out_size": 32, "num_style_feat": 8, "channel_multiplier": 2, "num_mlp": 2, "narrow": 1 / 64} | options
    return lambda: GFPGAN(**options)


# name: (network, height, width of the input, gain of the weights)
CASES = {
    "nafnet": (lambda: NAFNet(width=8, middle_blk_num=2, enc_blk_nums=[1, 2], dec_blk_nums=[2, 1]), 12, 16, 0.9),
    "fbcnn_colour": (lambda: fbcnn(3, 2, [6, 8, 10, 12]), 16, 24, 1.0),
    "fbcnn_grey": (lambda: fbcnn(1, 2, [4, 6, 8, 10]), 24, 16, 1.0),
    "scunet_colour": (lambda: NarrowSCUNet(dim=4, config=[2, 1, 1, 1, 1, 1, 2]), 64, 64, 0.5),
    "scunet_grey": (lambda: NarrowSCUNet(in_nc=1, dim=4, config=[1, 2, 1, 1, 1, 2, 1]), 64, 64, 0.5),
    "swinir_classic": (swinir(upscale=3, upsampler="pixelshuffle"), 8, 12, 0.9),
    "swinir_light": (swinir(upscale=2, upsampler="pixelshuffledirect"), 12, 8, 0.9),
    "swinir_real": (swinir(upscale=4, upsampler="nearest+conv", resi_connection="3conv"), 8, 8, 0.9),
    "swinir_noise": (swinir(upscale=1, upsampler=""), 12, 12, 0.9),
    "swinir_jpeg": (
        swinir(in_chans=1, img_range=255.0, window_size=7, img_size=14, depths=[2], num_heads=[2]),
        14,
        21,
        0.9,
    ),
    "cugan_x2": (lambda: narrowed(UpCunet2x()), 20, 22, 1.2),
    "cugan_x2_pro": (lambda: narrowed(UpCunet2x(pro=True)), 20, 20, 1.2),
    "cugan_x3": (lambda: narrowed(UpCunet3x()), 16, 20, 1.2),
    "cugan_x4": (lambda: narrowed(UpCunet4x()), 20, 20, 1.2),
    "waifu2x_cunet_x1": (lambda: narrowed(CUNet(1)), 8, 12, 1.2),
    "waifu2x_cunet_x2": (lambda: narrowed(CUNet(2)), 8, 6, 1.2),
    "waifu2x_upconv": (lambda: Plain([4, 4, 6, 8, 8, 10], True), 7, 6, 1.2),
    "waifu2x_vgg": (lambda: Plain([4, 4, 6, 8, 8, 10], False), 7, 6, 1.2),
    "hat_x2": (hat(upscale=2), 12, 8, 0.9),
    "hat_x4": (hat(upscale=4, depths=(2,), num_heads=(2,)), 8, 8, 0.9),
    "gfpgan": (gfpgan(), 32, 32, 0.9),
    "dat_x2": (dat(upscale=2, split_size=[2, 4]), 8, 12, 0.9),
    "dat_light": (
        dat(upscale=3, split_size=[4, 4], upsampler="pixelshuffledirect", resi_connection="3conv", depth=[4]),
        8,
        8,
        0.9,
    ),
}


def answer(network, picture):
    """What a program makes of the picture: GFPGAN sees -1..1, and its noise is the stored one."""
    if isinstance(network, GFPGAN):
        return (network(picture * 2 - 1, return_rgb=False, randomize_noise=False)[0] + 1) / 2
    out = network(picture)
    return out[0] if isinstance(out, tuple) else out


def loaded(network, state):
    """What spandrel makes of the file, and whether it could; where it would build other widths, the network itself."""
    if isinstance(network, (CUNet, Plain)):
        return network, False
    try:
        return spandrel.ModelLoader().load_from_state_dict(state).model.eval(), True
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
        return network, False


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    header = {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"torch {torch.__version__}, spandrel {spandrel.__version__}",
    }
    for seed, (name, (make, height, width, gain)) in enumerate(CASES.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        torch.manual_seed(seed)
        network = randomise(make(), seed, gain)
        state = {k: v.detach().clone() for k, v in network.state_dict().items()}
        model, by_spandrel = loaded(network, dict(state))
        colours = 1 if name.endswith("grey") or name == "swinir_jpeg" else 3
        g = torch.Generator().manual_seed(1000 + seed)
        picture = torch.rand(1, colours, height, width, generator=g)
        with torch.no_grad():
            out = answer(model, picture)
        data = {"w." + k: v.half().contiguous() if v.dtype.is_floating_point else v for k, v in state.items()}
        data |= {"in": picture.permute(0, 2, 3, 1).contiguous(), "out": out.permute(0, 2, 3, 1).contiguous()}
        facts = {"architecture": type(network).__name__, "loaded_by_spandrel": by_spandrel}
        path = OUT / f"{name}.safetensors"
        save_file(data, path, metadata=header | {"facts": json.dumps(facts)})
        size = path.stat().st_size
        assert size < 200 * 1024, (name, size)
        change = f"range {out.min().item():.3g} .. {out.max().item():.3g}, deviation {out.std().item():.3g}"
        print(f"{path.name}: {size} bytes, {facts}, {tuple(out.shape)}, {change}", flush=True)


if __name__ == "__main__":
    main()
