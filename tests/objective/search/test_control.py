"""A running study is controlled from outside: paused, resumed, and one of its trials stopped."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from objective.events.types import Warned
from objective.search.worker import PAUSED, work
from objective.steer import main
from storage.studies import open_storage
from tests.objective.search.test_worker import Recorder, context_of


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/tacotune.db"), study_name="voice")


def steer(out: Path, *arguments: str) -> int:
    return main(["--study", "voice", "--out", str(out), *arguments])


def test_no_trial_starts_in_a_paused_study(tmp_path: Path, study: optuna.Study) -> None:
    recorder = Recorder()
    context = context_of(tmp_path, recorder)
    assert steer(tmp_path, "pause") == 0
    context.interruption.stop_after(0.3)
    assert work(study, context).early
    assert study.trials == []
    assert [event.sentence for event in recorder.events if isinstance(event, Warned)] == [PAUSED]
    assert steer(tmp_path, "resume") == 0
    context.interruption.stop_after(30)
    with pytest.raises(AttributeError):  # a trial starts, for which this context has no corpus
        work(study, context)
    assert len(study.trials) == 1


def test_a_stopped_trial_is_not_retried(tmp_path: Path, study: optuna.Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.ask()
    assert steer(tmp_path, "stop", "0") == 0
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL
    assert "released" not in trial.user_attrs
    assert steer(tmp_path, "stop", "0") == 2
    assert "need the number of a running trial, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study", "voise", "pause"], "need the name of a study, got voise: choose one of voice"),
        (["--study", "voice", "--out", "nowhere", "pause"], "need the database of the study, got nowhere/tacotune.db"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err.startswith(message)
