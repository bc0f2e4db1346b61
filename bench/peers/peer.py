"""One peer with one network, driven by lines as our own example is: `run THREADS`, `peak`.

usage: peer.py pytorch|compiled|openvino unet|vae|clip bf16|f32
OpenVINO's converted networks are kept in the folder that BENCH_CACHE names.
"""

import os
import sys
import time
from pathlib import Path

import torch

import networks


def pytorch(name, dtype, compiled):
    """As a careful user runs it: weights in the type, channels last, no gradients, diffusers' default SDPA attention."""
    net = networks.build(name).to(dtype)
    if name != "clip":
        net = net.to(memory_format=torch.channels_last)
    arguments = networks.inputs(name, dtype)
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

    cache = Path(os.environ["BENCH_CACHE"])
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{name}.xml"
    arguments = networks.inputs(name)
    if not path.exists():
        with torch.no_grad():
            model = ov.convert_model(networks.build(name), example_input=arguments)
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


def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def main():
    kind, name, precision = sys.argv[1:]
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[precision]
    run = openvino(name, dtype) if kind == "openvino" else pytorch(name, dtype, kind == "compiled")
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "run":
            seconds, out = run(int(words[1]))
            print(seconds, out.float().std().item(), flush=True)
        else:
            print(peak(), flush=True)


main()
