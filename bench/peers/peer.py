"""One peer with one network, driven by lines as our own example is: `run THREADS`, `peak`.

usage: peer.py pytorch|compiled|openvino|onnxruntime|ncnn NETWORK bf16|f32
Converted networks are kept in the folder that BENCH_CACHE names.
"""

import os
import sys
import time
from pathlib import Path

import torch

import networks
import upscalers


def built(name):
    return upscalers.loaded(name) if upscalers.is_one(name) else networks.build(name)


def given(name, dtype=torch.float32):
    return (upscalers if upscalers.is_one(name) else networks).inputs(name, dtype)


def cached(name):
    cache = Path(os.environ["BENCH_CACHE"])
    cache.mkdir(parents=True, exist_ok=True)
    return cache / name


def pytorch(name, dtype, compiled):
    """As a careful user runs it: weights in the type, channels last, no gradients, diffusers' default SDPA attention."""
    net = built(name).to(dtype)
    if name != "clip":
        net = net.to(memory_format=torch.channels_last)
    arguments = given(name, dtype)
    arguments = tuple(a.contiguous(memory_format=torch.channels_last) if a.dim() == 4 else a for a in arguments)
    if compiled:
        import torch._inductor.config as config

        config.freezing = True
        net = torch.compile(net)

    def run(threads):
        torch.set_num_threads(threads)
        with torch.inference_mode() if not compiled else torch.no_grad():
            start = time.perf_counter()
            out = net(*arguments)
            return time.perf_counter() - start, out

    return run


def openvino(name, dtype):
    """Converted from the torch module with static shapes, compiled once for each number of threads."""
    import openvino as ov

    path = cached(f"{name}.xml")
    arguments = given(name)
    if not path.exists():
        with torch.no_grad():
            model = ov.convert_model(built(name), example_input=arguments)
        model.reshape({port: list(a.shape) for port, a in zip(model.inputs, arguments)})
        ov.save_model(model, path, compress_to_fp16=True)
        del model
    core, compiled = ov.Core(), {}
    values = [a.numpy() for a in arguments]

    def run(threads):
        if threads not in compiled:
            compiled.clear()
            settings = {
                "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            }
            compiled[threads] = core.compile_model(str(path), "CPU", settings).create_infer_request()
        request = compiled[threads]
        start = time.perf_counter()
        out = request.infer(values, share_inputs=True, share_outputs=True)[0]
        return time.perf_counter() - start, torch.from_numpy(out)

    return run


def exported(name):
    path = cached(f"{name}.onnx")
    if not path.exists():
        torch.onnx.export(built(name), given(name), str(path), opset_version=17, dynamo=False)
    return path


def onnxruntime(name, dtype):
    """All optimisations of graphs; its processor kernels know no bf16."""
    import onnxruntime as ort

    if dtype != torch.float32:
        sys.exit("onnxruntime computes in f32 here")
    path, sessions = exported(name), {}
    values = [a.numpy() for a in given(name)]

    def run(threads):
        if threads not in sessions:
            sessions.clear()
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            sessions[threads] = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session = sessions[threads]
        names = [port.name for port in session.get_inputs()]
        start = time.perf_counter()
        out = session.run(None, dict(zip(names, values)))[0]
        return time.perf_counter() - start, torch.from_numpy(out)

    return run


def ncnn(name, dtype):
    """Converted by pnnx with static shapes (RRDBNet by us); packed layouts, Winograd and, for bf16, its bf16 storage."""
    import ncnn as library

    # pnnx makes its files' names of letters, digits and underscores.
    stem = name.replace("-", "_")
    param = cached(f"{stem}.ncnn.param")
    if not param.exists() and name.startswith("rrdb"):
        import rrdb_for_ncnn

        rrdb_for_ncnn.write(built(name).state_dict(), param, param.with_suffix(".bin"), blocks=23)
    elif not param.exists():
        import pnnx

        pnnx.export(built(name), str(cached(f"{stem}.pt")), given(name))
    value, nets = given(name)[0][0].numpy(), {}

    def run(threads):
        if threads not in nets:
            nets.clear()
            net = library.Net()
            net.opt.num_threads = threads
            net.opt.use_vulkan_compute = False
            net.opt.use_bf16_storage = dtype == torch.bfloat16
            net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
            net.load_param(str(param))
            net.load_model(str(param.with_suffix(".bin")))
            nets[threads] = net
        start = time.perf_counter()
        extractor = nets[threads].create_extractor()
        extractor.input("in0", library.Mat(value))
        _, out = extractor.extract("out0")
        return time.perf_counter() - start, torch.from_numpy(out.numpy().copy())

    return run


def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def main():
    kind, name, precision = sys.argv[1:]
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[precision]
    peers = {"openvino": openvino, "onnxruntime": onnxruntime, "ncnn": ncnn}
    run = peers[kind](name, dtype) if kind in peers else pytorch(name, dtype, kind == "compiled")
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "run":
            seconds, out = run(int(words[1]))
            print(seconds, out.float().std().item(), flush=True)
        else:
            print(peak(), flush=True)


main()
