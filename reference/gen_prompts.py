"""Golden values of the prompt grammar: a second implementation, written from the description of the dialects.

    python reference/gen_prompts.py [OUT]

Attention by intervals over a list of signs, scheduling by a backtracking descent with a memo, ComfyUI by recursion, chunks over
transformers' tokenizer with the small vocabulary of fixtures/reference/vocabulary. The Rust side uses stacks throughout.
"""
import json
import random
import re
import sys
from pathlib import Path

import transformers
from transformers import CLIPTokenizer

root = Path(__file__).parent.parent / "fixtures/reference"
out = Path(sys.argv[1] if len(sys.argv) > 1 else root / "prompts")


# Attention -------------------------------------------------------------------------------------------------------------------
def attention(text):
    signs, i = [], 0
    while i < len(text):
        number = re.compile(r":\s*([+-]?[.0-9]+)\s*\)").match(text, i)
        if text[i] == "\\" and text[i + 1 : i + 2] in ("(", ")", "[", "]", "\\") and i + 1 < len(text):
            signs.append(("text", text[i + 1]))
            i += 2
        elif number and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", number[1]):
            signs.append(("number", number[0], float(number[1])))
            i = number.end()
        elif text[i] in "()[]":
            signs.append((text[i], text[i]))
            i += 1
        elif text[i] in "\\:":
            signs.append(("text", text[i]))
            i += 1
        else:
            run = re.compile(r"[^\\()\[\]:]+").match(text, i)
            signs.append(("words", run[0]))
            i = run.end()
    pieces, rounds, squares, factors = [], [], [], []
    for sign in signs:
        kind = sign[0]
        if kind == "(":
            rounds.append(len(pieces))
        elif kind == "[":
            squares.append(len(pieces))
        elif kind in (")", "number") and rounds:
            factors.append((rounds.pop(), len(pieces), 1.1 if kind == ")" else sign[2]))
        elif kind == "]" and squares:
            factors.append((squares.pop(), len(pieces), 1 / 1.1))
        elif kind == "number":
            pieces += [":", sign[1][1:]]
        elif kind == "words":
            for n, part in enumerate(re.split(r"\s*\bBREAK\b\s*", sign[1])):
                if n:
                    pieces.append(None)
                pieces.append(part)
        else:
            pieces.append(sign[1])
    factors += [(start, len(pieces), 1.1) for start in rounds] + [(start, len(pieces), 1 / 1.1) for start in squares]
    result = []
    for index, piece in enumerate(pieces):
        weight = 1.0
        for start, end, factor in factors:
            if start <= index < end:
                weight *= factor
        if piece is None:
            result.append("BREAK")
        elif piece and result and result[-1] != "BREAK" and result[-1][1] == weight:
            result[-1][0] += piece
        elif piece:
            result.append([piece, weight])
    return result or [["", 1.0]]


# Scheduling ------------------------------------------------------------------------------------------------------------------
class Descent:
    """A bracket that does not parse is a plain sign; everything inside it is read again at the level above."""

    def __init__(self, text):
        self.text, self.memo = text, {}

    def whole(self):
        nodes, at = [], 0
        while at < len(self.text):
            more, end = self.run(at)
            nodes += more
            at = end
            if at < len(self.text):
                nodes.append(self.text[at])
                at += 1
        return nodes

    def run(self, at, bar=True):
        """As much well-formed prompt as there is; stops at a sign that it cannot be part of."""
        nodes = []
        while at < len(self.text):
            sign = self.text[at]
            if sign in "([":
                found = self.bracket(at)
                if found is None:
                    break
                nodes.append(found[0])
                at = found[1]
            elif sign in ")]:" or (sign == "|" and bar):
                break
            elif sign == "\\" and at + 1 < len(self.text):
                nodes.append(self.text[at : at + 2])
                at += 2
            else:
                nodes.append(sign)
                at += 1
        return nodes, at

    def bracket(self, at):
        if at not in self.memo:
            self.memo[at] = self.round(at) if self.text[at] == "(" else self.square(at)
        return self.memo[at]

    def sections(self, at, signs, bar):
        parts, between = [], []
        while True:
            nodes, at = self.run(at, bar)
            parts.append(nodes)
            if at >= len(self.text) or self.text[at] not in signs:
                return parts, between, at
            between.append(self.text[at])
            at += 1

    def round(self, at):
        parts, _, end = self.sections(at + 1, ":", False)
        if end >= len(self.text) or self.text[end] != ")" or len(parts) > 2:
            return None
        inner = parts[0] if len(parts) == 1 else parts[0] + [":"] + parts[1]
        return ("same", ["("] + inner + [")"]), end + 1

    def square(self, at):
        parts, between, end = self.sections(at + 1, ":|", True)
        if end >= len(self.text) or self.text[end] != "]":
            return None
        if not between:
            return ("same", ["["] + parts[0] + ["]"]), end + 1
        if ":" not in between:
            return ("turns", parts), end + 1
        last = parts[-1]
        number = "".join(last).strip() if all(isinstance(n, str) for n in last) else ""
        if "|" in between or len(parts) > 3 or not re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?", number):
            return None
        return ("change", parts[0] if len(parts) == 3 else [], parts[-2], number), end + 1


def ends_of(nodes, steps, before):
    for node in nodes:
        if isinstance(node, str):
            continue
        if node[0] == "same":
            yield from ends_of(node[1], steps, before)
        elif node[0] == "turns":
            yield from range(1, steps + 1)
            for part in node[1]:
                yield from ends_of(part, steps, before)
        else:
            yield last_step(node[3], steps, before)
            yield from ends_of(node[1] + node[2], steps, before)


def last_step(number, steps, before):
    if "." in number:
        value = (float(number) - (0 if before is None else 1)) * steps
    else:
        value = float(number) - (before or 0)
    return min(steps, int(value))


def write(nodes, step, steps, before):
    text = ""
    for node in nodes:
        if isinstance(node, str):
            text += node
        elif node[0] == "same":
            text += write(node[1], step, steps, before)
        elif node[0] == "turns":
            text += write(node[1][(step - 1) % len(node[1])], step, steps, before)
        else:
            text += write(node[1] if step <= last_step(node[3], steps, before) else node[2], step, steps, before)
    return text


def conjuncts(text):
    parts = re.split(r"\bAND\b", text)
    if len(parts) == 1:
        return [(text, 1.0)]
    found = []
    for part in parts:
        match = re.fullmatch(r"(.*?)(?:\s*:\s*([-+]?(?:\d+\.?\d*|\.\d+)))?\s*", part, re.S)
        found.append((match[1], float(match[2]) if match[2] else 1.0))
    return found


def plan(text, steps=20, before=None, negative=False):
    parts = [(text, 1.0)] if negative else conjuncts(text)
    trees = [(Descent(part).whole(), weight) for part, weight in parts]
    ends = sorted({steps} | {e for tree, _ in trees for e in ends_of(tree, steps, before) if e >= 1})
    spans = []
    for end in ends:
        held = [[weight, attention(write(tree, end, steps, before))] for tree, weight in trees]
        texts = [write(tree, end, steps, before) for tree, _ in trees]
        if spans and spans[-1][2] == texts:
            spans[-1][0] = end
        else:
            spans.append([end, held, texts])
    return [[end, held] for end, held, _ in spans]


# ComfyUI ---------------------------------------------------------------------------------------------------------------------
def comfy(text, weight=1.0, top=True):
    if top:
        text = text.replace("\\)", "\0\1").replace("\\(", "\0\2")
    items, current, level = [], "", 0
    for c in text:
        if c == "(" and level == 0:
            items.append(current)
            current = ""
        current += c
        level += {"(": 1, ")": -1}.get(c, 0)
        if c == ")" and level == 0:
            items.append(current)
            current = ""
    result = []
    for item in [i for i in items + [current] if i]:
        if len(item) > 1 and item[0] == "(" and item[-1] == ")":
            inner, own = item[1:-1], weight * 1.1
            words, colon, number = inner.rpartition(":")
            if words and re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", number):
                inner, own = words, float(number)
            result += comfy(inner, own, False)
        else:
            result.append([item.replace("\0\1", ")").replace("\0\2", "("), weight])
    return result or ([["", 1.0]] if top else [])


# Chunks ----------------------------------------------------------------------------------------------------------------------
def chunks_a1111(segments, tokenizer, room):
    comma = tokenizer.get_vocab().get(",</w>")
    done, tokens = [], []
    for segment in segments:
        if segment == "BREAK":
            done.append(tokens)
            tokens = []
            continue
        for token in tokenizer(segment[0], add_special_tokens=False)["input_ids"]:
            if len(tokens) == room:
                commas = [i for i, (t, _) in enumerate(tokens) if t == comma and room - i <= 20]
                cut = commas[-1] + 1 if commas and token != comma else room
                done.append(tokens[:cut])
                tokens = tokens[cut:]
            tokens.append((token, segment[1]))
    return done + [tokens] if tokens or not done else done


def chunks_comfy(segments, tokenizer, room):
    done, tokens = [], []
    for text, weight in segments:
        group = [(t, weight) for t in tokenizer(text, add_special_tokens=False)["input_ids"]]
        large = len(group) >= 8
        while group:
            free = room - len(tokens)
            if len(group) <= free:
                tokens, group = tokens + group, []
            else:
                if large or not tokens:
                    tokens, group = tokens + group[:free], group[free:]
                done.append(tokens)
                tokens = []
    return done + [tokens]


def closed(chunks, tokenizer, length):
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = []
    for chunk in chunks:
        ids = [bos] + [t for t, _ in chunk] + [eos]
        weights = [1.0] + [w for _, w in chunk] + [1.0]
        rows.append([ids + [pad] * (length - len(ids)), weights + [1.0] * (length - len(weights))])
    return rows


# Cases -----------------------------------------------------------------------------------------------------------------------
FIXED = r"""a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).
test
a [b:3]
a [b: 3]
a [[[b]]:2]
[(a:2):3]
a [b : c : 1] d
a[b:[c:d:2]:1]e
a [unbalanced
a [b:.5] c
((a][:b:c [d:3]
[a|(b:1.1)]
[fe|]male
[fe|||]male
a [b:1.5] c
[cat:dog:0.5] in [a|b|c] style
[from::7] x [to:0.25] [a:b:1.0] [a:b:0] [a:b:0.0] [a:b:-3] [a:b:99]
[[a|b]:[c|d]:4]
[a [x:y:2]|b]
(([a:b:0.5]:1.4) c [d:e]) f
[x:y:z] (q:1.2:3) [p|q:2]
a \(b\) \[c:d:3\] \\ [e\]f:g:2] \: (h\):1.5)
a BREAK b, (c BREAK d:1.3) BREAKING BREAK
BREAK
a cat AND a dog:0.5 AND [x:y:5] :1.2 AND (z:0.9) AND w:-1.
ratio 16:9
AND
a AND b AND
BAND AND HAND
a|b (c|d) [e:f:3] | g
(a:b:c) (a:1e3) (a:) (:1.2) () [] [:] [|] (:)
((((a)))) [[[[b]]]] )) ]] ((
\
(a\
a (b [c) d] e
[a:b:1e1] [a:b: 5 ] [a:b:+5] [a:b:5.] [ a : b : .3 ]
[(a|b):c:5] [a:(b [c):5]
两只(红色的:1.3)猫，[蓝天:夜空:0.5]
(x:1.2.3) (x:.) (x:+.5) (x: 2 )""".split("\n")
COMFY = FIXED + r"""(a (b:1.2):1.5) (a (b)) ((a:0.5) b)
a) (b) (c
(a:b:1.3) (a:x) (:1.2) (1.2) (a: 1.2 )
((a) (b) (c:0)) \(d\) (e\):2)
() (()) )( ())(() (a))((b)""".split("\n")
rng = random.Random(7)
ATOMS = ["[", "]", "(", ")", ":", "|", "[", "]", "(", ")", ":", "|", "a", "red cat", " ", ", ", "0.5", "3", "1.2", "\\", "\\(", " AND ", " BREAK ", ":1.3)", ":0.5]", ":4]", "[x|y]", "(z:1.4)", "[p:q:6]", "猫", "\n"]
noise = ["".join(rng.choice(ATOMS) for _ in range(rng.randrange(2, 25))) for _ in range(220)]

plans = [{"prompt": p, "steps": 10, "spans": plan(p, 10)} for p in FIXED + noise]
plans += [{"prompt": p, "steps": 10, "before": 10, "spans": plan(p, 10, before=10)} for p in FIXED[:20] + noise[:20]]
plans += [{"prompt": p, "steps": 7, "negative": True, "spans": plan(p, 7, negative=True)} for p in FIXED[:30]]
comfies = [{"prompt": p, "segments": comfy(p)} for p in COMFY + noise[:150]]

tokenizer = CLIPTokenizer.from_pretrained(str(root / "vocabulary"))
tokenizer.model_max_length = 10**6
LONG = ["a red cat, two blue dogs, " * 12, "one green tree beside a yellow house " * 9, "a (red cat:1.3), " * 20 + "BREAK" + " [three dogs], (fish)" * 12, "", "BREAK", "a BREAK BREAK b", ",,, " * 60, "两只红色的猫，" * 15, "cat" * 40 + ", " + "dog " * 90]
chunked = []
for text in LONG:
    for length in (12, 30, 77):
        a, c = attention(text), comfy(text)
        chunked.append({"prompt": text, "length": length, "a1111": closed(chunks_a1111(a, tokenizer, length - 2), tokenizer, length), "comfyui": closed(chunks_comfy(c, tokenizer, length - 2), tokenizer, length)})

out.mkdir(parents=True, exist_ok=True)
body = {"made_by": f"reference/gen_prompts.py; transformers {transformers.__version__}", "plans": plans, "comfyui": comfies, "chunks": chunked}
text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).replace('{"prompt"', '\n{"prompt"')
(out / "prompts.json").write_text(text + "\n")
print(len(plans), "plans", len(comfies), "comfyui", len(chunked), "chunked", len(text.encode()), "bytes")
