"""A study is steered from outside: paused, resumed, and a trial ended."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from objective.events.types import Warned
from objective.search.worker import PAUSED, work
from objective.steer import main
from storage.studies import open_storage
from tests.objective.search.test_worker import Said, lab_of


@pytest.fixture
def made(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/tacotune.db"), study_name="voice")


def typed(out: Path, *words: str) -> int:
    return main(["--study", "voice", "--out", str(out), *words])


def test_in_a_paused_study_no_trial_begins(tmp_path: Path, made: optuna.Study) -> None:
    said = Said()
    context = lab_of(tmp_path, said)
    assert typed(tmp_path, "pause") == 0
    context.interruption.allow(0.3)
    assert work(made, context).early
    assert made.trials == []
    assert [event.sentence for event in said.events if isinstance(event, Warned)] == [PAUSED]
    assert typed(tmp_path, "resume") == 0
    context.interruption.allow(30)
    with pytest.raises(AttributeError):  # it begins one, for which this context has no corpus
        work(made, context)
    assert len(made.trials) == 1


def test_a_trial_that_is_stopped_does_not_come_again(
    tmp_path: Path, made: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    made.ask()
    assert typed(tmp_path, "stop", "0") == 0
    (trial,) = made.trials
    assert trial.state == TrialState.FAIL
    assert "released" not in trial.user_attrs
    assert typed(tmp_path, "stop", "0") == 2
    assert "need the number of a running trial, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--study", "voise", "pause"], "need the name of a study, got voise: say one of voice"),
        (["--study", "voice", "--out", "nowhere", "pause"], "need the database of the study, got nowhere/tacotune.db"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], says: str, tmp_path: Path, made: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *words]) == 2
    assert capsys.readouterr().err.startswith(says)
