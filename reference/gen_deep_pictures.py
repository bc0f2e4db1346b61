"""Channels, depth and sampled values of PNG and TIFF files as pypng and tifffile read them; frames of animations as
Pillow shows them.

    python reference/gen_deep_pictures.py ASSETS [OUT]

ASSETS holds images/{formats,broken}; OUT defaults to fixtures/reference/decoded-pictures/deep.json. Values stand at the
middles of a grid of 6 by 6 in the depth of the file (one, two and four bits are scaled to eight); frames are RGBA, with
their delay in milliseconds.
"""
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import PIL
import png
import tifffile
from PIL import Image, ImageSequence

assets = Path(sys.argv[1]) / "images"
default = Path(__file__).parent.parent / "fixtures/reference/decoded-pictures/deep.json"
out = Path(sys.argv[2]) if len(sys.argv) > 2 else default
GRID = 6
MOST_FRAMES = 40
warnings.simplefilter("ignore")


def grid(pixels):
    height, width = pixels.shape[:2]
    points = [pixels[(2 * y + 1) * height // (2 * GRID), (2 * x + 1) * width // (2 * GRID)] for y in range(GRID) for x in range(GRID)]
    return [int(v) for p in points for v in np.atleast_1d(p)]


def entry(pixels, depth):
    height, width, channels = pixels.shape
    return {"width": width, "height": height, "channels": channels, "depth": depth, "values": grid(pixels)}


def read_png(path):
    reader = png.Reader(bytes=path.read_bytes())
    reader.preamble()
    reader.sbit = None  # significant bits do not change the values
    width, height, rows, info = reader.asDirect()
    pixels = np.array([list(r) for r in rows], dtype=np.int64).reshape(height, width, info["planes"])
    depth = info["bitdepth"]
    if depth < 8:
        pixels = pixels * 255 // (2**depth - 1)
        depth = 8
    return entry(pixels, depth)


def read_tiff(path):
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        pixels = page.asarray()
        if pixels.dtype not in (np.uint8, np.uint16) or page.photometric.name not in ("MINISBLACK", "RGB"):
            return None
        if page.planarconfig.name == "SEPARATE" and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
    return entry(pixels.astype(np.int64), pixels.dtype.itemsize * 8)


def read_frames(path):
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) < 2 or image.format not in ("GIF", "PNG", "WEBP"):
            return None
        loops = image.info.get("loop")
        frames = []
        for index, frame in enumerate(ImageSequence.Iterator(image)):
            if index < MOST_FRAMES:
                pixels = np.asarray(frame.convert("RGBA"))
                frames.append({"delay": float(frame.info.get("duration", 0)), "pixels": bytes(grid(pixels)).hex()})
        return {"width": image.width, "height": image.height, "count": index + 1, "loops": loops, "frames": frames}


def attempt(read, path):
    try:
        return read(path)
    except Exception:
        return None


paths = sorted(p for folder in ("formats", "broken") for p in (assets / folder).rglob("*") if p.is_file())
name = lambda p: str(p.relative_to(assets))
stills = {name(p): attempt(read_png, p) for p in paths if p.suffix == ".png" and not p.name.startswith("x") and "broken" not in p.parts}
stills |= {name(p): attempt(read_tiff, p) for p in paths if p.suffix in (".tif", ".tiff")}
moving = {name(p): attempt(read_frames, p) for p in paths if p.suffix in (".gif", ".png", ".webp")}
stills = {n: v for n, v in stills.items() if v}
moving = {n: v for n, v in moving.items() if v}
versions = {"pypng": png.__version__, "tifffile": tifffile.__version__, "pillow": PIL.__version__, "numpy": np.__version__}
header = {"made_by": "reference/gen_deep_pictures.py", "versions": versions}
lines = lambda entries: ",\n".join(f" {json.dumps(n)}: {json.dumps(v)}" for n, v in entries.items())
out.write_text(f'{{"header": {json.dumps(header)}, "stills": {{\n{lines(stills)}\n}}, "moving": {{\n{lines(moving)}\n}}}}\n', encoding="utf-8")
