"""Networks that enlarge fourfold, with random weights in one file for every program, their inputs and their work.

A name is the network and the side of the picture: `span-128`.
"""

import importlib
import os
from pathlib import Path

import torch

NAMES = {"srvgg": "SRVGG 64/32 x4", "rrdb": "RRDB 23 x4", "span": "SPAN 48 x4"}


def is_one(name):
    return name.split("-")[0] in NAMES


def title(name):
    network, side = name.split("-")
    return f"{NAMES[network]}, {side}x{side}"


def build(name, device="cpu"):
    """The network in float32, in evaluation mode; spandrel's."""
    part = lambda path: importlib.import_module(f"spandrel.architectures.{path}")
    torch.manual_seed(1)
    with torch.device(device):
        match name.split("-")[0]:
            case "srvgg":
                make = part("Compact.__arch.SRVGG").SRVGGNetCompact
                net = make(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=32, upscale=4, act_type="prelu")
            case "rrdb":
                net = part("ESRGAN.__arch.RRDB").RRDBNet(in_nc=3, out_nc=3, num_filters=64, num_blocks=23, scale=4)
            case "span":
                net = part("SPAN.__arch.span").SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=4)
    return net.eval().requires_grad_(False)


def weights(name):
    """The file of the network's weights, made when it is not there."""
    from safetensors.torch import save_file

    folder = Path(os.environ["BENCH_CACHE"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.split('-')[0]}.safetensors"
    if not path.exists():
        state = {key: value.contiguous() for key, value in build(name).state_dict().items()}
        save_file(state, path)
    return path


def loaded(name):
    from safetensors.torch import load_file

    net = build(name)
    net.load_state_dict(load_file(weights(name)))
    return net.eval()


def inputs(name, dtype=torch.float32, device="cpu"):
    torch.manual_seed(2)
    side = int(name.split("-")[1])
    return (torch.rand(1, 3, side, side, dtype=dtype, device=device),)


def work(name):
    """Operations of one evaluation (2 for each multiply-add), and the parameters that it reads."""
    from torch.utils.flop_counter import FlopCounterMode

    net, side = build(name), int(name.split("-")[1])
    network, counts = name.split("-")[0], []
    for small in (16, 32):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(*inputs(f"{network}-{small}"))
        counts.append(counter.get_total_flops())
    # What does not grow with the picture is spandrel's merging of SPAN's branches, done once.
    each = (counts[1] - counts[0]) / (32**2 - 16**2)
    return each * side**2, sum(p.numel() for p in net.parameters())
