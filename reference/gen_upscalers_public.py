#!/usr/bin/env python3
"""What published upscalers' own code makes of a picture, with their published weights or, where there are none to be had,
tiny random ones. Neither the code nor published weights are part of this repository: only the values are.

    python reference/gen_upscalers_public.py CODE ASSETS

CODE is a folder with `models`, which holds the model files of github.com/ofsoundof/NTIRE2022_ESR and
github.com/Amazingren/NTIRE2024_ESR; `imdn`, the folder `model` of Zheng222/IMDN; `edsr`, with `common.py` and `edsr.py` of
sanghyun-son/EDSR-PyTorch; `fsrcnn.py` and `espcn.py`, the files `models.py` of yjn870/FSRCNN-pytorch and yjn870/ESPCN-pytorch.
ASSETS is the folder of test assets. Writes fixtures/reference/upscalers/published.safetensors: `in` a picture
[1, height, width, 3] in 0..1, and for each weight file of ASSETS/weights/sr/ntire the network's answer under the file's name;
and <case>.safetensors as gen_upscalers.py does.
"""

import hashlib
import importlib
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file
from spandrel.architectures.SPAN import SPAN

from gen_upscalers import randomise

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parent.parent / "fixtures" / "reference" / "upscalers" / "published.safetensors"
torch.set_num_threads(1)


def span(state):
    """spandrel's SPAN computes its convolutions from training branches, which this file lacks."""
    network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=28, upscale=4)
    for part in network.modules():
        if hasattr(part, "update_params"):
            part.update_params = lambda: None
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected and all(".sk." in name or ".conv." in name for name in missing)
    return network


def published(module, name, **options):
    def make(state):
        network = getattr(importlib.import_module(f"models.{module}"), name)(**options)
        network.load_state_dict(state, strict=True)
        return network

    return make


# file: (network from its weights, range of its pictures)
FILES = {
    "2022_rfdn_baseline": (published("rfdn_baseline.RFDN", "RFDN"), 255),
    "2022_team03_fmen": (published("team03_fmen", "FMEN"), 255),
    "2022_team18_bsrn": (published("team18_bsrn", "BSRN", num_feat=48, num_block=5), 1),
    "2024_team23_safmnpp": (published("team23_safmnpp", "SAFMNPP", dim=36, n_blocks=6, ffn_scale=1.5), 1),
    "2024_team24_smfan": (published("team24_smfan", "SMFAN"), 1),
    "2024_team38_span_ch28_slim": (span, 1),
}


def build(module, name, *args, **options):
    return lambda: getattr(importlib.import_module(module), name)(*args, **options)


EDSR = types.SimpleNamespace(n_resblocks=2, n_feats=8, scale=[4], rgb_range=255, n_colors=3, res_scale=1)

# name: (network, channels, height, width, range of its pictures, gain of the weights)
TINY = {
    "imdn": (build("imdn.architecture", "IMDN", nf=16, upscale=2), 3, 9, 7, 1, 1.2),
    "edsr": (build("edsr.edsr", "EDSR", EDSR), 3, 6, 7, 255, 1.0),
    "espcn": (build("espcn", "ESPCN", 3), 1, 8, 9, 1, 1.5),
    "fsrcnn_x3": (build("fsrcnn", "FSRCNN", 3, d=12, s=5, m=2), 1, 8, 7, 1, 1.5),
}


def tiny():
    for seed, (name, (make, channels, height, width, size, gain)) in enumerate(TINY.items()):
        network = make()
        fixed = {k: v.detach().clone() for k, v in network.named_parameters() if not v.requires_grad}
        randomise(network, seed, gain)
        for key, value in fixed.items():
            network.get_parameter(key).data.copy_(value)
        g = torch.Generator().manual_seed(2000 + seed)
        picture = torch.rand(1, channels, height, width, generator=g)
        with torch.no_grad():
            out = network(picture * size) / size
        data = {"w." + k: v.detach().half() if k not in fixed else v for k, v in network.state_dict().items()}
        data |= {"in": picture.permute(0, 2, 3, 1).contiguous(), "out": out.permute(0, 2, 3, 1).contiguous()}
        path = OUT.parent / f"{name}.safetensors"
        save_file(data, path, metadata=header())
        print(path.name, path.stat().st_size, tuple(out.shape), f"deviation {out.std():.3g}")


def header():
    return {
        "script": HERE.name,
        "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
        "versions": f"torch {torch.__version__}",
    }


def main():
    code, assets = (pathlib.Path(path) for path in sys.argv[1:3])
    sys.path.insert(0, str(code))
    tiny()
    golden = load_file(assets / "golden/sr_kodak23_64to256.safetensors")
    picture = golden["input"][None, :, 8:32, 16:48].contiguous()
    tensors = {"in": picture.permute(0, 2, 3, 1).contiguous()}
    for file, (make, size) in FILES.items():
        state = torch.load(assets / f"weights/sr/ntire/{file}.pth", map_location="cpu", weights_only=True)
        state = state.get("params_ema", state.get("params", state))
        with torch.no_grad():
            out = make(state).eval()(picture * size) / size
        tensors[file] = out[0, :, 16:56, 16:72].permute(1, 2, 0).contiguous()
        print(file, tuple(out.shape), f"PSNR to nearest {-10 * torch.log10(((out - picture.repeat_interleave(4, 2).repeat_interleave(4, 3)) ** 2).mean()):.2f}")
    part = {"part": "rows 16..56, columns 16..72 of each answer"}
    save_file(tensors, OUT, metadata=header() | part)
    print(OUT.name, OUT.stat().st_size)


if __name__ == "__main__":
    main()
