"""The closing page from a study: what the best trial says, or how far the closest is and what would bring it nearer."""

import io
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from objective.display.advice import nearer
from objective.display.closing_page import closing
from objective.display.summary import ended
from pruners.health_record import empty, extended
from tests.objective import samples
from tests.objective.display.screens import display, lines, unwrapped

DROP = "network.drop_frame_rate"
RATES = {DROP: optuna.distributions.FloatDistribution(0.0, 0.6)}


def tell(study: optuna.Study, value: float, spoken: dict[str, Any], missed: float = -0.1, **attributes: Any) -> None:
    """End a trial with free-running figures, which misses `understood` by `missed`."""
    study.enqueue_trial({DROP: 0.1})
    trial = study.ask(RATES)
    for name, known in ({f"free_{name}": known for name, known in spoken.items()} | attributes).items():
        trial.set_user_attr(name, known)
    trial.set_constraint("health/understood", missed)
    study.tell(trial, value)


def page(study: optuna.Study, width: int = 80) -> str:
    stream = io.StringIO()
    closing(Console(file=stream, width=width), ended(study, "finished", 5, 500.0, 9.0, "next"))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_best_trial_is_quoted_below_the_table(width: int) -> None:
    study = optuna.create_study()
    tell(study, 0.05, samples.SPOKEN)
    tell(study, 0.73, samples.MUMBLED, missed=0.6, sick_reason=samples.MISHEARD)
    text = page(study, width)
    output = unwrapped(text)
    assert "✓ 0 0.050 healthy 4.1% 6.2% 0 s" in output
    assert "! 1 0.730 sick 73% 90% 0 s" in output
    for said in ("text", "heard", "worst_text", "worst_heard"):
        assert f'"{samples.SPOKEN[said]}"' in text, "a sentence of this length is on one line"
    assert "25% wrong" in output
    assert "4.1% of letters heard wrong (recordings 0.2%); faults in 6.2% of 32 sentences: 2 skipped, 1 mumbled" in output
    assert "No healthy trial" not in output
    assert max(map(len, text.splitlines())) <= width


def test_without_a_listener_the_table_shows_how_well_it_reads() -> None:
    study = optuna.create_study()
    tell(study, 0.5, {"failures": 0.25, "faults": {"stuck": 8}, "sentences": 32}, diagonality=0.91, reading=0.88)
    output = unwrapped(page(study))
    assert "trial value health diag reading faults time ✓ 0 0.500 healthy 0.91 0.88 25% 0 s" in output


def test_a_trial_that_was_never_judged_is_a_row_of_dashes() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("pruned_by", "nonfinite")
    study.tell(trial, state=TrialState.PRUNED)
    assert "⊘ 0 - pruned - - - 0 s" in unwrapped(page(study))


def test_a_trial_that_a_rule_ended_with_its_healthy_snapshot_has_its_reason_and_its_saved_frames() -> None:
    study = optuna.create_study()
    why = "ended by overfit_gap, keeping its healthy snapshot of 300 kframes: a gap of 114% > 100%"
    tell(study, 0.05, samples.SPOKEN, ended_by="overfit_gap", ended_reason=why, kframes=400.0)
    output = unwrapped(page(study, 120))
    assert "✓ 0 0.050 healthy" in output
    assert why in output
    assert "frames saved by stopping early overfit_gap 100 kframes" in output


@pytest.mark.parametrize("show", [lines, display])
def test_while_nothing_is_understood_the_closest_has_its_distance_and_advice(show) -> None:
    study = optuna.create_study()
    record = empty(500.0)
    for kframes, errors in ((100.0, 0.95), (300.0, 0.88), (400.0, None), (500.0, 0.73)):
        record = extended(record, {"kframes": kframes, "free_errors": errors})
    tell(study, 0.73, samples.MUMBLED, missed=0.6, sick_reason=samples.MISHEARD, health=record)
    tell(study, 0.99, samples.MUMBLED | {"errors": 0.99}, missed=0.9)
    event = ended(study, "finished", 5, 500.0, 9.0, "next")
    output = unwrapped(show([samples.study_started(), event]))
    assert f"No healthy trial yet. The closest is trial 0: {samples.MISHEARD}" in output
    assert "Its errors were still falling when it ended (88% at 300 kframes, 73% at 500): raise --budget-kframes." in output
    assert "Raise network.drop_frame_rate, which is 0.1:" in output
    assert f'heard "{samples.MUMBLED["heard"]}"' in output
    assert "heard (nothing) 100% wrong" in output


def test_advice_is_for_what_is_not_understood_or_does_not_read() -> None:
    study = optuna.create_study()
    tell(study, 0.05, samples.SPOKEN, missed=0.2)
    assert ended(study, "finished", 5, 500.0, 9.0, "next").advice
    for healthy in (optuna.create_study(), study):
        tell(healthy, 0.9, samples.SPOKEN)
        assert ended(healthy, "finished", 5, 500.0, 9.0, "next").advice == ""
    for rule, advised in (("diagonality", True), ("grad_norm", False), ("out_of_memory", False)):
        stopped = optuna.create_study()
        trial = stopped.ask()
        trial.set_user_attr("pruned_by", rule)
        trial.set_constraint(f"health/{rule}", 0.5)
        stopped.tell(trial, state=TrialState.PRUNED)
        assert bool(ended(stopped, "finished", 5, 500.0, 9.0, "next").advice) is advised


def test_where_nobody_aligned_one_sentence_says_so() -> None:
    study = optuna.create_study()
    record = extended(empty(500.0), {"kframes": 500.0, "diagonality": 0.3, "free_errors": 1.0})
    for _ in range(2):
        tell(study, 1.0, samples.MUMBLED, missed=0.9, health=record)
    event = ended(study, "finished", 5, 500.0, 9.0, "next", unaligned=2)
    assert event.unaligned is not None
    assert event.advice == ""


@pytest.mark.parametrize(
    ("errors", "rate", "parts"),
    [
        ([(100.0, 0.9), (200.0, 0.5)], 0.0, ("still falling", "raise --budget-kframes", "drop_frame_rate, which is 0:")),
        (
            [(100.0, 0.5), (200.0, 0.49)],
            0.5,
            ("no longer falling", "alone will not help", "loss.guided_weight", "add recordings"),
        ),
        ([(100.0, 0.5), (190.0, 0.2), (200.0, 0.5)], 0.5, ("no longer falling (50% at 100 kframes, 50% at 200)",)),
        ([(200.0, 0.5)], None, ("may help (--budget-kframes)", "loss.guided_weight")),
        ([], 0.2, ("may help (--budget-kframes)", "drop_frame_rate, which is 0.2:")),
    ],
)
def test_the_advice_follows_from_the_errors_on_the_way_and_the_drop_frame_rate(
    errors: list[tuple[float, float]], rate: float | None, parts: tuple[str, ...]
) -> None:
    for part in parts:
        assert part in nearer(errors, rate)
