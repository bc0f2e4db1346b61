"""Times our networks and the peers' side by side and prints ratios.

Every engine is a process of its own that is told by lines when to run; they take turns, round by round, so that a machine
that slows down slows all of them. What is compared are medians of the steady state. See run.sh for how it is started.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

import networks
import upscalers

NAMES = {
    "unet": "U-Net, latent 64x64",
    "vae": "VAE decode to 512x512",
    "clip": "CLIP-L, 77 tokens",
}
PEERS = {
    "pytorch": "PyTorch",
    "compiled": "PyTorch, compiled",
    "openvino": "OpenVINO",
    "onnxruntime": "onnxruntime",
    "ncnn": "ncnn",
}
# Evaluations of a turn that do not count and that do, and seconds after which a turn ends in any case.
WARMING = 3
MEASURED = 3
LONG = 2.0


class Engine:
    """A process that answers a line with a line."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended")
        return line.split()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def turn(self, threads):
        """Seconds of the evaluations of a turn that count: the first few warm caches and clocks, unless they take long."""
        # The threads of the engine before may spin for a while before they sleep.
        time.sleep(0.05)
        seconds = []
        while not seconds or len(seconds) < WARMING + MEASURED and sum(seconds) < LONG:
            seconds.append(self.run(threads))
        return seconds[WARMING:] or seconds[-1:]

    def run(self, threads):
        seconds, deviation = map(float, self.ask(f"run {threads}"))
        # Values that are not finite, or so small that they could be subnormal, would be timed for something else.
        if not 1e-3 < deviation < 1e3:
            sys.exit(f"{self.process.args} gave values with standard deviation {deviation}")
        return seconds

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(network, precision, arguments):
    """{threads: {engine: median seconds}}, {engine: peak MB}, (GFLOP/s, GB/s) of one core."""
    name = network
    if upscalers.is_one(network):
        name = f"{upscalers.weights(network)}:{network.split('-')[1]}"
    engines = {"danqing": Engine([arguments.ours, name, precision])}
    for peer in arguments.peers:
        if peer == "onnxruntime" and precision == "bf16":
            # Its processor kernels know no bf16.
            continue
        engines[peer] = Engine([sys.executable, str(HERE / "peers/peer.py"), peer, network, precision])
    for engine in engines.values():
        assert engine.answer() == ["ready"]
    times = {}
    for threads in arguments.threads:
        for engine in engines.values():
            engine.run(threads)
        rounds = {name: [] for name in engines}
        for i in range(arguments.rounds):
            order = list(engines) if i % 2 == 0 else list(reversed(engines))
            for name in order:
                rounds[name] += engines[name].turn(threads)
        times[threads] = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    ceiling = tuple(map(float, engines["danqing"].ask("ceiling")))
    peaks = {name: int(engine.ask("peak")[0]) for name, engine in engines.items()}
    for engine in engines.values():
        engine.close()
    return times, peaks, ceiling


def row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    listed = lambda kind: lambda text: [kind(word) for word in text.split(",")]
    parser.add_argument("--ours", required=True, help="our example `networks`")
    parser.add_argument("--networks", type=listed(str), default=list(NAMES))
    parser.add_argument("--precisions", type=listed(str), default=["bf16"])
    parser.add_argument("--peers", type=listed(str), default=["pytorch", "openvino"], help=", ".join(PEERS))
    parser.add_argument("--threads", type=listed(int), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    print("Times of a peer divided by ours: above 1 we are faster.\n")
    head = ["network", "precision", "threads", "ours"] + [f"{PEERS[p]}: time, ratio" for p in arguments.peers]
    row(head + ["our GFLOP/s", "of the multiply-add loop", "of the floor"])
    row(["---"] * (len(head) + 3))
    memory, slower = [], []
    for network in arguments.networks:
        family = upscalers if upscalers.is_one(network) else networks
        flops, parameters = family.work(network)
        title = upscalers.title(network) if upscalers.is_one(network) else NAMES[network]
        for precision in arguments.precisions:
            times, peaks, (rate, reading) = measure(network, precision, arguments)
            memory.append((title, precision, peaks))
            size = 2 if precision == "bf16" else 4
            for threads, seconds in times.items():
                ours = seconds["danqing"]
                # All multiply-adds at their loop's rate, or all weights once from memory, whichever is longer.
                floor = max(flops / (rate * 1e9 * threads), parameters * size / (reading * 1e9 * threads))
                cells = [title, precision, str(threads), f"{ours * 1e3:.1f} ms"]
                for peer in arguments.peers:
                    if peer not in seconds:
                        cells.append("-")
                        continue
                    ratio = seconds[peer] / ours
                    cells.append(f"{seconds[peer] * 1e3:.1f} ms, **{ratio:.2f}**")
                    if ratio < 1:
                        slower.append(f"{title}, {precision}, {threads} threads: {PEERS[peer]} {ratio:.2f}")
                speed = flops / ours / 1e9
                row(cells + [f"{speed:.0f}", f"{speed / rate / threads:.0%}", f"{floor / ours:.0%}"])
    print("\nMost memory of the process (VmHWM), MB\n")
    row(["network", "precision", "ours"] + [PEERS[p] for p in arguments.peers])
    row(["---"] * (3 + len(arguments.peers)))
    for title, precision, peaks in memory:
        row([title, precision, str(peaks["danqing"])] + [str(peaks.get(p, "-")) for p in arguments.peers])
    print("\nSlower than a peer: " + ("; ".join(slower) or "nowhere") + ".")


if __name__ == "__main__":
    main()
