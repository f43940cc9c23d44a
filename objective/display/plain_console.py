"""The console in a pipe or a file: a line for each report, a line for each finished trial, the closing page."""

from typing import TextIO

from rich.console import Console
from rich.text import Text

from objective.display.closing_page import closing
from objective.display.formatting import kframes, norm, number, one_line, percent, settings, share
from objective.display.pace import pace
from objective.display.rows import study_header, trial_row
from objective.events.types import (
    Event,
    Phase,
    Reported,
    Resumed,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    Warned,
)


class PlainLines:
    """A sink that writes lines to `stream`, each flushed.

    quiet: only finished trials, warnings, the announcement of a stop, and the closing page.
    """

    name = "console"

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(file=stream, force_terminal=False, no_color=True, highlight=False, width=100)
        self.study: StudyStarted | None = None
        self.budget_kframes = 0.0
        self.pace_shown = False

    def emit(self, event: Event) -> None:
        match event:
            case StudyStarted():
                self.study = event
                if not self.quiet:
                    self.console.print(study_header(event))
                    self.console.print()
            case TrialStarted():
                self.budget_kframes = event.budget_kframes
                self._detail(started(event, self.study.wanted if self.study else 0))
            case Resumed():
                self._detail(resumed(event))
            case Reported():
                self._detail(reported(event, self.budget_kframes))
                if self.study is not None and not self.pace_shown:
                    self._detail(pace(self.study, self.budget_kframes, event.report))
                    self.pace_shown = True
            case Phase():
                line = f"trial {event.number}  {one_line(event.name)}"
                if event.stopping:
                    self._line(line)
                else:
                    self._detail(line)
            case TrialEnded():
                self._line(Text("  ").join(trial_row(event, self.console.options.ascii_only)))
            case Warned():
                self._line(f"warning: {one_line(event.sentence)}")
            case StudyEnded():
                closing(self.console, event)

    def close(self) -> None:
        """Do nothing: the stream belongs to the caller."""

    def _detail(self, line: str) -> None:
        if not self.quiet:
            self._line(line)

    def _line(self, line: str | Text) -> None:
        self.console.print(line if isinstance(line, Text) else Text(line), soft_wrap=True)
        self.console.file.flush()


def started(event: TrialStarted, wanted: int) -> str:
    line = f"trial {event.number}  starts, {event.finished} of {wanted} finished, {one_line(event.origin)}"
    return f"{line}: {settings(event.params)}" if event.params else line


def resumed(event: Resumed) -> str:
    return f"trial {event.number}  resumes at {kframes(event.kframes)} kframes from the snapshot of trial {event.of}"


def reported(event: Reported, budget_kframes: float) -> str:
    """Return `trial 3  120/500 kframes  loss 1.2 val 0.9  grad 1.2/3.4  diag .81 read .55 gate .97  STABLE` and the findings.

    The gradient norms are the median and the 95th percentile. Where the trial was judged free-running, `errors 48% faults 31%`
    stands before the status.
    """
    report, free = event.report, event.report.free
    health = report.health
    judged = [] if free.failures is None else [f"errors {percent(free.errors)} faults {percent(free.failures)}"]
    parts = (
        f"trial {event.number}",
        f"{kframes(report.kframes)}/{kframes(budget_kframes)} kframes",
        f"loss {number(report.train.score)} val {number(report.val_loss)}",
        f"grad {norm(report.gradients.median)}/{norm(report.gradients.p95)}",
        f"diag {_short(health.diagonality)} read {_short(health.reading)} gate {_short(health.gate_accuracy)}",
        *judged,
        event.status + "".join(f"{';' if later else ':'} {one_line(it)}" for later, it in enumerate(event.findings)),
    )
    return "  ".join(parts)


def _short(value: float | None) -> str:
    return share(value).removeprefix("0")
