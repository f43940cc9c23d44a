"""Render a comparison of two configurations as one HTML page to listen to: a row for each seed, A beside B."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from optuna.trial import FrozenTrial

from objective.display import heard, listening
from objective.display.difference import Difference
from objective.display.formatting import number
from storage.paths import trial_folder


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two configurations: what it is called, the folder of its study, its trials in the order of their seeds."""

    name: str
    folder: Path
    trials: Sequence[FrozenTrial]


def page(title: str, sides: Sequence[Side], found: Sequence[Difference]) -> str:
    """Return the page: what was found, then a player for each side and seed."""
    results = (f"<b>{escape(one.figure)}</b>: {escape(one.verdict)}" for one in found)
    head = ["seed", *(f"{letter}: {side.name}" for letter, side in zip("AB", sides, strict=True))]
    seeds = enumerate(zip(*(side.trials for side in sides), strict=False))
    rows = ([str(seed), *(_cell(side, trial) for side, trial in zip(sides, pair, strict=True))] for seed, pair in seeds)
    return listening.page(title, results, head, rows)


def _cell(side: Side, trial: FrozenTrial) -> str:
    spoken = heard.spoken_of(trial.user_attrs)
    sound = listening.sound(trial_folder(side.folder, trial.number), "sample")
    return listening.player(escape(number(trial.value)), sound, spoken.get("heard"))
