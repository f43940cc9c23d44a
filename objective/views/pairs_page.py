"""Render a comparison of two configurations as one HTML page to listen to: a row for each seed, A beside B."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from optuna.trial import FrozenTrial

from objective.display import heard
from objective.display.difference import Difference
from objective.display.formatting import number
from objective.views.html_page import TOP, player, sound
from storage.paths import trial_folder


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two configurations: what it is called, the folder of its study, its trials in the order of their seeds."""

    name: str
    folder: Path
    trials: Sequence[FrozenTrial]


def page(title: str, sides: Sequence[Side], found: Sequence[Difference]) -> str:
    """Return the page: what was found, then a player for each side and seed."""
    results = "".join(f"<li><b>{escape(one.figure)}</b>: {escape(one.verdict)}</li>\n" for one in found)
    head = "".join(f"<th>{letter}: {escape(side.name)}</th>" for letter, side in zip("AB", sides, strict=True))
    rows = "".join(
        f"<tr><td>{seed}</td>{''.join(_cell(side, trial) for side, trial in zip(sides, pair, strict=True))}</tr>\n"
        for seed, pair in enumerate(zip(*(side.trials for side in sides), strict=False))
    )
    return (
        f"{TOP.format(title=escape(title))}<h1>{escape(title)}</h1>\n<ul>{results}</ul>\n"
        f'<table style="width: 100%"><thead><tr><th>seed</th>{head}</tr></thead><tbody>\n{rows}</tbody></table>\n</html>\n'
    )


def _cell(side: Side, trial: FrozenTrial) -> str:
    spoken = heard.spoken_of(trial.user_attrs)
    folder = trial_folder(side.folder, trial.number)
    return f"<td>{player(escape(number(trial.value)), sound(folder, 'sample'), spoken.get('heard'))}</td>"
