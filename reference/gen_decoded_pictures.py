"""Size and sampled pixels of picture files as Pillow decodes them.

    python reference/gen_decoded_pictures.py ASSETS [OUT]

ASSETS holds images/{formats,broken}; OUT defaults to fixtures/reference/decoded-pictures/pillow.json. A file is
`null` where Pillow refuses it. Pixels are RGBA at the middles of a grid of 6 by 6, after the EXIF orientation.
"""
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

assets = Path(sys.argv[1]) / "images"
default = Path(__file__).parent.parent / "fixtures/reference/decoded-pictures/pillow.json"
out = Path(sys.argv[2]) if len(sys.argv) > 2 else default
GRID = 6
ENDINGS = {"png", "jpg", "gif", "bmp", "tif", "tiff", "webp", "bad_bmp"}

warnings.simplefilter("ignore")


def rgba(image):
    """8-bit RGBA; 16-bit grey is scaled, which `convert` does not do."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 255 if image.mode == "F" else 255 / 65535
        grey = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
        return np.stack([grey, grey, grey, np.full_like(grey, 255)], -1)
    return np.asarray(image.convert("RGBA"))


def sample(path):
    try:
        with Image.open(path) as image:
            mode = image.mode
            image.load()
            image = ImageOps.exif_transpose(image)
            pixels = rgba(image)
    except Exception:
        return None
    height, width = pixels.shape[:2]
    points = [pixels[(2 * y + 1) * height // (2 * GRID), (2 * x + 1) * width // (2 * GRID)] for y in range(GRID) for x in range(GRID)]
    return {"width": width, "height": height, "mode": mode, "pixels": "".join(bytes(p).hex() for p in points)}


paths = [p for folder in ("formats", "broken") for p in (assets / folder).rglob("*")]
paths = sorted(p for p in paths if p.is_file() and p.suffix[1:] in ENDINGS)
files = {str(p.relative_to(assets)): sample(p) for p in paths}
header = {"made_by": "reference/gen_decoded_pictures.py", "versions": {"pillow": PIL.__version__, "numpy": np.__version__}}
out.parent.mkdir(parents=True, exist_ok=True)
lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in files.items())
out.write_text(f'{{"header": {json.dumps(header)}, "files": {{\n{lines}\n}}}}\n', encoding="utf-8")
