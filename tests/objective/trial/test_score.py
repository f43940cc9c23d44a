"""The value of a trial and its targets: no sick trial is the best."""

from dataclasses import replace

import numpy as np
import pytest

from model.report import Gradients, Health, Losses, Report
from objective.trial.score import FreeRunning, better, mcd, misses, sick, value, violations
from pruners.thresholds import Targets

WELL = Health(0.9, 0.8, 1.0, 0.0, 1.0, 0.8, 0.95, 1.0, 0.0, reading=1.0)
EVALUATED = FreeRunning(premature_rate=0.25, overrun_rate=0.5, alignment_score=0.5, mcd_db=12.0)
TARGETS = Targets()


def report(loss: float | None, health: Health = WELL) -> Report:
    losses = Losses(loss, 0.0, 0.0, 0.0)
    return Report(1.0, 1, 0.0, 1e-3, 1.0, losses, losses, Gradients(1, 1, 0, 0, 0), health, health)


def test_the_value_is_the_loss_the_distortion_or_both() -> None:
    assert value("loss", report(0.7), EVALUATED) == 0.7
    assert value("mcd", report(0.7), EVALUATED) == 12.0
    assert value("composite", report(0.7), EVALUATED) == pytest.approx(0.7 + 1.2 + 0.75)


def test_a_healthy_snapshot_beats_any_sick_one() -> None:
    unaligned = report(0.1, replace(WELL, diagonality=0.12))
    assert sick(unaligned, TARGETS)
    assert not sick(report(0.9), TARGETS)
    assert better(report(0.9), unaligned, TARGETS)
    assert not better(unaligned, report(0.9), TARGETS)
    assert better(report(0.8), report(0.9), TARGETS)
    assert not better(report(None), None, TARGETS)


def test_what_was_not_measured_is_missed() -> None:
    assert violations(report(1.0, replace(WELL, gate_accuracy=None)), TARGETS)["gate_accuracy"] == 1.0


def test_the_sentence_names_each_miss_with_its_target() -> None:
    ill = report(1.0, replace(WELL, diagonality=0.5))
    broken = violations(ill, TARGETS) | {"free_failures": 0.5}
    sentence = misses(broken, ill, EVALUATED, TARGETS)
    assert sentence == (
        "diagonality 0.50, target 0.80; "
        "in free-running synthesis, 25% of the sentences end too early and 50% never, target at most 25%"
    )
    assert misses(violations(report(1.0), TARGETS), report(1.0), EVALUATED, TARGETS) == ""


def test_the_distortion_ignores_pace_and_loudness_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    mel = random.normal(size=(40, 80)).astype(np.float32).cumsum(0)
    assert mcd(mel, mel) == pytest.approx(0, abs=1e-4)
    assert mcd(np.repeat(mel, 2, 0), mel) == pytest.approx(0, abs=1e-4), "time warping: a change of pace costs nothing"
    assert mcd(mel + 1.0, mel) == pytest.approx(0, abs=1e-3), "a change of loudness costs nothing"
    other = mel + random.normal(size=mel.shape).astype(np.float32)
    assert mcd(other, mel) > 1


def test_the_distortion_is_the_difference_of_two_spectra_in_db() -> None:
    """The root mean square of a cosine, 20 / ln 10 dB for a unit of the natural logarithm of a magnitude."""
    bands = (np.arange(80) + 0.5) / 80
    for ripple in (1, 5, 13):
        ripples = 0.3 * np.cos(np.pi * ripple * bands)[None].astype(np.float32)
        rms_db = float(np.sqrt(np.mean((20 / np.log(10) * ripples) ** 2)))
        assert mcd(ripples, np.zeros((1, 80), np.float32)) == pytest.approx(rms_db, rel=1e-5)
