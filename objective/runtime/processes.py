"""Start modules of this project as separate processes."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_module(module: str) -> list[str]:
    """Return the start of a command line that runs a module of this project, whatever the current folder holds.

    `-P` keeps Python from importing modules of the current folder, where a user's own `model.py` may lie.
    """
    return [sys.executable, "-P", "-m", module]


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes`, for a child process that imports modules of this project."""
    inherited = os.environ.get("PYTHONPATH")
    path = f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)
    return {**os.environ, "PYTHONPATH": path, **changes}
