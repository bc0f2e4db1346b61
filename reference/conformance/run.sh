#!/usr/bin/env bash
# Full-size models made by diffusers with random weights, compared with this engine. Called by `cargo xtask conformance`.
#
#   reference/conformance/run.sh [sd15] [sdxl] [--work DIR] [--keep]
#
# Without a name both models are compared. The models (2.1 GB and 6.9 GB) are written below DIR, one after the other, and
# deleted when they have been compared; --keep leaves them there and uses what an earlier run left.
# Python is $DANQING_REFERENCE_PYTHON, else a virtual environment that is made below DIR with requirements.txt; the
# vocabulary comes from $DANQING_TEST_ASSETS, else one of bytes is made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${DANQING_CONFORMANCE_WORK:-${TMPDIR:-/tmp}/danqing-conformance}
keep=
models=()
while [ $# -gt 0 ]; do
    case $1 in
    sd15 | sdxl) models+=("$1") ;;
    --work) work=${2:?--work needs a folder}; shift ;;
    --keep) keep=1 ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[ ${#models[@]} -gt 0 ] || models=(sd15 sdxl)
mkdir -p "$work"

python=${DANQING_REFERENCE_PYTHON:-}
if [ -z "$python" ]; then
    python=$work/venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$work/venv"
        "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    fi
fi
assets=()
[ -z "${DANQING_TEST_ASSETS:-}" ] || assets=(--assets "$DANQING_TEST_ASSETS")

cd "$root"
cargo build --quiet --release -p danqing-pipelines --example conformance
missed=0
for model in "${models[@]}"; do
    folder=$work/$model
    mkdir -p "$folder"
    # The reference ends before ours begins: never both in memory.
    if [ -z "$keep" ] || [ ! -f "$folder/reference.safetensors" ]; then
        "$python" "$here/reference.py" "$model" "$folder" "${assets[@]}" >&2
    fi
    printf '## %s\n\n' "$model"
    cargo run --quiet --release -p danqing-pipelines --example conformance -- "$folder" || missed=1
    [ -n "$keep" ] || rm -rf "$folder"
done
exit $missed
