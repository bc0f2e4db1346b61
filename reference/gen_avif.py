"""Small AVIF files of every kind that is read, and their pixels as libavif (in Pillow and imagecodecs) decodes them.

    python reference/gen_avif.py [OUT]

OUT defaults to fixtures/reference/avif. Writes <name>.avif and values.safetensors: for each name [height, width, channels] as
uint8, or int16 where the file has more than 8 bits, upright, with alpha that is not multiplied in.
"""
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps, features
from safetensors.numpy import save_file

out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/reference/avif")
out.mkdir(parents=True, exist_ok=True)
HEIGHT, WIDTH = 27, 38
values = {}


def picture(channels, top):
    """Colours that change slowly, so that filters of halved planes agree, with an odd corner that tells every turn."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / [[[HEIGHT]], [[WIDTH]]]
    planes = [0.1 + 0.8 * x, 0.9 - 0.7 * y, 0.5 + 0.4 * np.sin(3 * (x + y)), 0.25 + 0.7 * x * y]
    grey = [0.2 + 0.5 * x + 0.25 * y]
    chosen = {1: grey, 2: grey + planes[3:], 3: planes[:3], 4: planes}[channels]
    pixels = np.rint(np.stack(chosen, -1) * top)
    pixels[:6, :9] = pixels[:6, :9] // 4
    return pixels.astype(np.uint8 if top < 256 else np.uint16)


def kept(name, path):
    """Writes down what Pillow sees."""
    with Image.open(path) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image))
    values[name] = np.ascontiguousarray(np.atleast_3d(pixels))


def with_pillow(name, channels=3, **options):
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    pixels = picture(channels, 255)
    path = out / f"{name}.avif"
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    image.save(path, **{"quality": 95, "subsampling": "4:4:4", "max_threads": 1, **options})
    kept(name, path)


def with_imagecodecs(name, channels, bits, **options):
    pixels = picture(channels, 2**bits - 1)
    pixels = pixels[..., 0] if channels == 1 else pixels
    data = imagecodecs.avif_encode(pixels, level=95, bitspersample=bits, numthreads=1, **options)
    (out / f"{name}.avif").write_bytes(data)
    values[name] = np.ascontiguousarray(np.atleast_3d(imagecodecs.avif_decode(data)))


def boxes(data, at, end):
    while at < end:
        size = struct.unpack_from(">I", data, at)[0]
        yield data[at + 4 : at + 8], at, size
        at += size


def with_property(name, source, kind, inside):
    """Gives the first item of a file one more property, which no writer at hand writes."""
    data = bytearray((out / f"{source}.avif").read_bytes())
    box = struct.pack(">I4s", 8 + len(inside), kind) + inside
    find = lambda kind, start, end: next((at, size) for k, at, size in boxes(data, start, end) if k == kind)
    meta, meta_size = find(b"meta", 0, len(data))
    iprp, iprp_size = find(b"iprp", meta + 12, meta + meta_size)
    ipco, ipco_size = find(b"ipco", iprp + 8, iprp + iprp_size)
    ipma, ipma_size = find(b"ipma", iprp + 8, iprp + iprp_size)
    iloc, _ = find(b"iloc", meta + 12, meta + meta_size)
    number = sum(1 for _ in boxes(data, ipco + 8, ipco + ipco_size)) + 1
    grown = len(box) + 1
    # Version 0 with four bytes for offsets and lengths, one extent each, as libavif writes it.
    assert data[iloc + 8] == 0 and data[iloc + 12] == 0x44 and data[ipma + 8] == 0 and data[ipma + 11] == 0
    for i in range(struct.unpack_from(">H", data, iloc + 14)[0]):
        at = iloc + 16 + 14 * i + 6
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + grown)
    for at, size in ((meta, meta_size), (iprp, iprp_size)):
        struct.pack_into(">I", data, at, size + grown)
    struct.pack_into(">I", data, ipco, ipco_size + len(box))
    struct.pack_into(">I", data, ipma, ipma_size + 1)
    count = data[ipma + 18]
    data[ipma + 18] = count + 1
    # Later bytes first, so that the places of the earlier ones hold.
    data[ipma + 19 + count : ipma + 19 + count] = bytes([0x80 | number])
    data[ipco + ipco_size : ipco + ipco_size] = box
    (out / f"{name}.avif").write_bytes(data)


for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
    for extent in ("full", "limited"):
        with_pillow(f"rgb_{subsampling.replace(':', '')}_{extent}", subsampling=subsampling, range=extent)
with_pillow("grey_full", channels=1, subsampling="4:0:0")
with_pillow("grey_limited", channels=1, subsampling="4:0:0", range="limited")
with_pillow("alpha", channels=4)
with_pillow("alpha_multiplied", channels=4, alpha_premultiplied=True)
with_pillow("profile", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
words = Image.Exif()
words[271] = "danqing"
with_pillow("words", exif=words, xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
for orientation in range(2, 9):
    turned = Image.Exif()
    turned[274] = orientation
    with_pillow(f"turned_{orientation}", exif=turned)
for bits in (10, 12):
    for name, channels, pixelformat in (("rgb_444", 3, "444"), ("rgb_422", 3, "422"), ("rgb_420", 3, "420"), ("grey", 1, "400"), ("alpha", 4, "444")):
        with_imagecodecs(f"{name}_{bits}", channels, bits, pixelformat=pixelformat)
with_imagecodecs("wide_10", 3, 10, pixelformat="444", primaries=9, transfer=16, matrix=9)
with_imagecodecs("bt709", 3, 8, pixelformat="444", primaries=1, transfer=13, matrix=1)
with_imagecodecs("identity", 3, 8, pixelformat="444", primaries=1, transfer=13, matrix=0)

# The middle 24x18 of the picture, three columns right of the middle and half a row below it.
with_property("cropped", "rgb_444_full", b"clap", struct.pack(">IIIIiIiI", 24, 1, 18, 1, 3, 1, 1, 2))
values["cropped"] = np.ascontiguousarray(values["rgb_444_full"][5:23, 10:34])
with_property("cropped_and_turned", "turned_6", b"clap", struct.pack(">IIIIiIiI", 24, 1, 18, 1, 3, 1, 1, 2))
# It is cropped first.
stored = np.rot90(values["turned_6"])
values["cropped_and_turned"] = np.ascontiguousarray(np.rot90(stored[5:23, 10:34], -1))

versions = f"Pillow {PIL.__version__} (libavif {features.version('avif')}), imagecodecs {imagecodecs.__version__}, numpy {np.__version__}"
values = {name: v if v.dtype == np.uint8 else v.astype(np.int16) for name, v in values.items()}
save_file(values, out / "values.safetensors", metadata={"script": "gen_avif.py", "versions": versions})
print({name: (v.shape, str(v.dtype)) for name, v in values.items()})
