"""A small vocabulary trained by the plain definition of byte-pair encoding, and transformers' ids with it.

    python reference/gen_vocabulary.py [OUT]

The definition: count all pairs anew, merge the most frequent one (ties: smaller ids), repeat. Also the vocabulary of tests that
have no other.
"""
import itertools
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import transformers
from transformers import CLIPTokenizer

out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/reference/vocabulary")
ENTRIES, LEAST, WIDE = 900, 2, 1

colours = [("red", "红色的"), ("blue", "蓝色的"), ("green", "绿色的"), ("yellow", "黄色的"), ("black", "黑色的"), ("white", "白色的")]
things = [("cat", "cats", "只", "猫"), ("dog", "dogs", "只", "狗"), ("tree", "trees", "棵", "树"), ("house", "houses", "座", "房子"), ("flower", "flowers", "朵", "花"), ("car", "cars", "辆", "汽车"), ("star", "stars", "颗", "星星"), ("fish", "fish", "条", "鱼")]
numbers = [("one", "一"), ("two", "两"), ("three", "三"), ("four", "四")]
places = [("on a {} background", "在{}背景上"), ("beside a {} tree", "在{}树旁边"), ("under a {} sky, it's night", "在{}天空下，夜晚")]
corpus = []
for i, ((n, zn), (c, zc), (t, ts, m, zt)) in enumerate(itertools.product(numbers, colours, things)):
    (c2, zc2), (p, zp) = colours[(i * 5 + 1) % 6], places[i % 3]
    corpus.append((f"{n if n != 'one' else 'a'} {c} {t if n == 'one' else ts} " + p.format(c2), 1 + i % 4))
    corpus.append((f"{zn}{m}{zc}{zt}" + zp.format(zc2), 1 + i % 3))
corpus += [("A photo of a café, naïve art 3D 🐱🐶", 7), ("isn't it? they've, I'm!!", 3)]
texts = ["two red cats on a blue background", "两只红色的猫在蓝色背景上", "A REDDISH dog, a starfish & greenhouse", "purple elephants", "café 🐱 naïve 🐭", "", "they've 42 stars!!!", "紫色的大象", "<|startoftext|>cat<|endoftext|>", "houses" * 20]

order = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or 0xAE <= b]
shown = {b: chr(b) for b in order}
for b in range(256):
    if b not in shown:
        shown[b] = chr(256 + len(shown) - 188)
        order.append(b)
names = [shown[b] for b in order] + [shown[b] + "</w>" for b in order]
raw = [bytes([b]) for b in order] * 2

with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "vocab.json").write_text(json.dumps({n: i for i, n in enumerate(names + ["<|startoftext|>", "<|endoftext|>"])}))
    (Path(folder) / "merges.txt").write_text("#version: 0.2\n")
    bare = CLIPTokenizer.from_pretrained(folder).backend_tokenizer
    split = lambda text: [w for w, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(text))]

counts = Counter()
for text, count in corpus:
    for word in split(text):
        counts[word] += count
index = {n: i for i, n in enumerate(names)}
words = [([index[c] for c in word[:-1]] + [index[word[-1] + "</w>"]], count) for word, count in counts.items()]


def allowed(pair):
    joined = raw[pair[0]] + raw[pair[1]]
    leads = [i for i, b in enumerate(joined) if b >= 0xE0]
    starts_inside = joined[0] & 0xC0 == 0x80
    return len(leads) + (1 if leads and starts_inside else 0) <= WIDE


merges = []
while len(names) + 2 < ENTRIES:
    pairs = Counter()
    for symbols, count in words:
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += count
    pairs = {p: c for p, c in pairs.items() if c >= LEAST and allowed(p)}
    if not pairs:
        break
    best = min(pairs, key=lambda p: (-pairs[p], p))
    merges.append((names[best[0]], names[best[1]]))
    new = len(names)
    names.append(names[best[0]] + names[best[1]])
    raw.append(raw[best[0]] + raw[best[1]])
    for symbols, _ in words:
        i = 0
        while i + 1 < len(symbols):
            if (symbols[i], symbols[i + 1]) == best:
                symbols[i : i + 2] = [new]
            i += 1
names += ["<|startoftext|>", "<|endoftext|>"]

out.mkdir(parents=True, exist_ok=True)
(out / "vocab.json").write_text("{\n" + ",\n".join(f"{json.dumps(n, ensure_ascii=False)}: {i}" for i, n in enumerate(names)) + "\n}\n")
(out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
with tempfile.TemporaryDirectory() as folder:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(out / name, folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
cases = [{"text": t, "ids": tokenizer(t, add_special_tokens=False)["input_ids"]} for t in texts + [t for t, _ in corpus[::17]]]
made_by = f"reference/gen_vocabulary.py; transformers {transformers.__version__}"
body = {"made_by": made_by, "entries": ENTRIES, "least_count": LEAST, "wide_characters": WIDE, "corpus": corpus, "cases": cases}
(out / "vocabulary.json").write_text(json.dumps(body, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[") + "\n")
print(made_by, len(names), "entries", len(cases), "cases")
