"""Golden ids of CLIP's tokenizer, by transformers' CLIPTokenizer.

    python reference/gen_tokenizer.py ASSETS [OUT]

ASSETS holds weights/tokenizers/{clip,clip_g}; OUT defaults to fixtures/reference/tokenizer. Only ids and hashes are
written, never the vocabulary. `first` is the tokenizer of CLIP L, `second` that of SDXL's second encoder (pads with "!").
"""
import hashlib
import json
import random
import shutil
import struct
import sys
import tempfile
import unicodedata
from pathlib import Path

import tokenizers
import transformers
from transformers import CLIPTokenizer

assets = Path(sys.argv[1]) / "weights/tokenizers"
out = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent.parent / "fixtures/reference/tokenizer")

PLAIN = """a photo of an astronaut riding a horse on mars
masterpiece, best quality, 1girl, solo, long hair, looking at viewer, (smile:1.2)
It's a cat, isn't it? They've gone; we'll see, I'm sure he'd know
DON'T SHOUT 'S 'T 'RE 'VE 'M 'LL 'D
don''t ''s ' s 'sx x's'sx
cinematic still, 35mm photograph, f/1.8, ISO 400, 8k uhd, --ar 16:9
hyperrealistic portrait of an old fisherman, by greg rutkowski, trending on artstation
1234567890 3.14159 1,000,000 ½ ² ³ ⅷ Ⅻ ① ٣ ३ 五
<lora:detail:0.8> [cat:dog:0.5] (a:1.1) {b} AND BREAK \\( \\)
C++ & C# -> x+y=z; a/b\\c | d ~ e ^ f ` g @h #i $5 50% _under_score_
https://example.org/path?query=1&b=2#frag user@example.com
supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis
两只红色的猫在蓝色背景上
水墨画，山水，高清，杰作，最佳质量
繁體中文：兩隻貓與一條龍在雲端飛翔
中文English混合text测试123
猫と犬が公園で遊んでいる、アニメ風
カタカナ ひらがな ﾊﾝｶｸ ヴ ヶ ー
고양이 두 마리가 창가에 앉아 있다
Кот сидит на окне, ЁЖИК в тумане
Γάτα στον ήλιο ΣΑΣ ΌΔΟΣ ς
قطة تجلس على النافذة שָׁלוֹם
बिल्ली खिड़की पर แมวนั่งบนหน้าต่าง con mèo
naïve café Ångström façade coöperate Zürich São Łódź Dvořák
ﬁne ﬂow ﬃ ß ẞ ŉ ǰ İstanbul ISTANBUL ı ſ K Å Ω
👨‍👩‍👧‍👦 family 👩🏽‍🚀 🏳️‍🌈 🇨🇳🇺🇸 1️⃣ #️⃣ ☃️ ❤️‍🔥
😀😃😄 ¡¿…—–''""«»‹› ©®™ €£¥ °C ∑∫√∞ ≠≤≥ →←↑↓ ★☆♥♪
<|startoftext|>hello<|endoftext|>
x<|endoftext|>y<|startoftext|>z
<|STARTOFTEXT|> A <|EndOfText|> B
-<|endoftext|>! <|startoftext|>! <|foo|> <| endoftext |>
<|endoftext <|endoftext|><|endoftext|>|endoftext|>
hello! hello!! !hello !!! ! a!b ！
   leading and   trailing   spaces\t\ttabs
""".splitlines()

ODD = [
    "", " ", "\n", "\t\n\r\v\f", "\u00a0\u2003\u3000x\u2028y\u2029z\u0085w\u1680", "a\x00b\x01\x02\x7f\x80\x9fc", "\ufeffbom\u200bzero\u200cwidth\u200djoin",
    "e\u0301 E\u0301 \u0065\u0301\u0323 \u0323\u0301 a\u0300\u0301\u0302\u0303\u0304", "\u1100\u1161\u11a8 \uac01", "\u0344 \u0958 \u2126 \u212b \ufb1d",
    "Z\u0335\u0321\u0322a\u0334l\u0336g\u0337o\u0338", "\u202ertl\u202c \u2066x\u2069", "\U0001d400\U0001d7d8\U0002f800\U00020000\U000e0041",
    "\ud7ff\ue000\ufffd\ufffe\uffff\U0010ffff", "x" * 500, "ab" * 400, "!" * 300, "'" * 99, "é" * 200, "猫" * 200, "👍" * 80, "a " * 200, "1" * 120,
    "'s" * 60, "<|" * 40, "the" * 150, "A" * 77, "\u0301" * 50, "İ" * 40, "ß" * 40, "a\u00adb soft\u00adhyphen", "tab\tnew\nline\r\nend",
]

WORDS = (
    "cat dog dragon castle mountain river sunset portrait oil painting watercolor sketch digital art neon cyberpunk fantasy forest ocean "
    "Woman MAN Children's red-haired blue_eyed 1girl 2boys solo, detailed; highly (intricate) [sharp] focus: bokeh! f/2.8 50mm 4k 8K "
    "unreal-engine v5 octane3d ArtStation don't they've café naïve 红色 蓝天 山水画 少女 かわいい 猫耳 고양이 красивая ночь 🌸 🐉 ✨ 👩‍🎨 ½ № … — “quoted” "
    "x² e=mc² #hashtag @name http://a.b/c?d=e&f 10,000 3.5 -1 +2 *star* ~tilde `tick` \\back /slash |pipe <tag> {brace}"
).split(" ")


def random_text(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice([" ", ", ", "  "]).join(rng.choice(WORDS) for _ in range(rng.randrange(1, 16)))
    if kind == 1:
        return "".join(chr(rng.randrange(0x20, 0x250)) for _ in range(rng.randrange(1, 40)))
    ranges = [(0x20, 0x7F), (0xA0, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2C00), (0x3000, 0x3400), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x1F000, 0x1FB00), (0x10000, 0x12000)]
    if kind == 2:
        low, high = rng.choice(ranges)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 30)))
    return "".join(rng.choice([rng.choice(WORDS), " ", "'", "\u0301", "\u200d", "\ufe0f", chr(rng.randrange(*rng.choice(ranges)))]) for _ in range(rng.randrange(1, 20)))


rng = random.Random(20261121)
texts = PLAIN + ODD + WORDS + [random_text(rng) for _ in range(230)]
texts = list(dict.fromkeys(t for t in texts if not any(0xD800 <= ord(c) < 0xE000 for c in t)))

with tempfile.TemporaryDirectory() as folder:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(assets / "clip" / name, folder)
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        shutil.copy(assets / "clip_g" / name, folder)
    first, second = CLIPTokenizer.from_pretrained(str(assets / "clip")), CLIPTokenizer.from_pretrained(folder)

cases = []
for text in texts:
    ids = first(text, add_special_tokens=False)["input_ids"]
    other = second(text, add_special_tokens=False)["input_ids"]
    case = {"text": text, "ids": ids, "decoded": first.decode(ids)}
    if other != ids:
        case["second"] = other
    cases.append(case)

padded = []
for text in ["", "a cat", "hello!", "two red cats on a blue background, " * 12]:
    for length in (8, 77):
        pad = lambda t: t(text, padding="max_length", max_length=length, truncation=True)["input_ids"]
        padded.append({"text": text, "length": length, "first": pad(first), "second": pad(second)})

# Every character between two letters, hashed over 65536 code points at a time: ids as little-endian u32, a row ends with 0xffffffff.
first.backend_tokenizer.no_padding()  # the padded cases above left it switched on
first.backend_tokenizer.no_truncation()
sweep = []
for plane in range(17):
    digest = hashlib.sha256()
    points = [c for c in range(plane << 16, (plane + 1) << 16) if not 0xD800 <= c < 0xE000]
    for encoding in first.backend_tokenizer.encode_batch([f"a{chr(c)}b" for c in points], add_special_tokens=False):
        digest.update(struct.pack(f"<{len(encoding.ids) + 1}I", *encoding.ids, 0xFFFFFFFF))
    sweep.append(digest.hexdigest())

out.mkdir(parents=True, exist_ok=True)
made_by = f"reference/gen_tokenizer.py; transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, Unicode {unicodedata.unidata_version}"
body = {"made_by": made_by, "max_length": first.model_max_length, "cases": cases, "padded": padded, "sweep": sweep}
lines = json.dumps(body, ensure_ascii=True, separators=(",", ":")).replace('{"text"', '\n{"text"').replace('"sweep"', '\n"sweep"')
(out / "clip.json").write_text(lines + "\n")
print(made_by, len(cases), "cases", sum("second" in c for c in cases), "differ for the second")
