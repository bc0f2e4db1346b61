#!/usr/bin/env python3
"""Golden values of upscalers and restorers that spandrel knows: tiny networks with random weights (rounded to float16, so
that the file is small and exact), a picture, and the network's answer to it. spandrel recognises and loads the weights
itself, as it would a stranger's file. Writes fixtures/reference/upscalers/*.safetensors: `w.<name>` weights as a file holds
them, `in` and `out` pictures [batch, height, width, channels].

    python reference/gen_upscalers.py [CASE ...]
"""

import hashlib
import json
import pathlib
import re
import sys
import types

import spandrel
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.SPAN import SPAN

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "upscalers"
torch.set_num_threads(1)


def randomise(module, seed, gain=0.7):
    """Weights that exercise every path, norms and biases away from 1 and 0."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim <= 1:
                base = 1.0 if ("norm" in name and name.endswith("weight")) else 0.0
                p.copy_(base + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(torch.randn(p.shape, generator=g) * (gain / p[0].numel() ** 0.5))
            p.copy_(p.half().float())
    return module.eval()


def renamed(state, rules):
    """The names that other releases of the same network give."""
    for old, new in rules:
        state = {re.sub(old, new, k): v for k, v in state.items()}
    return state


# Real-ESRGAN's and BSRGAN's names for ESRGAN's, of a network of two blocks and two enlargements.
REAL = [
    (r"^model\.0\.", "conv_first."),
    (r"^model\.1\.sub\.2\.", "conv_body."),
    (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.3\.", "conv_up1."),
    (r"^model\.6\.", "conv_up2."),
    (r"^model\.8\.", "conv_hr."),
    (r"^model\.10\.", "conv_last."),
]
BSRGAN = [
    (r"^conv_body", "trunk_conv"),
    (r"^body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB"),
    (r"^conv_up", "upconv"),
    (r"^conv_hr", "HRconv"),
]

RENAMED = {"rrdb_real_x2": REAL, "rrdb_real_x1": REAL, "rrdb_bsrgan": REAL + BSRGAN}


def rrdb(**options):
    options = {"num_filters": 6, "num_blocks": 2} | options
    return lambda: narrow(ESRGAN(**options))


def narrow(network, growth=4):
    """The dense blocks of spandrel's network grow by 32 channels; these by fewer, to be small."""
    for part in network.modules():
        if type(part).__name__ == "ResidualDenseBlock_5C":
            width = part.conv1[0].in_channels
            for i in range(1, 6):
                out = growth if i < 5 else width
                getattr(part, f"conv{i}")[0] = torch.nn.Conv2d(width + (i - 1) * growth, out, 3, padding=1)
    return network


# name: (network, height, width of the input, gain of the weights)
CASES = {
    "span_branches": (lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=7, upscale=2), 9, 8, 0.7),
    "span_plain": (lambda: SPAN(num_in_ch=1, num_out_ch=1, feature_channels=5, upscale=4, norm=False), 6, 7, 1.1),
    "srvgg": (lambda: Compact(num_in_ch=3, num_out_ch=3, num_feat=12, num_conv=3, upscale=4), 7, 6, 1.2),
    "rrdb_old_x4": (rrdb(scale=4), 6, 7, 1.2),
    "rrdb_old_x1": (rrdb(scale=1, num_blocks=1), 6, 7, 1.2),
    "rrdb_old_x2": (rrdb(scale=2, num_blocks=1), 5, 6, 1.2),
    "rrdb_real_x2": (rrdb(scale=4, in_nc=12, shuffle_factor=2), 8, 6, 1.2),
    "rrdb_real_x1": (rrdb(scale=4, in_nc=48, shuffle_factor=4), 8, 12, 1.2),
    "rrdb_bsrgan": (rrdb(scale=4), 6, 5, 1.2),
}


def header(**more):
    return {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"torch {torch.__version__}, spandrel {spandrel.__version__}",
        **more,
    }


def loaded(network, state):
    """What spandrel makes of the file; where it would build other widths, the network itself."""
    try:
        return spandrel.ModelLoader().load_from_state_dict(state)
    except RuntimeError:
        scale = network.scale // (network.shuffle_factor or 1)
        kind = types.SimpleNamespace(id=type(network).__name__)
        return types.SimpleNamespace(model=network, architecture=kind, scale=scale, input_channels=3)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for seed, (name, (make, height, width, gain)) in enumerate(CASES.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        network = randomise(make(), seed, gain)
        state = {k: v.detach().clone() for k, v in network.state_dict().items()}
        state = renamed(state, RENAMED.get(name, []))
        found = loaded(network, dict(state))
        g = torch.Generator().manual_seed(1000 + seed)
        picture = torch.rand(1, found.input_channels, height, width, generator=g)
        with torch.no_grad():
            out = found.model.eval()(picture)
        out = out[0] if isinstance(out, tuple) else out
        data = {"w." + k: v.half().contiguous() if v.dtype.is_floating_point else v for k, v in state.items()}
        data |= {"in": picture.permute(0, 2, 3, 1).contiguous(), "out": out.permute(0, 2, 3, 1).contiguous()}
        facts = {"architecture": found.architecture.id, "scale": found.scale, "channels": found.input_channels}
        path = OUT / f"{name}.safetensors"
        save_file(data, path, metadata=header(facts=json.dumps(facts)))
        size = path.stat().st_size
        assert size < 200 * 1024, (name, size)
        print(f"{path.name}: {size} bytes, {facts}, deviation {out.std().item():.3g}")


if __name__ == "__main__":
    main()
