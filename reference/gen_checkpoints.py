#!/usr/bin/env python3
"""Golden values of the checkpoint readers, made with torch, safetensors and numpy.

  python reference/gen_checkpoints.py [--assets FOLDER]

Writes
  fixtures/reference/checkpoints/torch_*.{pth,safetensors}   small torch.save files of every kind, and what torch reads from them
  fixtures/reference/checkpoints/types.safetensors           every stored type, written by the reference implementation
  fixtures/reference/checkpoints/assets.json                 with --assets: per-tensor sums of the real files
  fixtures/corpus/{pickle,zip,safetensors,index}/            sound and hostile inputs of the fuzz tests
Same versions give the same bytes, but for the stream form, which names storages by memory address.
"""

import argparse
import collections
import io
import json
import pickle
import pickletools
import struct
import sys
import zipfile
from pathlib import Path

import numpy
import safetensors
import safetensors.torch
import torch

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "fixtures/reference/checkpoints"
CORPUS = ROOT / "fixtures/corpus"
VERSIONS = {"generator": "reference/gen_checkpoints.py", "torch": torch.__version__, "safetensors": safetensors.__version__, "numpy": numpy.__version__}
# One note only: the order of several is not fixed.
NOTE = {"made_with": json.dumps(VERSIONS)}


def values():
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    return collections.OrderedDict(
        [
            ("plain.weight", torch.randn(2, 3, 2, 2)),
            ("plain.bias", torch.randn(2)),
            ("scalar", torch.tensor(3.25)),
            ("empty", torch.zeros(0, 4)),
            ("transposed", base.t()),
            ("shared.row", base[2]),
            ("shared.column", base[:, 1]),
            ("shared.block", base[1:3, 2:5]),
            ("expanded", torch.tensor([1.5, -2.0]).expand(3, 2)),
            ("half", torch.randn(5).half()),
            ("bfloat16", torch.randn(5).bfloat16()),
            ("double", torch.randn(3, dtype=torch.float64)),
            ("int64", torch.tensor([-(2**40), 7])),
            ("int32", torch.tensor([-5, 6], dtype=torch.int32)),
            ("int16", torch.tensor([-300, 6], dtype=torch.int16)),
            ("int8", torch.tensor([-128, 127], dtype=torch.int8)),
            ("uint8", torch.tensor([0, 255], dtype=torch.uint8)),
            ("bool", torch.tensor([True, False, True])),
            ("channels_last", torch.randn(1, 3, 2, 4).contiguous(memory_format=torch.channels_last)),
        ]
    )


class Inert:
    """Becomes a class that no reader knows."""

    def __init__(self):
        self.optimizer = {"lr": 1e-3, "betas": (0.9, 0.999)}


def expected(name, tensors):
    flat = {k: v.detach().contiguous().clone().to(torch.float64) for k, v in tensors.items()}
    safetensors.torch.save_file(flat, OUT / f"torch_{name}.safetensors", metadata=NOTE)


def torch_files():
    tensors = values()
    torch.save(tensors, OUT / "torch_archive.pth")
    torch.save(tensors, OUT / "torch_stream.pth", _use_new_zipfile_serialization=False)
    expected("archive", tensors)

    float8 = {"e4m3": torch.randn(9).to(torch.float8_e4m3fn), "e5m2": torch.randn(9).to(torch.float8_e5m2), "u16": torch.tensor([1, 65535], dtype=torch.uint16)}
    torch.save(float8, OUT / "torch_untyped.pth")
    expected("untyped", float8)

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False)))
    torch.save(module, OUT / "torch_module.pth")
    expected("module", module.state_dict())

    embedding = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.randn(2, 4))}), "name": "x", "step": 500}
    torch.save(embedding, OUT / "torch_embedding.pth")
    expected("embedding", {"string_to_token.*": torch.tensor(265), "string_to_param.*": embedding["string_to_param"]["*"]})

    trainer = {
        "epoch": 3,
        "state_dict": {"a": torch.randn(2, 2), "b": torch.nn.Parameter(torch.randn(3))},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(2, 2)}}, "param_groups": [{"params": [0]}]}],
        "callbacks": Inert(),
        "best": numpy.float64(0.5),
        "array": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        "sparse": torch.eye(2).to_sparse(),
    }
    for protocol in (2, 4):
        torch.save(trainer, OUT / f"torch_trainer{protocol}.pth", pickle_protocol=protocol)
    flat = {
        "state_dict.a": trainer["state_dict"]["a"],
        "state_dict.b": trainer["state_dict"]["b"],
        "optimizer_states.0.state.0.exp_avg": trainer["optimizer_states"][0]["state"][0]["exp_avg"],
        "array": torch.from_numpy(trainer["array"]),
    }
    expected("trainer", flat)


def all_types():
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
    types += [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64, torch.bool]
    torch.manual_seed(1)
    numbers = torch.tensor([0.0, 1.0, 0.5, 100.0, 3.7, 2.0**-9, 77.3])
    signed = torch.cat([numbers, -numbers])
    tensors, wanted = {}, {}
    for dtype in types:
        name = str(dtype).removeprefix("torch.")
        sign = dtype.is_floating_point or dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
        tensors[name] = (signed if sign else numbers).to(dtype)
        wanted[f"{name}.float32"] = tensors[name].to(torch.float32, copy=True)
        wanted[f"{name}.bfloat16"] = tensors[name].to(torch.float32).to(torch.bfloat16).clone()
    safetensors.torch.save_file(tensors | wanted, OUT / "types.safetensors", metadata=NOTE)


def flatten(value, path=""):
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for key, inner in enumerate(value):
            yield from flatten(inner, f"{path}.{key}" if path else str(key))


def asset_sums(assets):
    files = {}
    for path in sorted((assets / "weights").rglob("*")):
        relative = str(path.relative_to(assets))
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        elif path.suffix in (".pth", ".pt", ".ckpt"):
            tensors = dict(flatten(torch.load(path, map_location="cpu", weights_only=True)))
        else:
            continue
        # Sum, and sum weighted by position: a permuted tensor has the same sum.
        rows = {}
        for name, tensor in tensors.items():
            numbers = tensor.detach().to(torch.float32).to(torch.float64).contiguous().flatten()
            ramp = torch.arange(1, numbers.numel() + 1, dtype=torch.float64) / max(numbers.numel(), 1)
            rows[name] = [list(tensor.shape), float(numbers.sum()), float((numbers * ramp).sum())]
        # Ten tensors of a file, spread over its names, keep the fixture small.
        names = sorted(rows)
        picked = sorted({names[i * (len(names) - 1) // 9] for i in range(10)})
        files[relative] = {"count": len(rows), "tensors": {name: rows[name] for name in picked}}
    (OUT / "assets.json").write_text(json.dumps({"versions": VERSIONS, "files": files}, indent=1) + "\n")


def torch_zip(program, storages=(("0", b"\0" * 32),), method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in [("data.pkl", program), ("byteorder", b"little"), ("version", b"3\n"), *((f"data/{k}", v) for k, v in storages)]:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data, method)
    return buffer.getvalue()


def text(string):
    raw = string.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(number):
    return b"J" + struct.pack("<i", number) if -(2**31) <= number < 2**31 else b"\x8a\x08" + struct.pack("<q", number)


def tuple_of(*parts):
    return b"(" + b"".join(parts) + b"t"


def tensor_program(size=(2, 4), stride=(4, 1), offset=0, count=8, storage="FloatStorage", rebuild=b"ctorch._utils\n_rebuild_tensor_v2\n", extra=b""):
    persistent = tuple_of(text("storage"), f"ctorch\n{storage}\n".encode(), text("0"), text("cpu"), integer(count)) + b"Q"
    arguments = tuple_of(persistent, integer(offset), tuple_of(*map(integer, size)), tuple_of(*map(integer, stride)), b"\x89", b"ccollections\nOrderedDict\n)R", extra)
    return b"\x80\x02}" + text("w") + rebuild + arguments + b"Rs."


def pickle_corpus():
    sound = {
        "sound_tensor": tensor_program(),
        "sound_parameter": tensor_program().replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n")[:-3] + b"R\x88NtRs.",
    }
    for protocol in range(6):
        sound[f"sound_protocol{protocol}"] = pickle.dumps(
            {"a": [1, -2, 2**70, 1.5, None, True], "b": ("x\u4e2d", b"\x00\xff", {3, 4}, frozenset([5])), "c": collections.OrderedDict(k="v"), "n": numpy.arange(3)},
            protocol=protocol,
        )
    hostile = {
        "os_system": b"cos\nsystem\n(S'echo harm'\ntR.",
        "os_system_by_stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09echo harm\x85R.",
        "eval_in_state": b"\x80\x02}" + text("w") + b"cbuiltins\neval\n" + text("1") + b"\x85Rs.",
        "instance": b"(S'echo harm'\nios\nsystem\n.",
        "marked_object": b"(cos\nsystem\nS'echo harm'\no.",
        "memo_bomb": b"\x80\x02]" + b"q\x00" + b"h\x00a" * 200 + b".",
        "self_dictionary": b"\x80\x02}q\x00" + text("k") + b"h\x00s.",
        "doubling_tuple": b"\x80\x02)" + b"2\x86" * 400 + b".",
        "doubling_dictionary": b"\x80\x02}q\x00" + b"".join(b"}q" + bytes([i]) + b"(" + text("a") + b"h" + bytes([i - 1]) + text("b") + b"h" + bytes([i - 1]) + b"u" for i in range(1, 60)) + b".",
        "huge_binunicode": b"\x80\x02X\xff\xff\xff\xff.",
        "huge_binunicode8": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
        "huge_binbytes": b"\x80\x03B\xff\xff\xff\xff.",
        "huge_bytearray": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "huge_long4": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "deep_marks": b"\x80\x02" + b"(" * 5000 + b"t" * 5000 + b".",
        "deep_lists": b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".",
        "empty_stack": b"\x80\x020.",
        "no_stop": b"\x80\x02]",
        "unknown_opcode": b"\x80\x02\xff.",
        "extension": b"\x80\x02\x82\x01.",
        "negative_shape": tensor_program(size=(-1, 4)),
        "negative_stride": tensor_program(stride=(-4, 1)),
        "negative_offset": tensor_program(offset=-1),
        "huge_shape": tensor_program(size=(2**62, 2**62)),
        "huge_expanded": tensor_program(size=(2**40,), stride=(0,)),
        "huge_stride": tensor_program(stride=(2**62, 2**62)),
        "out_of_bounds": tensor_program(offset=1),
        "too_few_elements": tensor_program(count=7),
        "too_many_elements": tensor_program(count=2**61),
        "unknown_storage": tensor_program(storage="SecretStorage"),
        "quantised": tensor_program(rebuild=b"ctorch._utils\n_rebuild_qtensor\n"),
        "short_arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        "short_storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + tuple_of(text("storage")) + b"QK\x00)))tR.",
        "parameter_of_itself": b"\x80\x02ctorch._utils\n_rebuild_parameter\n]q\x00h\x00aR.",
    }
    for name, program in (sound | hostile).items():
        write(CORPUS / "pickle" / f"{name}.pkl", program)
    return sound | hostile


def zip_corpus(programs):
    sound = torch_zip(programs["sound_tensor"])
    write(CORPUS / "zip" / "sound.pth", sound)
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(4.0)}, buffer)
    write(CORPUS / "zip" / "sound_torch.pth", buffer.getvalue())
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(4.0), "b": torch.arange(3)}, buffer, _use_new_zipfile_serialization=False)
    write(CORPUS / "zip" / "sound_stream.pth", buffer.getvalue())
    write(CORPUS / "zip" / "sound_zip64.pth", wide_zip(programs["sound_tensor"]))
    write(CORPUS / "zip" / "compressed.pth", torch_zip(programs["sound_tensor"], method=zipfile.ZIP_DEFLATED))
    buffer = io.BytesIO(sound)
    with zipfile.ZipFile(buffer, "a") as archive:  # as TorchScript keeps its source
        archive.writestr(zipfile.ZipInfo("archive/code/x.py"), b"x = 1\n" * 20, zipfile.ZIP_DEFLATED)
    write(CORPUS / "zip" / "sound_with_source.pth", buffer.getvalue())
    write(CORPUS / "zip" / "cut.pth", sound[:-1])
    write(CORPUS / "zip" / "other_local_name.pth", sound.replace(b"archive/data/0", b"archive/data/1", 1))
    write(CORPUS / "zip" / "overlapping.pth", overlapping(sound))
    write(CORPUS / "zip" / "empty.pth", b"PK\5\6" + b"\0" * 18)
    write(CORPUS / "zip" / "no_pickle.pth", torch_zip(b"").replace(b"data.pkl", b"data.pk_"))
    write(CORPUS / "zip" / "small_storage.pth", torch_zip(programs["sound_tensor"], storages=(("0", b"\0" * 31),)))


def wide_zip(program):
    """As archives beyond 4 GiB are written: all sizes and offsets in ZIP64 fields."""
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 16
    try:
        return torch_zip(program)
    finally:
        zipfile.ZIP64_LIMIT = limit


def overlapping(sound):
    """Two directory entries that lead to the same local header."""
    at = sound.rindex(b"PK\1\2")
    entry = sound[at : sound.rindex(b"PK\5\6")]
    end = bytearray(sound[sound.rindex(b"PK\5\6") :])
    count, = struct.unpack_from("<H", end, 8)
    size, = struct.unpack_from("<I", end, 12)
    struct.pack_into("<HHI", end, 8, count + 1, count + 1, size + len(entry))
    return sound[: at + len(entry)] + entry.replace(b"archive/data/0", b"archive/data/9") + bytes(end)


def safetensors_corpus():
    def raw(header, data=b""):
        body = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
        return struct.pack("<Q", len(body)) + body + data

    def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
        return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}

    cases = {
        "sound": safetensors.torch.save({"a": torch.arange(4.0), "b": torch.tensor([1, 2], dtype=torch.uint8)}, metadata={"note": "x"}),
        "sound_empty": raw({}),
        "sound_zero_size": raw({"a": tensor(shape=(0,), offsets=(0, 0)), "b": tensor()}, b"\0" * 4),
        "duplicate_name": raw(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "duplicate_field": raw(b'{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "duplicate_metadata": raw(b'{"__metadata__":{},"__metadata__":{}}'),
        "duplicate_note": raw(b'{"__metadata__":{"a":"x","a":"y"}}'),
        "leading_space": raw(b' {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "overlap": raw({"a": tensor(), "b": tensor(offsets=(2, 6))}, b"\0" * 6),
        "hole": raw({"a": tensor(), "b": tensor(offsets=(8, 12))}, b"\0" * 12),
        "tail": raw({"a": tensor()}, b"\0" * 5),
        "cut": raw({"a": tensor()}, b"\0" * 3),
        "reversed_offsets": raw({"a": tensor(offsets=(4, 0))}, b"\0" * 4),
        "wrong_size": raw({"a": tensor(shape=(2,))}, b"\0" * 4),
        "shape_overflow": raw({"a": tensor(shape=(2**62, 2**62, 4))}, b"\0" * 4),
        "shape_overflow_hidden_by_zero": raw({"a": tensor(shape=(2**62, 2**62, 0), offsets=(0, 0))}),
        "negative_shape": raw(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"\0" * 4),
        "float_shape": raw(b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', b"\0" * 4),
        "unknown_type": raw({"a": tensor(dtype="Q4")}, b"\0" * 4),
        "unread_type_of_wrong_size": raw({"a": tensor(dtype="F4", shape=(9,))}, b"\0" * 4),
        "sound_unread_type": raw({"a": tensor(dtype="F4", shape=(8,)), "b": tensor(offsets=(4, 8))}, b"\0" * 8),
        "unknown_field": raw({"a": tensor() | {"extra": 1}}, b"\0" * 4),
        "metadata_not_text": raw(b'{"__metadata__":{"a":1}}'),
        "header_beyond_file": struct.pack("<Q", 1 << 20) + b"{}",
        "header_huge": struct.pack("<Q", 2**63) + b"{}",
        "short": b"\x02\0\0",
        "deep": raw(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        "not_utf8": raw(b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "second_value": raw(b"{}{}"),
    }
    for name, data in cases.items():
        write(CORPUS / "safetensors" / f"{name}.safetensors", data)


def index_corpus():
    cases = {
        "sound": '{"metadata":{"total_size":16},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}',
        "parent": '{"weight_map":{"a":"../secret.safetensors"}}',
        "absolute": '{"weight_map":{"a":"/etc/passwd"}}',
        "backslash": '{"weight_map":{"a":"..\\\\secret"}}',
        "duplicate": '{"weight_map":{"a":"x","a":"y"}}',
        "no_map": '{"metadata":{}}',
        "wrong_types": '{"weight_map":{"a":1}}',
        "deep": '{"metadata":' + "[" * 500 + "]" * 500 + ',"weight_map":{}}',
    }
    for name, data in cases.items():
        write(CORPUS / "index" / f"{name}.json", data.encode())


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, help="folder of real weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    torch_files()
    all_types()
    programs = pickle_corpus()
    zip_corpus(programs)
    safetensors_corpus()
    index_corpus()
    if options.assets:
        asset_sums(options.assets)
    for name, program in programs.items():
        if name.startswith("sound"):
            pickletools.dis(program, out=io.StringIO())
    print("wrote", OUT, "with", VERSIONS, file=sys.stderr)


if __name__ == "__main__":
    main()
