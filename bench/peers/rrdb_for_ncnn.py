"""RRDBNet written as ncnn reads it: pnnx needs more than 20 GB of memory to convert it.

Source: ncnn's operators and its binary format (docs/developer-guide of ncnn); activations are fused into the convolutions.
"""

import struct


def write(state, param, binary, blocks):
    """`state` has ESRGAN's old names: `model.1.sub.{block}.RDB{1..3}.conv{1..5}.0`."""
    lines, blobs, weights = [], 0, bytearray()
    uses = {}

    def layer(kind, sources, *settings):
        nonlocal blobs
        blobs += 1
        made = f"b{blobs}"
        lines.append([kind, f"l{len(lines)}", list(sources), [made], settings])
        for source in sources:
            uses.setdefault(source, []).append(len(lines) - 1)
        return made

    def conv(source, name, leaky=False):
        weight = state[f"{name}.weight"].float().contiguous()
        bias = state[f"{name}.bias"].float().contiguous()
        weights.extend(struct.pack("<I", 0) + weight.numpy().tobytes() + bias.numpy().tobytes())
        settings = [f"0={weight.shape[0]}", f"1={weight.shape[2]}", "4=1", "5=1", f"6={weight.numel()}"]
        return layer("Convolution", [source], *settings, *(["9=2", "-23310=1,2.0e-1"] if leaky else []))

    def sum_of(a, share, b):
        return layer("Eltwise", [a, b], "0=1", f"-23301=2,{share:e},1.0")

    lines.append(["Input", "in0", [], ["in0"], ()])
    first = x = conv("in0", "model.0")
    for block in range(blocks):
        start = x
        for part in (1, 2, 3):
            maps = [x]
            for step in (1, 2, 3, 4, 5):
                seen = maps[0] if step == 1 else layer("Concat", maps, "0=0")
                maps.append(conv(seen, f"model.1.sub.{block}.RDB{part}.conv{step}.0", leaky=step < 5))
            x = sum_of(maps[5], 0.2, x)
        x = sum_of(x, 0.2, start)
    x = sum_of(conv(x, f"model.1.sub.{blocks}"), 1.0, first)
    for name in ("model.3", "model.6"):
        x = conv(layer("Interp", [x], "0=1", "1=2.0", "2=2.0"), name, leaky=True)
    x = conv(conv(x, "model.8", leaky=True), "model.10")
    lines[-1][3] = ["out0"]

    # A map that is read several times is split.
    text, count = [], 0
    for kind, name, sources, made, settings in lines:
        text.append(f"{kind} {name} {len(sources)} {len(made)} {' '.join([*sources, *made, *settings])}")
        count += len(made)
        readers = uses.get(made[0], [])
        if len(readers) > 1:
            copies = [f"{made[0]}_{i}" for i in range(len(readers))]
            text.append(f"Split s_{made[0]} 1 {len(copies)} {made[0]} {' '.join(copies)}")
            count += len(copies)
            for reader, copy in zip(readers, copies):
                taken = lines[reader][2]
                taken[taken.index(made[0])] = copy
    binary.write_bytes(weights)
    param.write_text("\n".join(["7767517", f"{len(text)} {count}", *text]) + "\n")
