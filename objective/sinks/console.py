"""The console on a terminal: a live view of the running trial, and above it a lasting line for every finished one."""
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from statistics import median
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from objective.events import (
    Event,
    Progressed,
    Reported,
    Sink,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    Warned,
)
from objective.sinks.closing import closing
from objective.sinks.plain import PlainLines
from objective.sinks.words import STATUS_STYLE, duration, ended, entry, header, kframes, norm, number, one_line, share

REDRAWS_PER_SECOND = 4  # one costs about a millisecond, taken from the training


def console(quiet: bool, stream: TextIO | None = None) -> Sink:
    """The live display where `stream` (standard output) is a terminal that can redraw, else plain lines."""
    stream = stream or sys.stdout or StringIO()  # there is none where the caller closed it
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a letter that the terminal cannot show is no reason to lose the display
    if quiet or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return PlainLines(stream, quiet)
    return LiveDisplay(Console(file=stream, force_terminal=True, highlight=False))


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the live view shows, as one value: the redrawing thread sees the old one or the new one, never a mixture."""

    study: StudyStarted
    trial: TrialStarted | None = None
    began: float = 0.0  # clock at the trial's start, s
    first: tuple[float, float] | None = None  # clock and kframes of its first progress, from which its pace is counted
    kframes: float = 0.0
    latest: Reported | None = None
    seconds: tuple[float, ...] = ()  # of the trials finished here
    best: tuple[float, int] | None = None  # value and number


class LiveDisplay:
    """Draws on a terminal. Events only change the scene; a thread of rich's redraws it a few times a second."""

    name = "console"

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.clock = clock
        self.scene: Scene | None = None
        self.live: Live | None = None

    def emit(self, event: Event) -> None:
        if isinstance(event, StudyStarted):
            self.console.print(header(event))
            self.console.print()
            self.scene = Scene(event, best=event.best)
            self._start()
        elif isinstance(event, StudyEnded):
            self.close()
            closing(self.console, event)
        elif isinstance(event, Warned):
            self.console.print(Text(f"warning: {one_line(event.sentence)}", style="bold yellow"))
        elif self.scene is not None:
            if isinstance(event, TrialEnded):
                self.console.print(entry(*ended(event, self.console.options.ascii_only), self.console.width))
            self.scene = after(self.scene, event, self.clock())

    def close(self) -> None:
        """Gives the terminal back: the live view goes, what was printed above it stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _start(self) -> None:
        self.live = Live(
            get_renderable=self._view,
            console=self.console,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),  # `2> errors.log` keeps its meaning
        )
        self.live.start()

    def _view(self) -> RenderableType:
        return "" if self.scene is None else view(self.scene, self.clock(), self.console.options.ascii_only)


def after(scene: Scene, event: Event, now: float) -> Scene:
    """The scene once `event` has happened."""
    match event:
        case TrialStarted():
            return replace(scene, trial=event, began=now, first=None, kframes=0.0, latest=None)
        case Progressed():
            return replace(scene, kframes=event.kframes, first=scene.first or (now, event.kframes))
        case Reported():
            seen = event.report.kframes
            return replace(scene, latest=event, kframes=seen, first=scene.first or (now, seen))
        case TrialEnded():
            counts = () if event.state == "FAIL" else (event.seconds,)
            best = (event.value, event.number) if event.is_best and event.value is not None else scene.best
            return replace(scene, trial=None, seconds=scene.seconds + counts, best=best)
    return scene


def remaining(scene: Scene, now: float) -> tuple[float | None, float | None]:
    """Seconds until the trial ends at its own pace, and until the study does at the median of its finished trials.

    None where nothing is known yet. Before any trial has finished, the others are taken to last as long as this one.
    """
    if scene.trial is None or scene.first is None:
        return None, None
    began, start = scene.first
    done, left = scene.kframes - start, max(0.0, scene.trial.budget_kframes - scene.kframes)
    if done <= 0 or now <= began:
        return None, None
    trial = left * (now - began) / done
    each = median(scene.seconds) if scene.seconds else now - scene.began + trial
    return trial, trial + each * max(0, scene.study.wanted - scene.trial.ordinal)


def view(scene: Scene, now: float, ascii_only: bool) -> RenderableType:
    """The live area. Fits 60 columns."""
    rule = Rule(characters="-" if ascii_only else "─", style="dim")
    best = Text("none yet" if scene.best is None else f"{number(scene.best[0])} by trial {scene.best[1]}")
    if scene.trial is None:
        return Group(rule, Text("between two trials", style="dim"), Text.assemble(("best       ", "dim"), best))
    latest = scene.latest
    status = Text("no report yet", style="dim") if latest is None else Text(latest.status, style=STATUS_STYLE[latest.status])
    lines: list[RenderableType] = [rule, _title(scene, scene.trial, status), _bar(scene, scene.trial), _times(scene, now)]
    if latest is not None:
        lines.append(_measured(latest))
    lines.append(Text.assemble(("best       ", "dim"), best))
    if latest is not None:
        lines += [_finding(one_line(sentence), STATUS_STYLE[latest.status]) for sentence in latest.findings]
    return Group(*lines)


def _title(scene: Scene, trial: TrialStarted, status: Text) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    place = (f"trial {trial.ordinal} of {scene.study.wanted}", "bold")
    grid.add_row(Text.assemble(place, (f"  number {trial.number}, {one_line(trial.origin)}", "dim")), status)
    return grid


def _bar(scene: Scene, trial: TrialStarted) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    bar = ProgressBar(trial.budget_kframes, scene.kframes, complete_style="cyan", finished_style="green")
    grid.add_row(bar, f"{kframes(scene.kframes)}/{kframes(trial.budget_kframes)} kframes")
    return grid


def _times(scene: Scene, now: float) -> Text:
    trial, study = remaining(scene, now)
    spent = f"running {duration(now - scene.began)}"
    if trial is None or study is None:
        return Text(spent, style="dim")
    return Text(f"{spent}, trial ends in {duration(trial)}, study in {duration(study)}", style="dim")


def _measured(event: Reported) -> RenderableType:
    report, health = event.report, event.report.health
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_row("loss", f"train {number(report.train.score)}", f"val {number(report.val_loss)}")
    grid.add_row("gradient", f"median {norm(report.gradients.median)}", f"p95 {norm(report.gradients.p95)}")
    grid.add_row(
        *("attention", f"diagonality {share(health.diagonality)}"),
        *(f"score {share(health.alignment_score)}", f"coverage {share(health.coverage)}"),
    )
    grid.add_row("gate", f"accuracy {share(health.gate_accuracy)}")
    return grid


def _finding(sentence: str, style: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(style=style, overflow="fold")
    grid.add_row("!", Text(sentence))
    return grid
