"""Processes that need librosa's compiled functions for the first time at once leave a cache that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PITCH = """
import numpy as np
from model.config import Audio
from model.pitch import pitch
print(np.nanmedian(pitch(np.sin(np.arange(22_050) * 0.05).astype(np.float32), Audio(), 80)))
"""


@pytest.mark.slow
def test_four_processes_that_compile_at_once_leave_a_cache_that_works(tmp_path: Path) -> None:
    own = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numba"), "XDG_CACHE_HOME": str(tmp_path)}
    line = [sys.executable, "-c", PITCH]
    first = [subprocess.Popen(line, env=own, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [process.communicate()[0] for process in first]
    later = subprocess.run(line, env=own, capture_output=True, text=True)
    assert [process.returncode for process in first] == [0] * 4
    assert later.returncode == 0, "a segmentation fault is -11"
    assert {*found, later.stdout} == {found[0]}
    assert float(found[0]) == pytest.approx(0.05 / (2 * 3.14159) * 22_050, rel=0.01)
