"""What sd-parsers reads from pictures of several generators.

    python reference/gen_generation_info.py ASSETS [OUT]

ASSETS holds images/metadata; OUT defaults to fixtures/reference/generation-info/sd-parsers.json. Prompts of
stable-diffusion.cpp are brought back from Latin-1 to the UTF-8 that they are (sd-parsers takes tEXt at its word).
"""
import json
import sys
from importlib.metadata import version
from pathlib import Path

from sd_parsers import ParserManager
from sd_parsers.extractors import Eagerness

assets = Path(sys.argv[1]) / "images/metadata"
default = Path(__file__).parent.parent / "fixtures/reference/generation-info/sd-parsers.json"
out = Path(sys.argv[2]) if len(sys.argv) > 2 else default


def utf8(text):
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def text_of(prompts):
    return sorted({utf8(p.value).strip() for p in prompts if p.value.strip()})


def sampler(s):
    get = s.parameters.get
    model = s.model
    return {
        "sampler": s.name,
        "schedule": get("scheduler"),
        "steps": None if get("steps") is None else int(get("steps")),
        "guidance_scale": None if get("cfg_scale") is None else float(get("cfg_scale")),
        "seed": None if get("seed") is None else int(get("seed")),
        "strength": get("denoise", get("strength")),
        # A node between sampler and checkpoint is taken for the model by sd-parsers; then the name is no text.
        "model": model.name if model and isinstance(model.name, str) else None,
        "model_hash": model.hash if model else None,
        "prompts": text_of(s.prompts),
        "negative_prompts": text_of(s.negative_prompts),
    }


manager = ParserManager()
files = {}
for path in sorted([*assets.rglob("*.png"), *assets.rglob("*.jpg")]):
    info = manager.parse(path, eagerness=Eagerness.EAGER)
    assert info is not None, path
    files[str(path.relative_to(assets))] = {
        "generator": info.generator.name,
        "samplers": [sampler(s) for s in info.samplers],
    }
header = {"made_by": "reference/gen_generation_info.py", "versions": {"sd-parsers": version("sd-parsers"), "pillow": version("pillow")}}
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps({"header": header, "files": files}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
