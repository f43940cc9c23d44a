"""The spoken corpus of the tests: built once, copied into each output folder that needs its own."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def copy_of(corpus: Path, out: Path) -> Path:
    """Copy the corpus, its mels and small.yaml of the output folder `corpus` into `out`; return `out`."""
    for name in ("corpora", "cache"):
        shutil.copytree(corpus / name, out / name)
    shutil.copy(corpus / "small.yaml", out)
    return out


def built_once(factory: pytest.TempPathFactory, build: Callable[[Path], object], name: str = "corpus") -> Path:
    """Return the folder `name`, which `build` fills once for a whole test run, also where several xdist workers need it."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, complete = root / name, root / f"{name}.complete"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            complete.touch()
    return folder
