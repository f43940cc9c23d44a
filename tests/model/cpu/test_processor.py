"""A machine is measured once, the figures decide, and a broken or missing cache only costs another measurement."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from model.cpu import processor as module
from model.cpu.processor import Processor, cache_file, processor


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    processor.cache_clear()


def test_figures_decide_and_a_tie_changes_nothing() -> None:
    assert Processor("a", mkl=2.1, onednn=0.44, bf16=0.22).single_by_onednn
    assert Processor("a", mkl=2.1, onednn=0.44, bf16=0.22).half_is_fast
    assert not Processor("has avx512_bf16", mkl=3.2, onednn=1.7, bf16=2.3).half_is_fast
    assert not Processor("fast MKL", mkl=1.0, onednn=1.3, bf16=math.inf).single_by_onednn
    assert Processor("tie", mkl=1.0, onednn=1.1, bf16=0.95).single_by_onednn
    assert not Processor("tie", mkl=1.0, onednn=1.1, bf16=0.95).half_is_fast


def test_a_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = processor()
    assert found.mkl > 0
    monkeypatch.setattr(module, "_measured", lambda name: pytest.fail("measured again"))
    processor.cache_clear()
    assert processor() == found


def test_all_processes_of_a_machine_use_the_same_figures() -> None:
    line = "from model.cpu.processor import processor; print(processor().mkl)"
    runs = [subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, text=True) for _ in range(2)]  # at once
    first, second = (run.communicate()[0] for run in runs)
    assert first == second
    assert float(first) > 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 3}', '{"x": {"name": "x"}}'])
def test_a_broken_cache_is_measured_anew(content: str) -> None:
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text(content)
    assert processor().mkl > 0
    assert json.loads(cache_file().read_text())


def test_without_a_cache_folder_each_process_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert processor().mkl > 0


def test_it_is_told_in_one_sentence() -> None:
    assert str(Processor("Xeon", mkl=3.2, onednn=1.6, bf16=2.0)) == (
        "products on this Xeon: oneDNN 2.0 times as fast as MKL, bf16 0.8 times"
    )
