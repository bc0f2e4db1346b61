#!/usr/bin/env bash
# Speed of the networks of Stable Diffusion 1.5 against PyTorch and OpenVINO, measured side by side in one run.
#
# usage: bench/run.sh [--networks unet,vae,clip] [--precisions bf16,f32] [--peers pytorch,compiled,openvino]
#                     [--threads 1,2] [--rounds 7]        (what is shown without `compiled` and f32 is the default)
# The peers' Python is DANQING_BENCH_PYTHON, else bench/peers/.venv (made by bench/peers/install.sh). Networks converted for
# OpenVINO are kept in BENCH_CACHE (target/bench).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${DANQING_BENCH_PYTHON:-bench/peers/.venv/bin/python}
if ! [ -x "$python" ]; then
    echo "no Python at $python: run bench/peers/install.sh, or set DANQING_BENCH_PYTHON" >&2
    exit 1
fi
target=${CARGO_TARGET_DIR:-target}
export BENCH_CACHE=${BENCH_CACHE:-$target/bench}
cargo build --release --quiet -p danqing-models --example networks
exec "$python" -W ignore bench/compare.py --ours "$target/release/examples/networks" "$@"
