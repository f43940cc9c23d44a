#!/usr/bin/env bash
# Check results and measure speed on a machine with a GPU, PyTorch, Triton and NumPy; nothing else is needed. Under eight minutes.
#   benchmarks/gpu.sh [CHECKOUT]    the folder of a checkout of NVIDIA/tacotron2, to compare with
# OUT names a folder for the tables (default: the current one).
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-.}
peer=${1:+--peer nvidia=$1}
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1
fine=0
run() { timeout "$1" "$python" -m "${@:2}" || fine=$?; }
{
    run 45 benchmarks.limits
    run 150 benchmarks.check_gpu
    run 150 benchmarks.train_step --device cuda --batch 256,128,64,32 --updates 6 --json "$out/gpu.json"
    # How much the graphs and the kernels are worth: the same without them, and NVIDIA's own code.
    run 75 benchmarks.train_step --device cuda --batch 64 --updates 2 --repeats 1 --recurrence deferred $peer --json "$out/gpu_deferred.json"
    exit "$fine"
} 2>&1 | tee "$out/gpu.txt"
