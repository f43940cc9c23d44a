"""Words for what a voice said free-running: its figures, its faults, and what was heard, the same on every display and page.

`spoken` holds JSON values as model/spoken.py sums them up; it is empty for a trial that was not judged. Loads without rich.
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from objective.display.formatting import one_line, percent, share

PREFIX = "free_"  # of these figures among a trial's attributes in the study
BRIEF = 60  # characters of a sentence in a line with other figures
NOTHING = "(nothing)"  # instead of an empty transcript


class Sentence(NamedTuple):
    """A validation sentence as it was said."""

    which: str  # "middle": the sample that a person hears; "worst"
    text: str
    heard: str | None  # None: no listener hears this corpus well enough
    errors: float | None  # character error rate; None where it is not known

    @property
    def title(self) -> str:
        return self.which if self.errors is None else f"{self.which}, {percent(self.errors)} wrong"

    @property
    def transcript(self) -> str:
        """The letters that were heard; a dash without a listener."""
        return "-" if self.heard is None else one_line(self.heard) or NOTHING


def spoken_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the free-running figures of a trial from its attributes in the study."""
    return {name.removeprefix(PREFIX): value for name, value in attributes.items() if name.startswith(PREFIX)}


def errors(spoken: Mapping[str, Any]) -> str:
    """Return `4.1% of letters heard wrong (recordings 0.2%)`; empty where no listener hears well enough."""
    if spoken.get("errors") is None:
        return ""
    floor = spoken.get("recorded_errors")
    return f"{percent(spoken['errors'])} of letters heard wrong" + ("" if floor is None else f" (recordings {percent(floor)})")


def faults(spoken: Mapping[str, Any]) -> str:
    """Return `faults in 9% of 32 sentences: 2 skipped, 1 mumbled` or `no faults in 32 sentences`; empty where unknown."""
    if spoken.get("failures") is None:
        return ""
    kinds = sorted(spoken.get("faults", {}).items(), key=lambda kind: -kind[1])
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds)
    count = spoken["sentences"]
    noun = "sentence" if count == 1 else "sentences"
    if not spoken["failures"]:
        return f"no faults in {count} {noun}"
    return f"faults in {percent(spoken['failures'])} of {count} {noun}" + (listed and f": {listed}")


def distance(spoken: Mapping[str, Any], missed: Mapping[str, float | None]) -> str:
    """Return the `errors` of a voice that is not understood with their target; empty where no listener hears well enough.

    missed: by how much each target is missed (pruners/thresholds.py).
    """
    known, beyond = errors(spoken), missed.get("understood")
    target = f", target at most {percent(spoken['errors'] - beyond)}" if known and beyond is not None and beyond > 0 else ""
    return known + target


def heard(spoken: Mapping[str, Any]) -> str:
    """Return `heard "we share one kitchen"`, of the middle sentence; empty where no listener hears well enough."""
    text = spoken.get("heard")
    if text is None:
        return ""
    return f'heard "{text if len(text) <= BRIEF else f"{text[:BRIEF].rstrip()}..."}"' if text else "heard nothing"


def sentences(spoken: Mapping[str, Any]) -> list[Sentence]:
    """Return the sentence of middle length, and the worst one where it is another."""
    if "text" not in spoken:
        return []
    middle = Sentence("middle", spoken["text"], spoken.get("heard"), None)
    wrong = spoken.get("worst_errors")  # a listener may hear more letters than were said
    worst = Sentence("worst", spoken["worst_text"], spoken.get("worst_heard"), None if wrong is None else min(1.0, wrong))
    return [middle] if worst[1:3] == middle[1:3] else [middle, worst]


def described(spoken: Mapping[str, Any]) -> str:
    """Describe a voice in Markdown: what was said and heard, its errors, its faults, length and silence; empty for none."""
    rows = [f"| {row.title} | {_cell(row.text)} | {_cell(row.transcript)} |" for row in sentences(spoken)]
    table = "\n".join(["| sentence | said | heard |", "|---|---|---|", *rows]) if rows else ""
    figures = [errors(spoken), faults(spoken)]
    if spoken.get("length") is not None:
        figures.append(f"length {share(spoken['length'])} of the recordings'")
    if spoken.get("silence") is not None:
        figures.append(f"silence {percent(spoken['silence'])} (recordings {percent(spoken.get('recorded_silence'))})")
    return "\n\n".join(part for part in (table, "; ".join(filter(None, figures))) if part)


def _cell(text: str) -> str:
    """Return a text as one cell of a Markdown table that shows it letter for letter."""
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", escape(one_line(text), quote=False))
