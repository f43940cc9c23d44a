#!/usr/bin/env bash
# The first hour with a GPU: check what it computes and measure its speed, in stages of less than eight minutes.
#
#   benchmarks/gpu.sh --out FOLDER [--peer nvidia=DIR] [--only STAGE] [--again]
#
# The same command continues. FOLDER gets the output and the result of each stage; `--table` prints them again. Most stages need
# PyTorch, Triton and NumPy only; the studies need more. Where pip can reach no index, carry wheels in. Collect them on another
# machine, for the GPU machine's Python (here 3.12), in this folder:
#
#   pip download --dest wheels --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       --platform manylinux_2_17_x86_64 $(python3 -m benchmarks.gpu_study --packages)
#
# and name their folder, or several separated by colons:
#
#   WHEELS=wheels benchmarks/gpu.sh --out FOLDER
#
# They are installed into the environment VENV (default build/gpu-venv), which sees the packages of PYTHON (default python3) too,
# its PyTorch among them.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
if [ -n "${WHEELS:-}" ]; then
    venv=${VENV:-$root/build/gpu-venv}
    "$python" -m venv --system-site-packages "$venv"
    inside=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # Where PYTHON is in an environment itself, system packages are not its own.
    "$python" -c 'import sys; print(*(path for path in sys.path if path.endswith("-packages")), sep="\n")' > "$inside/outer.pth"
    python=$venv/bin/python
    IFS=: read -ra folders <<< "$WHEELS"
    "$python" -P -m benchmarks.gpu_study --packages > "$venv/packages.txt"
    "$python" -m pip install --quiet --disable-pip-version-check --no-index "${folders[@]/#/--find-links=}" \
        --requirement "$venv/packages.txt"
fi
exec "$python" -P -m benchmarks.gpu "$@"
