"""The live console: a view that fits 60 columns, knows what a trial does, and gives the terminal back."""

import io
import time

import pytest
from rich.console import Console

from model.report import Free, Gradients, Losses, Report
from objective.display.live_console import LiveDisplay, console, view
from objective.display.scene import Scene, after, study_left, trial_left
from objective.events.fanout import Sinks
from objective.events.types import Phase, Progressed, Resumed
from tests.objective import samples
from tests.objective.display.screens import Terminal, drawn, scene, unwrapped


def test_the_live_view_shows_the_whole_trial_in_sixty_columns() -> None:
    findings = ("reading 0.05 < 0.10 in 3 of 3 validations since 180 kframes, after the warm-up of 150 kframes",)
    best = samples.trial_ended(0, value=0.812, is_best=True)
    text = drawn(scene(best, samples.trial_started(3), samples.reported(3, status="CRITICAL", findings=findings)))
    output = unwrapped(text)
    for seen in (
        "trial 3 recipe nvidia CRITICAL",
        "120/500 kframes",
        "loss train 1.234 val 0.900",
        "gradient median 1.2 p95 3.4",
        "attention diagonality 0.81 reading 0.89 coverage 0.95",
        "gate accuracy 0.97",
        "finished 1 of 5, best 0.812 by trial 0",
        f"! {findings[0]}",
    ):
        assert seen in output
    assert max(map(len, text.splitlines())) <= 60


def test_the_newest_free_running_figures_stay_until_there_are_newer_ones() -> None:
    judged, later = samples.reported(report=samples.report(free=samples.FREE)), samples.reported(kframes=140.0)
    text = unwrapped(drawn(scene(samples.trial_started(), judged, later)))
    assert "spoken errors 4.1% faults 6.2% at 120 kframes" in text
    assert "errors 4.1%" in drawn(scene(samples.trial_started(3), judged, later, samples.trial_started(4))), "briefly"
    resumed = Resumed(3, 1, 130.0, (judged.report, samples.report(130.0)))
    assert "at 120 kframes" in unwrapped(drawn(scene(samples.trial_started(), resumed, later))), "those of its earlier trial"
    assert "spoken" not in drawn(scene(samples.trial_started(), later))


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
            free=Free(failures=1.0),
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


def test_a_steady_trial_ends_at_its_pace() -> None:
    now = scene(samples.trial_started(), Progressed(3, 100.0, 1), Progressed(3, 200.0, 2), clock=(0.0, 10.0, 20.0))
    assert trial_left(now.running[0], 20.0) == pytest.approx(30.0)


def test_the_pace_of_a_resumed_trial_leaves_out_the_frames_before() -> None:
    resumed = Resumed(3, 1, 390.0, ())
    now = scene(samples.trial_started(), resumed, Progressed(3, 400.0, 1), Progressed(3, 410.0, 2), clock=(0.0, 0.5, 1.0, 11.0))
    assert trial_left(now.running[0], 11.0) == pytest.approx(90.0)


def test_the_study_ends_after_the_median_of_its_finished_trials() -> None:
    ends = [samples.trial_ended(number, seconds=seconds) for number, seconds in enumerate((40.0, 60.0, 500.0))]
    failed = samples.trial_ended(9, state="FAIL", seconds=1.0)
    trial = (samples.trial_started(1), Progressed(1, 100.0, 1), Progressed(1, 200.0, 2))
    now = scene(*ends, failed, *trial, clock=(0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 20.0))
    assert trial_left(now.running[0], 20.0) == pytest.approx(30.0)
    assert study_left(now, 20.0) == pytest.approx(30.0 + 3 * 60.0), "trial 2 of 5 runs, 3 are to come"


def test_nothing_is_predicted_before_the_trial_progresses() -> None:
    for now in (scene(samples.trial_started()), scene(samples.trial_started(), Progressed(3, 10.0, 1))):
        assert trial_left(now.running[0], 5.0) is None
        assert study_left(now, 5.0) is None


def test_several_trials_are_shown_one_below_the_other() -> None:
    """Each with its bar and its own numbers, in the order of their starts; one that ends makes room."""
    two = (samples.trial_started(3), samples.trial_started(4), samples.reported(4), Progressed(3, 50.0, 1))
    text = drawn(scene(*two))
    assert text.index("trial 3") < text.index(" 50/500 kframes") < text.index("trial 4") < text.index("diag")
    assert max(map(len, text.splitlines())) <= 60
    one = drawn(scene(*two, samples.trial_ended(3)))
    assert "trial 3" not in one
    assert "diagonality" in one, "alone, it is shown in full"


def test_the_measurements_of_one_trial_are_not_shown_for_the_next() -> None:
    now = scene(samples.trial_started(3), samples.reported(3), samples.pruned(3), samples.trial_started(4))
    assert "starting" in drawn(now)
    assert " 0.0/500 kframes" in drawn(now)


def test_an_evaluation_is_a_phase_and_not_the_end_in_zero_seconds() -> None:
    trained = (samples.trial_started(), Progressed(3, 400.0, 1), samples.reported(3, 500.0))
    assert "ends in" not in drawn(scene(*trained))
    text = drawn(scene(*trained, Phase(3, "evaluating: synthesising 5 sentences")))
    assert "running 1 min 00 s, evaluating: synthesising 5 sentences" in text
    assert "ends in" not in text


def test_a_stop_is_shown_until_the_trial_has_ended() -> None:
    stop = Phase(3, "stopping: saving its snapshot (interrupted)", stopping=True)
    now = scene(samples.trial_started(), Progressed(3, 10.0, 1), stop, Progressed(3, 20.0, 2))
    assert stop.name in unwrapped(drawn(now))
    assert stop.name in unwrapped(drawn(after(now, samples.trial_started(4), 9.0))), "also among several"
    assert stop.name not in drawn(after(now, samples.trial_ended(3, state="FAIL", value=None), 9.0))


def test_before_a_trial_and_before_its_first_frames_it_is_starting() -> None:
    assert "starting" in drawn(scene())
    assert "starting" in drawn(scene(samples.trial_started()))
    assert "starting" not in drawn(scene(samples.trial_started(), Progressed(3, 10.0, 1)))
    done = [samples.trial_ended(number) for number in range(5)]
    assert "closing the study" in drawn(scene(*done))


def test_finished_trials_are_counted_wherever_they_ran() -> None:
    two = (samples.trial_ended(0), samples.trial_ended(1, state="FAIL", value=None), samples.pruned(2))
    assert "finished   2 of 5" in drawn(scene(*two))
    assert "finished   4 of 5" in drawn(scene(*two, samples.trial_started(6, finished=4))), "other machines finish some, too"


def test_a_study_whose_trial_is_evaluated_ends_after_those_to_come() -> None:
    trial = (samples.trial_started(1), Progressed(1, 500.0, 1), Phase(1, "evaluating: drawing"))
    assert study_left(scene(*trial), 9.0) is None
    assert study_left(scene(samples.trial_ended(0, seconds=40.0), *trial), 9.0) == pytest.approx(3 * 40.0)
    last = (samples.trial_started(4), Progressed(4, 500.0, 1), Phase(4, "evaluating: drawing"))
    assert study_left(scene(samples.trial_ended(0, seconds=40.0), *last), 9.0) is None


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
