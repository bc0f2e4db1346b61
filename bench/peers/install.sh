#!/usr/bin/env bash
# Makes a Python environment with the programs that bench/run.sh compares with, at bench/peers/.venv (some 3 GB).
# usage: bench/peers/install.sh [PYTHON]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"${1:-python3}" -m venv "$here/.venv"
"$here/.venv/bin/pip" install --upgrade pip
"$here/.venv/bin/pip" install -r "$here/requirements.txt"
