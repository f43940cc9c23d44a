"""Finished trials and snapshot files for the tests of retention."""

import os
import time
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage.paths import trial_folder
from storage.retention import Keep, Plan

AT_ONCE = Keep(linger_s=0)
SNAPSHOTS = ("last.pt", "before.pt", "best.pt")
SNAPSHOTS_OF_0 = {"0/last.pt", "0/before.pt", "0/best.pt"}
RELEASED: dict[str, Any] = {"released": "its worker died", "k": 0, "health": {}}
RETRY: dict[str, Any] = {"again_of": 0, "k": 0}


def trial(number: int, state: str, value: float | None = None, **attributes: Any) -> FrozenTrial:
    """A trial as a worker leaves it. `sick=0.3` breaks a constraint by 0.3."""
    sick = attributes.pop("sick", None)
    if state in ("COMPLETE", "PRUNED"):
        attributes = {"seconds": 1.0, "health": {}} | attributes
    if state == "COMPLETE" and value is None:
        value = 1.0
    made = create_trial(
        state=TrialState[state],
        value=value,
        params={} if state == "WAITING" else {"x": 0.5},
        distributions={} if state == "WAITING" else {"x": FloatDistribution(0, 1)},
        user_attrs=attributes,
        constraints=None if sick is None else {"health/x": sick},
    )
    made.number = number
    return made


def put(folder: Path, number: int, *names: str, size: int = 10, age: float = 60.0) -> None:
    """Write files of `size` bytes into the folder of a trial, last modified `age` seconds ago."""
    where = trial_folder(folder, number)
    where.mkdir(parents=True, exist_ok=True)
    for name in names:
        (where / name).write_bytes(b"x" * size)
        os.utime(where / name, (time.time() - age,) * 2)


def removed(plan: Plan) -> set[str]:
    """The files that a plan removes, as "number/name"."""
    return {f"{file.number}/{file.path.name}" for file in plan.removals}
