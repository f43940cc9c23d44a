"""Describe this machine in JSON, for the results of a measurement: `python -m benchmarks.machine [--device cpu]`."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

from model.selftest import TENSOR_CORES


def describe(device: str) -> dict[str, Any]:
    """Return the name of the device, its limits, whether our kernels are made for it, and the versions of what runs on it."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "triton": None, "driver": driver()}
    with suppress(ImportError):
        versions["triton"] = import_module("triton").__version__
    about: dict[str, Any] = {"device": device, "machine": f"{platform.machine()} CPU, {os.cpu_count()} cores", "kernels": False}
    if device == "cuda":
        versions |= {"cuda": torch.version.cuda, "hip": torch.version.hip, "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        properties = torch.cuda.get_device_properties(0)
        about |= {"machine": properties.name, "capability": [properties.major, properties.minor]}
        about["kernels"] = versions["triton"] is not None and (properties.major, properties.minor) >= TENSOR_CORES
        about |= {"memory_gb": properties.total_memory / 1e9, "multiprocessors": properties.multi_processor_count}
    return about | {"versions": versions}


def driver() -> str | None:
    """Return the version of NVIDIA's driver, or None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True).stdout.split()
    return lines[0] if lines else None


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args(typed).device
    if device == "cuda" and not torch.cuda.is_available():
        print("device cuda: need a CUDA device, torch finds none: choose --device cpu", file=sys.stderr)
        return 2
    print(json.dumps(describe(device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
