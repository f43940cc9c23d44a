"""A long training that is poisoned recovers, or ends with its diagnosis; a healthy one is left alone."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.config import Config, Training
from model.snapshot import Snapshot
from model.trainer import Trainer
from objective.trial.rescue import DIVERGED, NONFINITE_STEPS, Action, Rescue, without_undone
from pruners.health_record import Record, empty, extended, measurements
from pruners.rules import shipped_rules
from pruners.thresholds import Ceiling, Floor, GradNorm, Thresholds
from storage.snapshot_writer import held
from tests.conftest import tiny_config, toy_speech, without_dropout

CPU = torch.device("cpu")
RULES = shipped_rules(
    replace(
        Thresholds(),
        grad_norm=GradNorm(patience_share=0),
        progress=Floor(0.05, -0.1, warmup_share=0.1, patience_share=0),
        relapse=Ceiling(0.3, 0.6, patience_share=0),
    )
)
STEADY = Training(batch_size=4, learning_rate=3e-3)
Poison = Callable[[Trainer], None]


def run(
    folder: Path, poison: Poison, training: Training = STEADY, most: int = 3, kframes: float = 12
) -> tuple[Trainer, Rescue, Record, str | None, list[str]]:
    """Train with a poison that is given before each update; return what became of it, and what was told."""
    config: Config = replace(tiny_config(), network=without_dropout(), training=training)
    trainer, told = Trainer(config, toy_speech(), kframes, 24, CPU, seed=5), []
    rescue = Rescue(most, RULES, folder, str, told.append, [], window_share=0.4)
    record, steps = empty(kframes), trainer.steps()
    rescue.begin(trainer, record)
    while True:
        poison(trainer)
        try:
            report = next(steps)
        except StopIteration:
            return trainer, rescue, record, None, told
        if report is not None:
            record = extended(record, measurements(report))
        if (diagnosis := rescue.check(trainer, report, record)) is not None:
            return trainer, rescue, record, diagnosis, told


def nan_gradients(first: int, last: int) -> Poison:
    """Return a poison that makes the gradients of the updates `first` to `last` NaN."""
    state = {"on": False, "hooked": False}

    def spoilt(gradient: Tensor) -> Tensor:
        return gradient * torch.nan if state["on"] else gradient

    def poison(trainer: Trainer) -> None:
        if not state["hooked"]:
            trainer.network.gate.weight.register_hook(spoilt)
            state["hooked"] = True
        state["on"] = first <= trainer.cursor.updates < last

    return poison


def test_a_healthy_training_is_left_alone(tmp_path: Path) -> None:
    trainer, rescue, record, diagnosis, told = run(tmp_path, lambda trainer: None)
    assert diagnosis is None
    assert [action.kind for action in rescue.actions if action.kind == "rollback"] == []
    assert trainer.cursor.rate_scale == 1 or told, "whatever it does it tells"
    assert not list(tmp_path.iterdir())
    assert len(record["kframes"]) == 24


def test_nan_gradients_are_skipped_and_a_row_of_them_rolls_back(tmp_path: Path) -> None:
    few, rescue, _, diagnosis, _ = run(tmp_path, nan_gradients(20, 20 + NONFINITE_STEPS - 1))
    assert (diagnosis, [action for action in rescue.actions if action.kind == "rollback"]) == (None, [])
    assert few.cursor.rate_scale == 1
    many, rescue, record, diagnosis, told = run(tmp_path, nan_gradients(20, 34))
    assert diagnosis is None
    rolled = [action for action in rescue.actions if action.kind == "rollback"]
    assert len(rolled) == 2, "one for each look at the steps, until the poison is over"
    assert many.cursor.rate_scale == 0.25
    assert f"learning rate {STEADY.learning_rate:g} -> {STEADY.learning_rate / 2:g}, weights of" in told[0]
    assert "steps in a row were not finite" in told[0]
    assert any("updates after the rollback: validation loss" in sentence for sentence in told)
    assert record["val_loss"][-1] < record["val_loss"][0]
    assert all(bool(weight.isfinite().all()) for weight in many.network.parameters())


def test_a_training_that_was_stopped_while_it_diverged_does_not_go_back_there(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(), toy_speech(), 4, 8, CPU, seed=5)
    rescue = Rescue(3, RULES, tmp_path, str, print, [], window_share=0.4)
    rescue.begin(trainer, extended(empty(4), {"kframes": 1.0, "val_loss": None}))
    assert rescue.stable is None
    rescue.begin(trainer, extended(empty(4), {"kframes": 1.0, "val_loss": 1.0}))
    assert rescue.stable is not None


def test_going_back_twice_leads_to_the_same_state() -> None:
    """On a CPU an optimiser would take the tensors of the snapshot, and change them with the next steps."""
    trainer = Trainer(tiny_config(), toy_speech(), 4, 8, CPU, seed=5)
    steps = trainer.steps()
    for _ in range(4):
        next(steps)
    good = held(trainer.snapshot().as_dict())
    before = copy.deepcopy(good())
    for _ in range(2):
        trainer.roll_back(Snapshot.from_dict(good()))
        next(steps)
        next(steps)
    for part in ("weights", "optimiser"):
        torch.testing.assert_close(good()[part], before[part], rtol=0, atol=0)


def test_the_state_of_an_event_is_kept(tmp_path: Path) -> None:
    run(tmp_path, nan_gradients(20, 30))
    folder = min(tmp_path.glob("event-*"))
    state = json.loads((folder / "state.json").read_text())
    assert len(state["utterances"]) == STEADY.batch_size
    assert state["losses"]["total"] == pytest.approx(sum(state["losses"][name] for name in ("mel_before", "mel_after")), rel=1)
    assert state["gradient_norms"]["gate"] is None, "the layer that the poison hit"
    assert state["gradient_norms"]["projection"] > 0
    assert (folder / "alignment.png").stat().st_size > 1_000


def test_a_rate_raised_a_hundredfold_is_rolled_back(tmp_path: Path) -> None:
    """The weights come back, and so does the loss; the rate that the training has from then on is its own again, halved."""

    def poison(trainer: Trainer) -> None:
        if trainer.cursor.updates == 60:
            trainer.cursor.rate_scale *= 1_000

    trainer, rescue, record, diagnosis, told = run(tmp_path, poison)
    assert diagnosis is None
    assert trainer.cursor.rate_scale <= 0.5
    rolled = [action for action in rescue.actions if action.kind == "rollback"]
    assert rolled, told
    worst = max(loss for loss in record["val_loss"] if loss is not None)
    assert worst > 1.1 * record["val_loss"][0], "the poison works"
    assert record["val_loss"][-1] < record["val_loss"][0]


def test_what_diverges_again_and_again_ends_with_a_diagnosis(tmp_path: Path) -> None:
    _, rescue, _, diagnosis, _ = run(tmp_path, nan_gradients(20, 10_000), most=3)
    assert diagnosis is not None
    assert "diverged again after 3 rollbacks" in diagnosis
    assert "start anew with --safe" in diagnosis
    assert [action.kind for action in rescue.actions] == ["rollback"] * 3
    assert len(list(tmp_path.glob("event-*/state.json"))) == 4


def test_looking_into_an_update_changes_nothing(tmp_path: Path) -> None:
    from model.inspection import inspect

    def looking(trainer: Trainer) -> None:
        if trainer.cursor.updates in (10, 11, 12):
            inspect(trainer)

    looked, *_ = run(tmp_path, looking)
    other, *_ = run(tmp_path, lambda trainer: None)
    torch.testing.assert_close(dict(looked.network.state_dict()), dict(other.network.state_dict()), rtol=0, atol=0)


def test_rules_do_not_see_what_a_rollback_has_undone() -> None:
    record = empty(10)
    for kframes in range(1, 8):
        record = extended(record, {"kframes": float(kframes), "val_loss": float(kframes)})
    undone = Action("rollback", 50, kframes=5.0, since=2.0, change="", why="", before={})
    restart = replace(undone, kind="restart", kframes=7.0)
    assert without_undone(record, [undone, restart])["val_loss"] == [1.0, 2.0, 6.0, 7.0]
    assert without_undone(record, []) == record
    assert {rule.name for rule in RULES} >= set(DIVERGED)
