"""Recorded trials for tests: healthy ones, some with a blurred attention, and broken ones, as lines of an archive."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruners.replay.archive import Curve, read

WELL = {"diagonality": 0.95, "reading": 0.8, "coverage": 0.97, "gate_accuracy": 0.97, "grad_norm_p95": 1.0}
BLURRED = {"diagonality": 0.1, "reading": 0.02, "coverage": 0.3, "gate_accuracy": 0.5, "grad_norm_p95": 1.0}
SPEAKS, MUTE = ({"premature_rate": 0.0, "overrun_rate": rate} for rate in (0.0, 1.0))
REPORTS, STEP = 12, 10.0  # a budget of 120 kframes


Line = dict[str, Any]


def trial(end: float, signals: Line = WELL, synthesis: Line = SPEAKS, nan_at: int | None = None) -> Line:
    """Return a trial whose loss falls as 1 / t towards `end`; from report `nan_at` on it is not a number."""
    losses = [end + (1 / n - 1 / REPORTS) if nan_at is None or n < nan_at else None for n in range(1, REPORTS + 1)]
    return {
        "points": [{"kframes": n * STEP, "val_loss": loss, **signals} for n, loss in enumerate(losses, 1)],
        "end": synthesis,
    }


def spoken(values: Mapping[int, float], **signals: Any) -> Line:
    """Return a trial that was judged at some of its reports, number -> value; it is healthy at values up to 0.1."""
    line = trial(0.5, WELL | signals)
    del line["end"]
    for n, point in enumerate(line["points"], 1):
        value = values.get(n)
        known = value is not None
        point |= {"free_value": value, "free_errors": value, "free_floor": 0.0 if known else None}
        point["free_failures"] = 0.0 if known else None
    return line


def overfitted() -> Line:
    """Return a trial that is understood at half of its budget, and then learns its training set by heart."""
    line = spoken({3: 0.4, 6: 0.04, 9: 0.3, 12: 0.6}, train_loss=0.3)
    for point in line["points"][6:]:
        point["val_loss"] = 1.1 * line["points"][5]["val_loss"]
    return line


def curves_of(folder: Path, *lines: dict[str, Any]) -> list[Curve]:
    return read(written(folder, *lines))


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "curves.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def mixed(count: int = 12) -> list[dict[str, Any]]:
    """Return `count` trials, of which every third has a blurred attention; the last one ends with a loss that is not finite."""
    lines = [trial(0.5 + 0.03 * n, BLURRED, MUTE) if n % 3 == 2 else trial(0.5 + 0.03 * n) for n in range(count - 1)]
    return [*lines, trial(1.0, WELL, MUTE, nan_at=4)]


def kill_this_process(curves: Sequence[Curve]) -> Any:
    """Stand for a pruner whose worker process the machine kills."""
    os.kill(os.getpid(), signal.SIGKILL)
