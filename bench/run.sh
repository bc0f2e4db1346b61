#!/usr/bin/env bash
# Speed of networks against other programs on the same weights, measured side by side in one run: those of Stable Diffusion 1.5
# against PyTorch and OpenVINO, or after the word `enlarge` upscalers against these, onnxruntime and ncnn.
#
# usage: bench/run.sh [enlarge] [--networks unet,vae,clip | srvgg-128,rrdb-128,span-512,...] [--precisions bf16,f32]
#                     [--peers pytorch,compiled,openvino,onnxruntime,ncnn] [--threads 1,2] [--rounds 7]
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
defaults=()
if [ "${1:-}" = enlarge ]; then
    shift
    defaults=(--networks srvgg-128,rrdb-128,span-128,srvgg-512,rrdb-512,span-512 --precisions f32,bf16
        --peers pytorch,openvino,onnxruntime,ncnn)
fi
exec "$python" -W ignore bench/compare.py --ours "$target/release/examples/networks" "${defaults[@]}" "$@"
