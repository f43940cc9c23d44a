"""The console on a terminal: a live view of the running trials, and above it a lasting line for every finished one."""

import os
import sys
import time
from collections.abc import Callable
from io import StringIO
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from model.report import Report
from objective.display.closing_page import closing
from objective.display.formatting import duration, kframes, norm, number, one_line, percent, share
from objective.display.pace import pace
from objective.display.plain_console import PlainLines
from objective.display.rows import STATUS_STYLE, study_header, trial_row, with_sentence
from objective.display.scene import STARTING, Running, Scene, after, study_left, trial_left
from objective.events.types import Event, Reported, Sink, StudyEnded, StudyStarted, TrialEnded, Warned

REDRAWS_PER_SECOND = 4  # one costs about a millisecond, taken from the training


def console(quiet: bool, stream: TextIO | None = None) -> Sink:
    """Return the live display where `stream` (standard output) is a terminal that can redraw, else plain lines."""
    stream = stream or sys.stdout or StringIO()  # there is none where the caller closed it
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a letter that the terminal cannot show is no reason to lose the display
    if quiet or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return PlainLines(stream, quiet)
    return LiveDisplay(Console(file=stream, force_terminal=True, highlight=False))


class LiveDisplay:
    """A sink that draws on a terminal. Events only change the scene; a thread of rich's redraws it a few times a second."""

    name = "console"

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.clock = clock
        self.scene: Scene | None = None
        self.live: Live | None = None
        self.pace_shown = False

    def emit(self, event: Event) -> None:
        if isinstance(event, StudyStarted):
            self.console.print(study_header(event))
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
                numbers, sentence = trial_row(event, self.console.options.ascii_only)
                self.console.print(with_sentence(numbers, sentence, self.console.width))
            self.scene = after(self.scene, event, self.clock())
            if isinstance(event, Reported) and not self.pace_shown:
                self._show_pace(self.scene, event)

    def close(self) -> None:
        """Give the terminal back: the live view goes, what was printed above it stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _show_pace(self, scene: Scene, event: Reported) -> None:
        """Print how long a study may take, above the live view, once a trial has shown its speed."""
        for running in scene.running:
            if running.trial.number == event.number:
                self.console.print(Text(pace(scene.study, running.trial.budget_kframes, event.report), style="dim"))
                self.pace_shown = True

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


def view(scene: Scene, now: float, ascii_only: bool) -> RenderableType:
    """Return the live area. Fits 60 columns."""
    rule = Rule(characters="-" if ascii_only else "─", style="dim")
    if not scene.running:
        over = scene.finished >= scene.study.wanted
        return Group(rule, Text("closing the study" if over else STARTING, style="dim"), _progress(scene))
    if len(scene.running) > 1:
        lines = [line for running in scene.running for line in _briefly(running)]
        rest = study_left(scene, now)
        end = Text("" if rest is None else f"study ends in {duration(rest)}", style="dim")
        return Group(rule, *lines, end, _progress(scene))
    (running,) = scene.running
    latest = running.latest
    lines = [rule, _title(running), _bar(running), _times(scene, running, now)]
    if latest is not None:
        lines.append(_measured(latest, running.judged))
    lines.append(_progress(scene))
    if latest is not None:
        lines += [_finding(one_line(sentence), STATUS_STYLE[latest.status]) for sentence in latest.findings]
    return Group(*lines)


def _progress(scene: Scene) -> Text:
    best = "none healthy" if scene.best is None else f"best {number(scene.best[0])} by trial {scene.best[1]}"
    return Text.assemble(("finished   ", "dim"), f"{scene.finished} of {scene.study.wanted}, {best}")


def _briefly(running: Running) -> list[RenderableType]:
    """Return one of several trials: its title, its bar, and its numbers or its phase."""
    latest = running.latest
    lines = [_title(running), _bar(running)]
    if running.phase and running.phase != STARTING:
        lines.append(Text(running.phase, style="dim"))
    elif latest is not None:
        health = latest.report.health
        shares = {"diag": health.diagonality, "read": health.reading, "gate": health.gate_accuracy}
        numbers = [f"val {number(latest.report.val_loss)}", *(f"{name} {share(it)}" for name, it in shares.items())]
        free = None if running.judged is None else running.judged.free
        numbers += [] if free is None or free.errors is None else [f"errors {percent(free.errors)}"]
        lines.append(Text("  ".join(numbers), style="dim"))
    return lines


def _title(running: Running) -> RenderableType:
    latest, trial = running.latest, running.trial
    waiting = STARTING if running.phase == STARTING else "no report yet"
    status = Text(waiting, style="dim") if latest is None else Text(latest.status, style=STATUS_STYLE[latest.status])
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text.assemble((f"trial {trial.number}", "bold"), (f"  {one_line(trial.origin)}", "dim")), status)
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
    trial, study = trial_left(running, now), study_left(scene, now)
    parts = [f"running {duration(now - running.began)}"]
    if running.phase:
        parts.append(running.phase)
    elif trial is not None and study is not None:
        parts += [f"training ends in {duration(trial)}", f"study in {duration(study)}"]
    return Text(", ".join(parts), style="bold yellow" if running.stopping else "dim")


def _measured(event: Reported, judged: Report | None) -> RenderableType:
    report, health = event.report, event.report.health
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_row("loss", f"train {number(report.train.score)}", f"val {number(report.val_loss)}")
    grid.add_row("gradient", f"median {norm(report.gradients.median)}", f"p95 {norm(report.gradients.p95)}")
    attention = (f"diagonality {share(health.diagonality)}", f"reading {share(health.reading)}")
    grid.add_row("attention", *attention, f"coverage {share(health.coverage)}")
    grid.add_row("gate", f"accuracy {share(health.gate_accuracy)}")
    if judged is not None:
        errors, faults = f"errors {percent(judged.free.errors)}", f"faults {percent(judged.free.failures)}"
        grid.add_row("spoken", errors, faults, f"at {kframes(judged.kframes)} kframes")
    return grid


def _finding(sentence: str, style: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(style=style, overflow="fold")
    grid.add_row("!", Text(sentence))
    return grid
