"""Builds data/glossary/zh-en.tsv from own entries and Unicode CLDR's names of emoji.

    npm pack cldr-annotations-full cldr-annotations-derived-full     (and unpack both)
    python reference/gen_glossary.py ANNOTATIONS DERIVED

ANNOTATIONS and DERIVED are the unpacked `package` folders. Own entries (data/glossary/own.txt) come first and win. CLDR gives a
word where an emoji has a Chinese name of two to eight Han characters and an English name of plain words. Traditional characters
come from data/glossary/traditional.txt and from CLDR's zh-Hant names that differ from the zh name in single characters.
"""
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

annotations, derived = Path(sys.argv[1]), Path(sys.argv[2])
folder = Path(__file__).parent.parent / "data/glossary"
HAN = r"[\u3400-\u9fff\u3007]"

rows, seen = [], set()


def add(chinese, english, code):
    key = (chinese.lower(), code == "m")
    if key not in seen and 0 < len(chinese) <= 16:
        seen.add(key)
        rows.append((chinese, english, code))


code = None
for number, line in enumerate((folder / "own.txt").read_text().splitlines(), 1):
    if line.startswith("["):
        code = line.strip("[]")
    elif line and not line.startswith("#"):
        for entry in filter(None, (part.strip() for part in line.split(";"))):
            words, _, english = entry.partition("=")
            if code not in "xm" and not english.strip():
                sys.exit(f"own.txt line {number}: {entry!r} has no English")
            for word in words.split(","):
                add(word.strip(), english.strip(), code)
add("的", "", "x")
add("被", "", "x")
own = len(rows)


def names(locale):
    found = {}
    for root, kind in ((annotations / "annotations", "annotations"), (derived / "annotationsDerived", "annotationsDerived")):
        path = root / locale / "annotations.json"
        for sign, entry in json.loads(path.read_text())[kind]["annotations"].items():
            if entry.get("tts"):
                found[sign] = entry["tts"][0]
    return found


zh, hant, en = names("zh"), names("zh-Hant"), names("en")
for sign, chinese in sorted(zh.items()):
    english = en.get(sign, "")
    if english.startswith("flag: ") and ": " in chinese:
        chinese, english, code = chinese.split(": ", 1)[1], english[6:], "u"
    else:
        code = "n"
    english = english.replace("’", "'").replace("“", "").replace("”", "")
    if not re.fullmatch(HAN + "{2,8}", chinese) or not re.fullmatch(r"[A-Za-z][A-Za-z '.&-]*", english) or len(english) > 40:
        continue
    if re.search(r"(button|symbol|sign|mark|brackets?|arrow|selector)$", english) or chinese in ("标志", "男人女人"):
        continue
    plural = re.search(r"(s|people|clothes|hair)$", english) and not english.endswith(("ss", "us", "is"))
    code = "u" if plural else ("b" if re.match(r"(wo)?(man|person|boy|girl)\b", english) else code)
    add(chinese, english, code)

pairs = {}
votes = defaultdict(Counter)
simple = set("".join(zh.values())) | set("".join(word for word, _, _ in rows))
for sign, chinese in zh.items():
    other = hant.get(sign, "")
    if len(other) == len(chinese) and sum(a != b for a, b in zip(chinese, other)) * 2 <= len(chinese):
        for a, b in zip(other, chinese):
            if a != b and re.fullmatch(HAN, a) and re.fullmatch(HAN, b) and a not in simple:
                votes[a][b] += 1
for a, count in votes.items():
    b, n = count.most_common(1)[0]
    if n >= 2 and n * 4 >= sum(count.values()) * 3:
        pairs[a] = b
for line in (folder / "traditional.txt").read_text().splitlines():
    if not line.startswith("#"):
        for pair in line.split():
            if len(pair) != 2:
                sys.exit(f"traditional.txt: {pair!r} is no pair")
            if pair[0] != pair[1]:
                pairs[pair[0]] = pair[1]

version = json.loads((annotations / "package.json").read_text())["version"]
header = f"""# Chinese-English glossary. Chinese, English, class (README.md); class s: a traditional character and its simplified form.
# Built by reference/gen_glossary.py: {own} own entries, {len(rows) - own} from Unicode CLDR {version} (Unicode-3.0, see NOTICE).
"""
body = "".join(f"{c}\t{e}\t{k}\n" for c, e, k in rows) + "".join(f"{a}\t{b}\ts\n" for a, b in sorted(pairs.items()))
(folder / "zh-en.tsv").write_text(header + body)
print(own, "own,", len(rows) - own, "CLDR,", len(pairs), "characters")
