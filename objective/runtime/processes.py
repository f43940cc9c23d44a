"""Start modules of this project as processes of their own."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_module(module: str) -> list[str]:
    """The start of a command line that runs a module of ours, whatever the current folder holds.

    `-P` keeps Python from looking for modules in the current folder, where a user's own `model.py` may lie.
    """
    return [sys.executable, "-P", "-m", module]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment for a child that imports our modules, with some variables changed."""
    inherited = os.environ.get("PYTHONPATH")
    path = f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)
    return {**os.environ, "PYTHONPATH": path, **changes}
