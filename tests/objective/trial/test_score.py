"""The value of a trial and its targets: what is heard decides, and no sick trial is the best."""

from dataclasses import replace

import pytest

from model.report import Free, Gradients, Health, Losses, Report
from model.spoken import FreeRunning, Spoken
from objective.trial.score import better, healthy, misses, speech, value, violations, with_figures
from pruners.thresholds import Targets

WELL = Health(0.9, 0.8, 1.0, 0.0, 1.0, 0.8, 0.95, 1.0, 0.0, reading=0.95)
SPEAKS = Free(value=0.05, errors=0.04, floor=0.01, failures=0.05, length=1.0, silence=0.1, alignment_score=0.8, mcd_db=7.0)
MUMBLES = replace(SPEAKS, value=0.8, errors=0.76, failures=1.0)
DEAF = replace(SPEAKS, value=0.4, errors=None, floor=None)
TARGETS = Targets()
SENTENCE = Spoken("ab.", seconds=1.0, recorded_s=1.0, stop_s=0.0, silence=0.1, heard="ab", errors=0.0, surprise=0.1)


def report(loss: float | None = 0.7, health: Health = WELL, free: Free = SPEAKS) -> Report:
    losses = Losses(loss, 0.0, 0.0, 0.0)
    return Report(1.0, 1, 0.0, 1e-3, 1.0, losses, losses, Gradients(1, 1, 0, 0, 0), health, health, free)


def test_the_value_is_what_the_score_names() -> None:
    assert value("speech", report()) == 0.05
    assert value("loss", report()) == 0.7
    assert value("mcd", report()) == 7.0
    assert value("composite", report()) == pytest.approx(0.7 + 0.7 + 0.05)
    assert value("speech", report(free=Free())) is None, "no value without free-running synthesis"
    assert value("loss", report(free=Free())) is None
    assert value("speech", report(loss=None)) is None


def test_a_voice_that_copies_and_says_nothing_is_sick_whatever_its_loss() -> None:
    """Teacher-forced, each of these figures was met by a voice of which not one word was understood."""
    perfect = replace(WELL, diagonality=1.0, reading=1.0, alignment_score=1.0, gate_accuracy=1.0)
    mumble = report(0.1, perfect, MUMBLES)
    assert not healthy(mumble, TARGETS)
    assert healthy(report(0.9), TARGETS)
    for kind in ("speech", "loss", "mcd", "composite"):
        assert better(report(0.9), mumble, kind, TARGETS)
        assert not better(mumble, report(0.9), kind, TARGETS)


@pytest.mark.parametrize(
    "health",
    [
        replace(WELL, diagonality=0.3),
        replace(WELL, reading=0.2),
        replace(WELL, alignment_score=0.14),
        replace(WELL, gate_accuracy=0.5),
    ],
)
def test_what_is_understood_is_healthy_whatever_its_attention_looks_like(health: Health) -> None:
    """Silence, blur, flicker and an inexact stop made such voices sick."""
    assert healthy(report(health=health), TARGETS)


def test_without_a_listener_alignment_and_stops_decide() -> None:
    assert healthy(report(free=DEAF), TARGETS)
    assert not healthy(report(health=replace(WELL, diagonality=0.5), free=DEAF), TARGETS)
    assert not healthy(report(health=replace(WELL, reading=0.5), free=DEAF), TARGETS)
    assert not healthy(report(free=replace(DEAF, failures=0.5)), TARGETS)
    assert violations(report(health=replace(WELL, reading=None), free=DEAF), TARGETS)["reading"] == 1.0
    assert violations(report(free=Free()), TARGETS)["free_failures"] == 1.0


def test_the_snapshot_that_speaks_best_is_kept() -> None:
    """A trial that overfits has its lowest loss and its best voice at different reports."""
    assert better(report(0.5, free=replace(SPEAKS, value=0.02)), report(0.4), "speech", TARGETS)
    assert not better(report(0.3, free=Free()), report(0.4), "speech", TARGETS), "a report that was not judged has no snapshot"
    assert better(report(), None, "speech", TARGETS)
    assert not better(report(free=Free()), None, "speech", TARGETS)


def test_the_sentence_names_each_miss_with_its_target() -> None:
    mumble = report(free=MUMBLES)
    assert misses(violations(mumble, TARGETS), mumble, TARGETS) == (
        "not understood: 76% of the letters are heard wrong, in recordings 1%; target at most 11%; "
        "100% of the free-running sentences have a fault, target at most 10%"
    )
    blind = report(health=replace(WELL, diagonality=0.5), free=DEAF)
    assert misses(violations(blind, TARGETS), blind, TARGETS) == "diagonality 0.50, target 0.80"
    assert misses(violations(report(), TARGETS), report(), TARGETS) == ""


def test_the_score_falls_with_what_is_understood() -> None:
    def spoken(errors: float | None, surprise: float | None, faults: int = 0) -> FreeRunning:
        one = replace(SENTENCE, errors=errors, surprise=surprise, faults=("cut",) if faults else ())
        return FreeRunning((one,), alignment_score=0.8, mcd_db=8.0, recorded_errors=0.01)

    assert speech(spoken(0.0, 0.0)) == 0
    assert speech(spoken(1.0, 1.0)) == 1
    assert speech(spoken(0.5, 0.9)) > speech(spoken(0.1, 0.9)) > speech(spoken(0.1, 0.2)) > speech(spoken(0.1, 0.1))
    assert speech(spoken(None, None, faults=1)) > speech(spoken(None, None)), "without a listener, by faults"
    figures = with_figures(report(free=Free()), spoken(0.5, 0.9)).free
    assert (figures.errors, figures.floor, figures.value) == (0.5, 0.01, speech(spoken(0.5, 0.9)))
    assert with_figures(report(free=Free()), None).free == Free()
