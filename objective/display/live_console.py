"""The console on a terminal: a live view of the running trial, and above it a lasting line for every finished one."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from statistics import median
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from objective.display.closing_page import closing
from objective.display.formatting import STATUS_STYLE, duration, ended, entry, header, kframes, norm, number, one_line, share
from objective.display.plain_console import PlainLines
from objective.events.types import (
    Event,
    Progressed,
    Reported,
    Resumed,
    Sink,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    Warned,
)

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
class Running:
    """A trial that runs now."""

    trial: TrialStarted
    began: float  # clock at its start, s
    first: tuple[float, float] | None = None  # clock and kframes of its first progress, from which its pace is counted
    kframes: float = 0.0
    latest: Reported | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the live view shows, as one value: the redrawing thread sees the old one or the new one, never a mixture."""

    study: StudyStarted
    running: tuple[Running, ...] = ()  # in the order in which they began
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
            return replace(scene, running=(*_others(scene, event.number), Running(event, now)))
        case Resumed():
            return _changed(scene, event.number, kframes=event.kframes)
        case Progressed():
            return _changed(scene, event.number, now, kframes=event.kframes)
        case Reported():
            return _changed(scene, event.number, now, kframes=event.report.kframes, latest=event)
        case TrialEnded():
            counts = () if event.state == "FAIL" else (event.seconds,)
            best = (event.value, event.number) if event.is_best and event.value is not None else scene.best
            return replace(scene, running=_others(scene, event.number), seconds=scene.seconds + counts, best=best)
    return scene


def _others(scene: Scene, number: int) -> tuple[Running, ...]:
    return tuple(known for known in scene.running if known.trial.number != number)


def _changed(scene: Scene, number: int, now: float | None = None, **values: Any) -> Scene:
    """With something new about one of the running trials; `now` where it has seen frames."""

    def new(known: Running) -> Running:
        first = known.first if now is None else known.first or (now, values["kframes"])
        return replace(known, first=first, **values)

    return replace(scene, running=tuple(new(it) if it.trial.number == number else it for it in scene.running))


def left(running: Running, now: float) -> float | None:
    """Seconds until a trial ends at its own pace; None where nothing is known yet."""
    if running.first is None:
        return None
    began, start = running.first
    done, rest = running.kframes - start, max(0.0, running.trial.budget_kframes - running.kframes)
    return None if done <= 0 or now <= began else rest * (now - began) / done


def study_left(scene: Scene, now: float) -> float | None:
    """Seconds until the study ends at the median of its finished trials; before there is one, as its running ones go.

    None where nothing is known yet.
    """
    known = [(running, rest) for running in scene.running if (rest := left(running, now)) is not None]
    if not known:
        return None
    each = median(scene.seconds) if scene.seconds else median(now - running.began + rest for running, rest in known)
    to_come = max(0, scene.study.wanted - max(running.trial.ordinal for running in scene.running))
    return max(rest for _, rest in known) + each * to_come / len(scene.running)


def view(scene: Scene, now: float, ascii_only: bool) -> RenderableType:
    """The live area. Fits 60 columns."""
    rule = Rule(characters="-" if ascii_only else "─", style="dim")
    best = Text("none yet" if scene.best is None else f"{number(scene.best[0])} by trial {scene.best[1]}")
    best = Text.assemble(("best       ", "dim"), best)
    if not scene.running:
        return Group(rule, Text("between two trials", style="dim"), best)
    if len(scene.running) > 1:
        lines = [line for running in scene.running for line in _briefly(scene, running)]
        rest = study_left(scene, now)
        return Group(rule, *lines, Text("" if rest is None else f"study ends in {duration(rest)}", style="dim"), best)
    (running,) = scene.running
    latest = running.latest
    lines = [rule, _title(scene, running), _bar(running), _times(scene, running, now)]
    if latest is not None:
        lines.append(_measured(latest))
    lines.append(best)
    if latest is not None:
        lines += [_finding(one_line(sentence), STATUS_STYLE[latest.status]) for sentence in latest.findings]
    return Group(*lines)


def _briefly(scene: Scene, running: Running) -> list[RenderableType]:
    """One of several trials: its title, its bar and its numbers."""
    latest = running.latest
    lines = [_title(scene, running), _bar(running)]
    if latest is not None:
        health = latest.report.health
        shares = {"diag": health.diagonality, "align": health.alignment_score, "gate": health.gate_accuracy}
        said = "  ".join([f"val {number(latest.report.val_loss)}", *(f"{name} {share(it)}" for name, it in shares.items())])
        lines.append(Text(said, style="dim"))
    return lines


def _title(scene: Scene, running: Running) -> RenderableType:
    latest, trial = running.latest, running.trial
    status = Text("no report yet", style="dim") if latest is None else Text(latest.status, style=STATUS_STYLE[latest.status])
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    place = (f"trial {trial.ordinal} of {scene.study.wanted}", "bold")
    grid.add_row(Text.assemble(place, (f"  number {trial.number}, {one_line(trial.origin)}", "dim")), status)
    return grid


def _bar(running: Running) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    budget = running.trial.budget_kframes
    bar = ProgressBar(budget, running.kframes, complete_style="cyan", finished_style="green")
    grid.add_row(bar, f"{kframes(running.kframes)}/{kframes(budget)} kframes")
    return grid


def _times(scene: Scene, running: Running, now: float) -> Text:
    trial, study = left(running, now), study_left(scene, now)
    spent = f"running {duration(now - running.began)}"
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
