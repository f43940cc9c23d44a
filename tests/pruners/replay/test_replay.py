"""A replay is a study: what a pruner does to recorded curves is what it does to live trials."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.replay.__main__ import main
from pruners.replay.archive import half, read
from pruners.replay.baselines import contenders, equal_share, i_epoch, random_kills
from pruners.replay.pareto_plot import beyond, draw, on_front, verdicts
from pruners.replay.simulator import Outcome, replay
from pruners.rules import Decision
from tests.pruners.samples import BLURRED, MUTE, curves_of, mixed, trial, written

ROOT = Path(__file__).parents[3]


class Watching(ExplainedPruner):
    """Stops the trials of some numbers at a step, by a rule, and keeps what it saw of the study."""

    seen: ClassVar[list[tuple[dict[str, Any], dict[int, float], list[FrozenTrial]]]] = []

    def __init__(self, numbers: Sequence[int] = (), step: int = 30, rule: str = "coverage") -> None:
        self.numbers, self.step, self.rule, self.asked = numbers, step, rule, 0

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        self.asked += 1
        others = study.get_trials(deepcopy=True)[: trial.number]
        self.seen.append((dict(trial.user_attrs), dict(trial.intermediate_values), others))
        stops = trial.number in self.numbers and trial.last_step == self.step
        return Decision(True, self.rule, 0.5, "seen enough") if stops else None


class Plain(optuna.pruners.BasePruner):
    """Stops the first trial at once, without a reason, as Optuna's pruners do; keeps what the next one sees of it."""

    seen: ClassVar[list[FrozenTrial]] = []

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.seen[:] = study.get_trials(deepcopy=True)[:1]
        return trial.number == 0


@pytest.fixture(autouse=True)
def _unseen() -> None:
    Watching.seen.clear()


def test_a_pruner_sees_the_record_and_the_steps_of_a_live_trial(tmp_path: Path) -> None:
    line = trial(0.5)
    for n, point in enumerate(line["points"], 1):
        point["kframes"] = n * 16.667
    (curve,) = curves_of(tmp_path, line)
    replay([curve], Watching())
    assert [attributes["health"] for attributes, _, _ in Watching.seen] == list(curve.prefixes)
    steps = [round(record["kframes"][-1]) for record in curve.prefixes]
    assert steps[:3] == [17, 33, 50]
    assert Watching.seen[-1][1] == dict(zip(steps, curve.val_losses, strict=True))


def test_a_finished_trial_looks_as_a_study_leaves_it(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.6, BLURRED, MUTE), trial(0.7), trial(0.8, nan_at=3), trial(0.9))
    replay(curves, Watching([2]))
    well, sick, stopped, broken = Watching.seen[-1][2]
    assert [one.state for one in (well, sick, stopped, broken)] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    assert (well.value, sick.value) == (0.5, 0.6)
    for one, curve in ((well, curves[0]), (sick, curves[1])):
        assert one.constraints == {f"health/{name}": amount for name, amount in curve.violations.items()}
    assert max(well.constraints.values()) <= 0 < max(sick.constraints.values())
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("coverage", {"health/coverage": 0.5})
    assert (broken.user_attrs["pruned_by"], broken.constraints) == ("nonfinite", {"health/nonfinite": 1.0})


def test_standing_behind_the_peers_is_no_illness(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Watching([0], rule="peers"))
    (stopped,) = Watching.seen[-1][2]
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("peers", {})


def test_a_pruner_without_a_reason_makes_nobody_sick(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Plain())
    (stopped,) = Plain.seen
    assert (stopped.user_attrs["pruned_by"], stopped.constraints, stopped.state) == ("Plain", {}, TrialState.PRUNED)


def test_outcomes(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.6), trial(0.7, nan_at=5))
    assert replay(curves, Watching([1])) == [Outcome(120, value=0.5), Outcome(30, "coverage"), Outcome(50, "nonfinite")]


def test_nobody_survives_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    (outcome,) = replay(curves_of(tmp_path, trial(0.5, nan_at=1)), NopPruner())
    assert outcome == Outcome(10, "nonfinite")


def test_a_pruner_of_optunas_decides_as_in_a_study_of_its_own(tmp_path: Path) -> None:
    """The same values in a loop as Optuna's documentation writes it."""
    curves = curves_of(tmp_path, *(trial(0.5 + 0.07 * (n * 5 % 9), nan_at=6 if n == 3 else None) for n in range(9)))
    pruners = {
        "MedianPruner": lambda: MedianPruner(n_startup_trials=2, n_warmup_steps=20),
        "SuccessiveHalvingPruner": lambda: SuccessiveHalvingPruner(min_resource=20, reduction_factor=2),
    }
    for name, pruner in pruners.items():
        study = optuna.create_study(pruner=pruner())
        left = iter(curves)

        def objective(trial: optuna.Trial, left: Any = left, name: str = name) -> float:
            for record, loss in zip((curve := next(left)).prefixes, curve.val_losses, strict=True):
                if loss is None:
                    raise optuna.TrialPruned
                trial.report(loss, round(record["kframes"][-1]))
                if trial.should_prune():
                    trial.set_user_attr("by", name)
                    raise optuna.TrialPruned
            return curve.value or 0.0

        study.optimize(objective, n_trials=len(curves))
        outcomes = replay(curves, pruner())
        assert any(outcome.pruned_by == name for outcome in outcomes)
        for mine, theirs in zip(outcomes, study.trials, strict=True):
            assert mine.value == (theirs.value if theirs.state == TrialState.COMPLETE else None)
            assert mine.pruned_by in (theirs.user_attrs.get("by"), "nonfinite")
            if mine.pruned_by != "nonfinite":
                assert mine.kframes == theirs.last_step


def test_a_replay_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither in a pruner that remembers nor in Optuna's verbosity."""
    pruner = Watching()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        replay(curves_of(tmp_path, *mixed()), pruner)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert Watching.seen
    assert pruner.asked == 0


def test_i_epoch_keeps_the_lowest_losses_at_its_point(tmp_path: Path) -> None:
    """Trial 2 is low early and high late; trial 3 is not finite at the point; trial 4 never comes so far."""
    early = trial(0.5)
    for n, point in enumerate(early["points"]):
        point["val_loss"] = 0.1 + n
    curves = curves_of(tmp_path, trial(0.5), trial(0.6), early, trial(0.4, nan_at=3), trial(0.4, nan_at=2))
    got = i_epoch(curves, share=0.25, keep=2)
    assert [outcome.kframes for outcome in got] == [120, 120, 30, 30, 20]
    assert [outcome.pruned_by for outcome in got] == [None, None, "i-epoch", "nonfinite", "nonfinite"]
    first = i_epoch(curves, share=1 / 12, keep=1)
    assert [outcome.value for outcome in first] == [None, None, curves[2].value, None, None]


@pytest.mark.parametrize("wanted", [0.0, 0.2, 0.5])
def test_random_kills_cost_what_they_should(tmp_path: Path, wanted: float) -> None:
    curves = curves_of(tmp_path, *mixed(40))
    share = equal_share(curves, wanted)
    full = sum(curve.full_kframes for curve in curves)
    draw, saved = random.Random(1), []
    for _ in range(400):
        order = draw.sample(curves, len(curves))
        saved.append(1 - sum(outcome.kframes for outcome in random_kills(order, share)) / full)
    assert np.mean(saved) == pytest.approx(wanted, abs=0.01)
    assert random_kills(curves, share) == random_kills(curves, share)


def test_random_kills_cannot_save_more_than_all(tmp_path: Path) -> None:
    assert equal_share(curves_of(tmp_path, *mixed()), 0.99) == 1


def test_of_fewer_trials_i_epoch_keeps_fewer(tmp_path: Path) -> None:
    for count, kept in ((16, [1, 2, 4]), (64, [4, 8, 16]), (80, [4, 8, 16])):
        curves = curves_of(tmp_path, *(trial(0.5 + 0.01 * n) for n in range(count)))
        known = contenders(curves, curves)
        for share in (8, 4, 2):
            survivors = [sum(o.pruned_by is None for o in known[f"i-epoch-1/{share}-{k}"](curves)) for k in (4, 8, 16)]
            assert survivors == kept


def test_the_threshold_is_read_from_the_chosen_half_alone(tmp_path: Path) -> None:
    """The median loss at a quarter of the budget: above all that is to be judged it stops nobody, below it everybody."""
    curves = curves_of(tmp_path, *(trial(0.5 + 0.05 * n) for n in range(6)))
    low, high = (curves_of(tmp_path, *(trial(end) for _ in range(3))) for end in (0.1, 3.0))
    assert all(outcome.pruned_by is None for outcome in contenders(curves, high)["threshold"](curves))
    assert {(o.pruned_by, o.kframes) for o in contenders(curves, low)["threshold"](curves)} == {("ThresholdPruner", 30)}


def test_the_command_judges_every_pruner_on_the_held_out_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line | {"held_out": k % 3 == 0} for k, line in enumerate(mixed())]
    path, out, plot = written(tmp_path, *lines), tmp_path / "new" / "j.json", tmp_path / "p.png"
    assert main(["--archive", str(path), "--json", str(out), "--plot", str(plot), "--orders", "2", "--workers", "1"]) == 0
    judged = json.loads(out.read_text())
    held_out = half(read(path), "held-out")
    counts = {name: sum(curve.condition == name for curve in held_out) for name in ("healthy", "weak", "sick")}
    said = {"archive": "curves.jsonl", "half": "held-out", "trials": 4, "orders": 2, **counts}
    assert {name: value for name, value in judged.items() if name != "pruners"} == said
    assert list(judged["pruners"]) == [*contenders(held_out, held_out), "random"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr()
    assert all(name in shown.out for name in judged["pruners"])
    assert shown.err == ""


def test_one_pruner_by_name_and_all_curves_where_none_is_held_out(tmp_path: Path) -> None:
    path, out = written(tmp_path, *mixed()), tmp_path / "j.json"
    flags = ["--pruner", "random", "--pruner", "none", "--orders", "2", "--workers", "1", "--json", str(out)]
    assert main(["--archive", str(path), *flags]) == 0
    judged = json.loads(out.read_text())
    assert (judged["half"], judged["trials"], list(judged["pruners"])) == ("all", 12, ["random", "none"])


def test_the_command_chooses_the_threshold_on_the_other_half(tmp_path: Path) -> None:
    """Which had losses far below those of the half that is judged."""
    lines = [trial(2.0 if k % 2 else 0.1) | {"held_out": k % 2 == 1} for k in range(6)]
    path, out = written(tmp_path, *lines), tmp_path / "j.json"
    assert main(["--archive", str(path), "--pruner", "threshold", "--orders", "2", "--workers", "1", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["pruners"]["threshold"]["healthy_killed"] == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pruner", "medium"], "medium"),
        (["--orders", "0"], "--orders"),
        (["--workers", "0"], "--workers"),
        (["--seed", "-1"], "--seed"),
        (["--archive", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_sentence_and_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert main(["--archive", str(written(tmp_path, *mixed())), *flags]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_a_broken_archive_and_a_half_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, trial(0.5), {"points": []})
    assert main(["--archive", str(path)]) == 2
    assert "line 2" in capsys.readouterr().err
    assert main(["--archive", str(written(tmp_path, trial(0.5))), "--half", "held-out"]) == 2
    assert "--half all" in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(tmp_path: Path) -> None:
    """The archive is a pipe: once somebody reads it, the command is under way."""
    os.mkfifo(pipe := tmp_path / "pipe")
    line = [sys.executable, "-m", "pruners.replay", "--archive", str(pipe)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("wb"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_beyond_a_front() -> None:
    """Nothing on the front costs as little for as little; what equals a point of it is not beyond."""
    front = [(0.2, 0.5), (0.5, 0.1)]
    assert all(beyond(front, point) for point in ((0.1, 0.9), (0.4, 0.4), (0.6, 0.05)))
    assert not any(beyond(front, point) for point in ((0.2, 0.5), (0.3, 0.5), (0.9, 0.1), (0.5, 0.1)))


def test_a_verdict_is_about_the_others_and_not_about_ours() -> None:
    def figures(saved: float, regret: float, quarter: float | None) -> dict[str, float | None]:
        return {"frames_saved": saved, "regret": regret, "top_quarter_killed": quarter}

    judged = {"default": figures(0.6, 0.0, 0.1), "with-peers": figures(0.9, 0.0, 0.0), "median": figures(0.6, 0.0, 0.2)}
    assert verdicts({"pruners": judged}, "default") == {"regret": False, "top_quarter_killed": True}
    judged["median"] = figures(0.5, 0.0, None)
    judged["default"] = figures(0.6, 0.0, None)
    assert verdicts({"pruners": judged}, "default") == {"regret": True}, "what was not measured has no verdict"


def test_the_front_is_what_nothing_beats() -> None:
    points = {"a": (0.5, 0.1), "b": (0.2, 0.5), "c": (0.5, 0.5), "d": (0.2, 0.6), "e": (0.2, 0.5)}
    assert sorted(on_front(points)) == ["a", "b", "e"]
    front = [points[name] for name in on_front(points)]
    assert front == sorted(front)
    assert not any(beyond(front, point) for point in points.values())


def test_a_picture_of_one_pruner_and_of_an_archive_without_a_healthy_trial(tmp_path: Path) -> None:
    for lines in ([trial(0.5), trial(0.6)], [trial(0.1, BLURRED, MUTE)] * 2):
        path, out = written(tmp_path, *lines), tmp_path / "j.json"
        assert main(["--archive", str(path), "--pruner", "default", "--orders", "2", "--workers", "1", "--json", str(out)]) == 0
        png = draw(tmp_path / "deep" / "front.png", json.loads(out.read_text()))
        assert png.read_bytes().startswith(b"\x89PNG")
