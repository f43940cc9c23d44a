"""The short part of the fault suite: the same code with a few kills on SQLite."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.files import ON_DISK
from tests.faults.harness import ROOT, Bench
from tests.faults.outages import IMPATIENT
from tests.faults.suite import QUICK, QUICK_LENGTHS

FAULTS = [
    "snapshot:1:half",
    "mels:1",
    "tell:1:before",
    "ask:1:after",
    "release:1:after",
    "hang:1",
    "slow:0",
    "clock:1:1",
    "host:a",
    "nan:1:2",
    "rate:1:2",
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One corpus and one undisturbed study for all tests."""
    folder = tmp_path_factory.mktemp("faults")
    yield Bench(folder, 0, QUICK_LENGTHS)
    shutil.rmtree(folder)


@pytest.mark.parametrize("program", ["objective.study", "objective.train"])
def test_the_launcher_finds_every_function_that_it_wraps(program: str, tmp_path: Path) -> None:
    """A renamed function of the program would otherwise show only when the whole suite runs."""
    command = [
        sys.executable,
        "-m",
        "tests.faults.launcher",
        str(tmp_path / "log"),
        *FAULTS,
        ON_DISK,
        IMPATIENT,
        "--",
        program,
        "--help",
    ]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.startswith("usage: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_every_promise_is_kept(name: str, bench: Bench) -> None:
    for row in QUICK[name](bench):
        assert row.broken == []
        assert row.equal
