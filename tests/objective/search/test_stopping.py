"""The ends of a study by itself, and a worker whose machine fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from objective.search.stopping import StoppingRules
from objective.settings.schema import Settings
from tests.objective.small_study import ROOT, finished, held, study, study_arguments


def rules_of(made: optuna.Study, **settings: object) -> StoppingRules:
    return StoppingRules(made, Settings.model_validate({"study": settings}))


def tell(made: optuna.Study, value: float = 1.0, by: str | None = None, reports: int = 1, broken: float = 0.0) -> None:
    trial = made.ask()
    for step in range(reports):
        trial.report(value, step)
    trial.set_user_attr("health", {"kframes": list(range(reports))})
    if by is not None:
        trial.set_user_attr("pruned_by", by)
        trial.set_user_attr("pruned_reason", f"{by} was wrong")
        made.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    trial.set_constraint("health/diagonality", broken)
    made.tell(trial, value)


def test_a_healthy_trial_that_is_good_enough_ends_the_study() -> None:
    made = optuna.create_study()
    rules = rules_of(made, until=0.5)
    tell(made, 0.6)
    tell(made, 0.4, broken=1.0)
    assert rules.check(finished(made)) is None, "a sick trial is never good enough"
    tell(made, 0.5)
    end = rules.check(finished(made))
    assert end is not None
    assert (end.reason, end.code) == ("trial 2 reached 0.5, the goal was 0.5", 0)


def test_enough_trials_end_the_study_first() -> None:
    made = optuna.create_study()
    tell(made, 0.1)
    end = rules_of(made, trials=1, until=0.5).check(finished(made))
    assert end is not None
    assert end.reason == "finished"


def test_four_consecutive_stops_at_the_first_report_end_the_study() -> None:
    made = optuna.create_study()
    rules = rules_of(made)
    for by in ("nonfinite", "grad_norm", "nonfinite"):
        tell(made, by=by)
    assert rules.check(finished(made)) is None
    tell(made, by="nonfinite")
    end = rules.check(finished(made))
    assert end is not None
    assert end.code == 1
    assert end.reason == (
        "4 consecutive trials were stopped at their first report (3 by nonfinite, 1 by grad_norm), the last one because "
        "nonfinite was wrong: lower the learning rates of the space, or listen to the recordings"
    )
    assert rules_of(made).check(finished(made)) is None, "a command that is typed again tries again"
    assert rules_of(made, dead_in_a_row=0).check(finished(made)) is None


@pytest.mark.parametrize("spared", [{"by": "peers"}, {"by": "diagonality", "reports": 2}, {}])
def test_a_trial_that_lasts_longer_resets_the_count(spared: dict[str, object]) -> None:
    made = optuna.create_study()
    rules = rules_of(made)
    for _ in range(3):
        tell(made, by="grad_norm")
    tell(made, **spared)  # type: ignore[arg-type]
    for _ in range(3):
        tell(made, by="grad_norm")
        assert rules.check(finished(made)) is None


def test_a_timeout_stops_a_running_trial_without_loss(spoken: Path) -> None:
    """A trial of a million kframes would take days: at the timeout it is released with a snapshot, and is retried later."""
    endless = [
        "--study",
        "timed",
        "--trials",
        "1",
        "--set",
        "budget.kframes=1000000",
        "--set",
        "budget.snapshot_kframes=1000000",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "objective.study", *study_arguments(spoken, *endless), "--timeout", "4"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert "time is up after 4 s: 0 of 1 trials" in done.stdout
    assert "--study timed --trials 1" in " ".join(done.stdout.split()), "the same command continues"
    (trial,) = (trial for trial in study(spoken, "timed").trials if trial.state.name == "FAIL")
    assert trial.user_attrs["released"] == "time is up after 4 s"
    assert (spoken / "timed" / "trial-00000" / "last.pt").exists()


def test_a_waiting_worker_continues_when_its_machine_is_fixed(spoken: Path) -> None:
    """A file in place of the trial's folder stands for a disk that fails and is then fixed."""
    out = spoken / "waiting" / "trial-00001"
    more = ["--study", "waiting", "--trials", "2", "--set", "study.on_failure=wait", "--budget-kframes", "4"]
    with held(spoken, 0, 1.0, *more) as process:
        out.write_text("no folder")
        process.stdin.close()
        assert any("retrying in 1 s" in line for line in process.stdout)
        out.unlink()
        assert process.wait(timeout=60) == 0
    trials = study(spoken, "waiting").trials
    assert len(finished(study(spoken, "waiting"))) == 2
    assert "file exists" in trials[1].user_attrs["released"]


def test_a_hanging_worker_releases_its_trial(spoken: Path) -> None:
    """The worker blocks between two updates, as with a driver that no longer answers. The trial is released with the reason."""
    code = (
        "import sys, threading; from model.trainer import Trainer; from objective.study import main\n"
        "steps = Trainer.steps\n"
        "def hanging(self):\n"
        "    for number, step in enumerate(steps(self)):\n"
        "        yield step\n"
        "        if number == 3: threading.Event().wait()\n"
        "Trainer.steps = hanging\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    line = study_arguments(spoken, "--study", "hung", "--trials", "1", "--set", "study.hang_s=1")
    done = subprocess.run([sys.executable, "-c", code, *line], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no progress for" in done.stderr
    (trial,) = (trial for trial in study(spoken, "hung").trials if trial.state.name == "FAIL")
    assert re.match(r"no progress for \d+ s at \d+ kframes", trial.user_attrs["released"])
    assert trial.user_attrs["died"]
    lines = (spoken / "hung" / "events.jsonl").read_text().splitlines()
    assert "StudyStarted" in {json.loads(line)["event"] for line in lines}
