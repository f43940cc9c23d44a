"""What must be seen of a study is seen: on a terminal, in a pipe, on disk. And a sink that dies takes nothing with it."""

import io
import logging
import re
import time

import pytest
from rich.console import Console

from model.report import Gradients, Losses, Report
from objective.display.live_console import LiveDisplay, Scene, after, console, left, study_left, view
from objective.display.plain_console import PlainLines
from objective.events.fanout import Sinks
from objective.events.types import Event, Progressed, Resumed, Sink
from tests.objective import samples


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Fragile:
    """A sink that works until its `last` event."""

    def __init__(self, name: str, last: int) -> None:
        self.name = name
        self.last = last
        self.calls: list[str] = []

    def emit(self, event: Event) -> None:
        self.calls.append(type(event).__name__)
        if len(self.calls) > self.last:
            raise ConnectionError("the network is gone")

    def close(self) -> None:
        self.calls.append("close")


def colourless(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def printed(sink: Sink, stream: io.StringIO, events: list[Event]) -> str:
    """What stands on the screen or in the log."""
    for event in events:
        sink.emit(event)
    sink.close()
    return colourless(stream.getvalue())


def lines(events: list[Event], quiet: bool = False) -> str:
    stream = io.StringIO()
    return printed(console(quiet, stream), stream, events)


def display(events: list[Event], width: int = 60) -> str:
    stream = Terminal()
    return printed(LiveDisplay(Console(file=stream, force_terminal=True, width=width, height=50)), stream, events)


def drawn(scene: Scene, now: float = 60.0, width: int = 60, ascii_only: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(view(scene, now, ascii_only))
    return stream.getvalue()


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def scene(*events: Event, clock: tuple[float, ...] = ()) -> Scene:
    """The scene after `events`, one second apart unless `clock` says when each one happened."""
    now = Scene(samples.study_started(wanted=5))
    for second, event in zip(clock or range(len(events)), events, strict=True):
        now = after(now, event, second)
    return now


# the chooser


def test_a_terminal_gets_the_live_display_and_everything_else_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(console(False, Terminal()), LiveDisplay)
    assert isinstance(console(False, io.StringIO()), PlainLines)
    assert isinstance(console(True, Terminal()), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(console(False, Terminal()), PlainLines)


# both consoles


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_is_told_from_its_header_to_its_next_command(show) -> None:
    text = show(samples.events())
    words = unwrapped(text)
    started, ended = samples.study_started(), samples.study_ended()
    for note in (started.name, started.storage, str(started.folder), *started.notes):
        assert note in words
    assert "✓ trial 0 0.900 healthy 1 min 12 s" in words
    assert "best so far" in words
    assert "! trial 1 0.900 sick 1 min 12 s misses alignment_score by 0.25" in words
    assert f"⊘ trial 2 0.900 pruned 1 min 12 s {samples.REASON}" in words
    assert "✗ trial 3 - failed 1 min 12 s OSError: no space left on device" in words
    assert "warning: rule diagonality is disarmed, it would have stopped trial 0, the best" in words
    assert "finished: 5 of 5 trials, in 1 h 02 min" in words
    assert f"  {ended.next_command}\n" in text, "a wrapped command cannot be pasted"


@pytest.mark.parametrize("show", [lines, display])
def test_the_closing_page_ranks_weighs_and_counts(show) -> None:
    text = show([samples.study_started(), samples.study_ended()])
    words = unwrapped(text)
    assert "✓ 3 0.900 healthy 0.93 0.71 0.97 1 min 12 s learning_rate 0.00123, r 2" in words
    assert "misses alignment_score by 0.25" in words
    assert samples.REASON in words
    assert "No healthy trial" not in words
    bars = {name: text.split(name)[-1].split("\n")[0].count("█") for name in ("  learning_rate ", "guided_weight", "  r  ")}
    assert bars["  learning_rate "] == 2 * bars["guided_weight"] > 4 * bars["  r  "] > 0
    assert "diagonality 320 kframes peers 140 kframes together 460 kframes" in words
    assert "repairs: 3 of 5 better than their parents" in words
    assert "repairs" not in show([samples.study_started(), samples.study_ended(repairs=(0, 0))])


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_without_a_healthy_trial_says_so_and_names_the_closest(show) -> None:
    ended = samples.study_ended(trials=(samples.row(7, healthy=False), samples.row(2, healthy=False, reason="misses gate")))
    words = unwrapped(show([samples.study_started(), ended]))
    assert "No healthy trial yet. The closest is trial 7: misses alignment_score by 0.25" in words


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_that_ended_before_its_first_trial_still_names_the_next_command(show) -> None:
    ended = samples.study_ended(why="interrupted", finished=0, trials=(), importances={}, saved_kframes={})
    text = show([samples.study_started(), ended])
    assert "interrupted: 0 of 5 trials" in text
    assert ended.next_command in text
    assert "best trials" not in text


@pytest.mark.parametrize("show", [lines, display])
def test_brackets_and_line_breaks_of_a_message_are_shown_as_text(show) -> None:
    failed = samples.trial_ended(state="FAIL", value=None, reason="RuntimeError: size [3, 4]\n  not [/4]", last=None)
    assert "RuntimeError: size [3, 4] not [/4]" in unwrapped(show([samples.study_started(), failed]))


@pytest.mark.parametrize("make", [PlainLines, lambda stream: LiveDisplay(Console(file=stream, force_terminal=True, width=60))])
def test_a_terminal_without_unicode_gets_marks_that_it_can_show(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console(True, stream)  # sets how the stream treats letters that it lacks
    sink = make(stream)
    for event in [samples.study_started(notes=("корпус: 12 мин",)), *samples.events()[1:]]:
        sink.emit(event)
    sink.close()
    stream.flush()
    text = colourless(raw.getvalue().decode("ascii"))
    assert "+ trial 0" in text
    assert "####" in text


# plain lines


def test_one_line_a_report_and_one_a_finished_trial() -> None:
    findings = ("diagonality 0.62 < 0.70", "coverage 0.85 < 0.90")
    text = lines(
        [
            samples.trial_started(3),
            Progressed(3, 60.0, 100),
            samples.reported(3),
            samples.reported(3, status="ATTENTION", findings=findings),
            samples.pruned(3),
        ]
    )
    numbers = "trial 3  120/500 kframes  loss 1.234 val 0.900  grad 1.2/3.4  diag .81 align .55 gate .97"
    started, stable, attention, pruned = text.splitlines()
    assert "recipe nvidia: learning_rate 0.00123, r 2" in started
    assert stable == f"{numbers}  STABLE"
    assert attention == f"{numbers}  ATTENTION: {findings[0]}; {findings[1]}"
    assert pruned.endswith(samples.REASON)


def test_a_message_with_line_breaks_stays_one_line() -> None:
    assert lines([samples.pruned(reason="out of memory\n  at batch 1")]).splitlines() == [
        "⊘ trial 4       0.900  pruned   1 min 12 s  out of memory at batch 1"
    ]


def test_what_was_not_measured_is_a_dash_and_never_a_zero() -> None:
    report = samples.report(health=samples.NOTHING, gradients=Gradients(None, None, 3, 3, None))
    line = lines([samples.trial_started(), samples.reported(report=report)]).splitlines()[-1]
    assert "grad -/-  diag - align - gate -" in line


def test_quiet_leaves_the_finished_trials_and_the_closing_page() -> None:
    text = lines(samples.events(), quiet=True)
    assert text.startswith("✓ trial 0")
    assert "no space left on device" in text
    assert "warning: rule diagonality is disarmed" in text, "what a person should know at once is not for the quiet to lose"
    assert samples.study_ended().next_command in text
    assert "120/500" not in text
    assert "corpus" not in text


# the live display


def test_the_live_view_shows_the_trial_whole_in_sixty_columns() -> None:
    findings = ("alignment_score 0.05 < 0.10 in 3 of 3 validations since 180 kframes, after the warm-up of 150 kframes",)
    best = samples.trial_ended(0, value=0.812, is_best=True)
    text = drawn(scene(best, samples.trial_started(3), samples.reported(3, status="CRITICAL", findings=findings)))
    words = unwrapped(text)
    for seen in (
        *("trial 4 of 5 number 3, recipe nvidia CRITICAL", "120/500 kframes", "loss train 1.234 val 0.900"),
        *("gradient median 1.2 p95 3.4", "attention diagonality 0.81 score 0.55 coverage 0.95", "gate accuracy 0.97"),
        *("best 0.812 by trial 0", f"! {findings[0]}"),
    ):
        assert seen in words
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize(
    "report",
    [
        samples.report(
            health=samples.NOTHING,
            train=Losses(None, None, None, None),
            gradients=Gradients(None, None, 0, 0, None),
        ),
        samples.report(
            kframes=123_456.0,
            train=Losses(1e30, 1e30, 1e30, 1e30),
            validation=Losses(float("nan"), 0.0, 0.0, 0.0),
            gradients=Gradients(123_456.0, float("inf"), 9, 9, 1.0),
        ),
    ],
)
def test_no_measurement_breaks_or_cuts_the_live_view(report: Report) -> None:
    text = drawn(scene(samples.trial_started(), samples.reported(report=report)))
    assert max(map(len, text.splitlines())) <= 60
    assert "…" not in text
    assert "coverage" in text


def test_the_status_has_its_colour() -> None:
    for status, code in {"STABLE": "32m", "ATTENTION": "33m", "CRITICAL": "1;31m"}.items():
        stream = io.StringIO()
        live = Console(file=stream, force_terminal=True, color_system="standard", width=60)
        live.print(view(scene(samples.trial_started(), samples.reported(status=status)), 9.0, ascii_only=False))
        assert f"\x1b[{code}{status}" in stream.getvalue()


def test_a_live_view_without_unicode_is_ascii() -> None:
    assert drawn(Scene(samples.study_started()), ascii_only=True).isascii()


def test_a_steady_trial_ends_when_its_pace_says() -> None:
    now = scene(samples.trial_started(), Progressed(3, 100.0, 1), Progressed(3, 200.0, 2), clock=(0.0, 10.0, 20.0))
    assert left(now.running[0], 20.0) == pytest.approx(30.0)


def test_a_resumed_trial_is_not_thought_fast_for_the_frames_of_before() -> None:
    resumed = Resumed(3, 1, 390.0, ())
    now = scene(samples.trial_started(), resumed, Progressed(3, 400.0, 1), Progressed(3, 410.0, 2), clock=(0.0, 0.5, 1.0, 11.0))
    assert left(now.running[0], 11.0) == pytest.approx(90.0)


def test_the_study_ends_after_the_median_of_its_finished_trials() -> None:
    ends = [samples.trial_ended(number, seconds=seconds) for number, seconds in enumerate((40.0, 60.0, 500.0))]
    failed = samples.trial_ended(9, state="FAIL", seconds=1.0)
    trial = (samples.trial_started(1), Progressed(1, 100.0, 1), Progressed(1, 200.0, 2))
    now = scene(*ends, failed, *trial, clock=(0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 20.0))
    assert left(now.running[0], 20.0) == pytest.approx(30.0)
    assert study_left(now, 20.0) == pytest.approx(30.0 + 3 * 60.0), "trial 2 of 5 runs, 3 are to come"


def test_nothing_is_foretold_before_the_trial_moves() -> None:
    for now in (scene(samples.trial_started()), scene(samples.trial_started(), Progressed(3, 10.0, 1))):
        assert left(now.running[0], 5.0) is None
        assert study_left(now, 5.0) is None


def test_several_trials_stand_one_below_the_other() -> None:
    """Each with its bar and its own numbers, in the order in which they began; one that ends makes room."""
    two = (samples.trial_started(3), samples.trial_started(4), samples.reported(4), Progressed(3, 50.0, 1))
    text = drawn(scene(*two))
    assert text.index("number 3") < text.index(" 50/500 kframes") < text.index("number 4") < text.index("diag")
    assert max(map(len, text.splitlines())) <= 60
    one = drawn(scene(*two, samples.trial_ended(3)))
    assert "number 3" not in one
    assert "diagonality" in one, "alone, it is shown in full"


def test_the_measurements_of_one_trial_are_not_shown_for_the_next() -> None:
    now = scene(samples.trial_started(3), samples.reported(3), samples.pruned(3), samples.trial_started(4))
    assert "no report yet" in drawn(now)
    assert " 0.0/500 kframes" in drawn(now)


def test_progress_draws_nothing_by_itself() -> None:
    stream = Terminal()
    sink = LiveDisplay(Console(file=stream, force_terminal=True, width=60, height=50))
    began = time.monotonic()
    sink.emit(samples.study_started())
    sink.emit(samples.trial_started())
    for update in range(5_000):
        sink.emit(Progressed(3, update / 10, update))
    redraws = stream.getvalue().count("kframes")
    assert redraws <= 8 * (time.monotonic() - began) + 2
    sink.close()


def test_the_terminal_is_given_back_when_the_study_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()

    def interrupted() -> None:
        with Sinks([console(False, stream)]) as sinks:
            sinks.emit(samples.study_started())
            sinks.emit(samples.trial_started())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().count(hidden) == 1
    assert stream.getvalue().rindex(shown) > stream.getvalue().rindex(hidden)


# the fan


def test_a_sink_that_raises_is_closed_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    first, weak, third = Fragile("first", 99), Fragile("weak", 1), Fragile("third", 99)
    with caplog.at_level(logging.INFO), Sinks([first, weak, third]) as sinks:
        for event in samples.events():
            sinks.emit(event)
    everything = [type(event).__name__ for event in samples.events()]
    assert first.calls == third.calls == [*everything, "close"]
    assert weak.calls == [*everything[:2], "close"]
    assert caplog.messages == ["weak is muted for the rest of the run: ConnectionError: the network is gone"]


def test_a_sink_that_cannot_close_keeps_no_other_from_closing() -> None:
    class Stuck(Fragile):
        def close(self) -> None:
            raise OSError("device busy")

    first, last = Fragile("first", 99), Fragile("last", 99)
    sinks = Sinks([first, Stuck("stuck", 99), last])
    sinks.close()
    sinks.close()
    assert first.calls == last.calls == ["close"]


def test_an_interrupt_passes_through_a_sink() -> None:
    class Slow(Fragile):
        def emit(self, event: Event) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sinks([Slow("slow", 0)]).emit(samples.study_started())
