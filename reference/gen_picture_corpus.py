"""Tiny picture files with text, EXIF, XMP and ICC blocks: the sound inputs that the fuzz test of picture metadata breaks.

    python reference/gen_picture_corpus.py [OUT]

OUT defaults to fixtures/corpus/picture-metadata.
"""
import sys
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin

out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/corpus/picture-metadata")
out.mkdir(parents=True, exist_ok=True)

INFOTEXT = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 4x3"
GRAPH = '{"3":{"class_type":"KSampler","inputs":{"seed":5,"steps":20,"cfg":8,"positive":["6",0],"latent_image":["5",0]}},"6":{"class_type":"CLIPTextEncode","inputs":{"text":"fox"}}}'
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description Iptc4xmpExt:DigitalSourceType="http://x/y"/></rdf:RDF></x:xmpmeta>'

picture = Image.new("RGB", (4, 3))
picture.putdata([(i * 20, 255 - i * 20, i * 7 % 256) for i in range(12)])
exif = Image.Exif()
exif[ExifTags.Base.Orientation] = 6
exif[ExifTags.Base.Make] = "prompt:" + GRAPH
exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")

text = PngImagePlugin.PngInfo()
text.add_text("parameters", INFOTEXT)
text.add_text("prompt", GRAPH, zip=True)
text.add_itxt("Comment", '{"uc": "狗", "scale": 5}', zip=True)
text.add_itxt("XML:com.adobe.xmp", XMP)
picture.save(out / "text.png", pnginfo=text, exif=exif, icc_profile=b"profile" * 9)
invoke = PngImagePlugin.PngInfo()
invoke.add_text("Dream", '"a cat [dog]" -s 50 -S 1 -W 4 -H 3 -C 5 -A k_lms')
invoke.add_text("invokeai_metadata", '{"positive_prompt":"cat","seed":3,"model":{"model_name":"m"}}')
picture.convert("RGBA").save(out / "invoke.png", pnginfo=invoke)
picture.save(out / "exif.jpg", exif=exif, xmp=XMP.encode(), icc_profile=b"profile" * 9, comment="hello", quality=50)
picture.save(out / "exif.webp", exif=exif, xmp=XMP.encode(), icc_profile=b"profile" * 9, lossless=True)
picture.save(out / "lossy.webp", quality=50)
picture.quantize(4).save(out / "comment.gif", comment=INFOTEXT.encode())
picture.save(out / "tags.tiff", exif=exif, icc_profile=b"profile" * 9, compression="tiff_lzw")
picture.save(out / "plain.bmp")
picture.convert("RGBA").save(out / "words.avif", exif=exif, xmp=XMP.encode(), icc_profile=b"profile" * 9, quality=50, max_threads=1)
picture.convert("L").save(out / "grey.avif", quality=50, subsampling="4:0:0", max_threads=1)
