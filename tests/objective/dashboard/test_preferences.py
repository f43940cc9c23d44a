"""Laws of comparing by ear: which samples are heard, and how choices become ranks. With a real database and real routes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna.trial import TrialState
from optuna_dashboard import get_note, wsgi

from model.config import Config
from objective.dashboard.preferences import PRIOR, Listening, ranks, strengths
from objective.search.migrate import StudyRefused
from objective.search.open_study import open_study
from objective.settings.schema import Settings
from search_spaces.space import load
from storage.artifacts import artifact_store, artifacts, publish
from storage.errors import StorageError
from storage.studies import open_storage
from tests.objective.asking import ask, served


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study with trials of these values: the third is pruned, the fourth sick."""
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db"), study_name="anna", direction="minimize")
    for value in (0.5, 0.2, 0.1, 0.05, 0.4, 0.3):
        end(study, tmp_path, value, {0.1: {"state": TrialState.PRUNED}, 0.05: {"sick": 1.0}}.get(value, {}))
    return study


def end(study: optuna.Study, out: Path, value: float, how: dict[str, Any]) -> None:
    trial = study.ask()
    trial.suggest_float("training.learning_rate", 0, 1)
    file = out / "sample.ogg"
    file.write_bytes(f"sound of {trial.number}".encode())
    publish(study, trial, [file], out)
    if "sick" in how:
        trial.set_constraint("health/diagonality", how["sick"])
    trial.report(value, 1)
    study.tell(trial, None if "state" in how else value, state=how.get("state", TrialState.COMPLETE))


def heard(study: optuna.Study, out: Path) -> list[tuple[int, bytes]]:
    """Return the trials whose samples NAME-listen has, in its order, and the sounds."""
    others = optuna.load_study(storage=study._storage, study_name="anna-listen")
    found = []
    for trial in others.trials:
        ((name, file),) = artifacts(others, trial, out).items()
        assert name == "sample.ogg"
        assert file.name == trial.user_attrs["sample"]
        found.append((trial.user_attrs["of_trial"], file.read_bytes()))
    return found


def notes(study: optuna.Study) -> str:
    return str(get_note(optuna.load_study(storage=study._storage, study_name="anna-listen")))


def test_the_best_healthy_trials_are_heard(study: optuna.Study, tmp_path: Path) -> None:
    """In the order of their numbers, so that neither place nor name shows which has the better value."""
    Listening(study, 3, tmp_path).look()
    assert heard(study, tmp_path) == [(1, b"sound of 1"), (4, b"sound of 4"), (5, b"sound of 5")]
    assert "Nobody has chosen yet" in notes(study)
    assert "listened" not in study.user_attrs


def test_new_samples_are_added_and_the_others_stay(study: optuna.Study, tmp_path: Path) -> None:
    first = Listening(study, 3, tmp_path)
    first.look()
    assert first.heard is not None
    zero, one, two = first.heard.trials
    first.heard.report_preference([zero, two], one)
    first.look()
    before = study.user_attrs["listened"], notes(study)
    Listening(study, 3, tmp_path).look()
    assert [number for number, _ in heard(study, tmp_path)] == [1, 4, 5]
    assert (study.user_attrs["listened"], notes(study)) == before
    end(study, tmp_path, 0.01, {})
    end(study, tmp_path, 0.9, {})
    Listening(study, 3, tmp_path).look()
    assert [number for number, _ in heard(study, tmp_path)] == [1, 4, 5, 6]
    assert study.user_attrs["listened"] == {"1": 1, "5": 1, "4": 3}


def test_choosing_the_worst_again_and_again_ranks_all_and_can_be_undone(study: optuna.Study, tmp_path: Path) -> None:
    """As the browser sends it. The choices are against the values."""
    listening = Listening(study, 8, tmp_path)
    listening.look()
    assert [number for number, _ in heard(study, tmp_path)] == [0, 1, 4, 5]
    path = f"/api/studies/{study._storage.get_study_id_from_name('anna-listen')}/preference"
    with served(wsgi(study._storage, artifact_store=artifact_store(tmp_path))) as port:
        left = [0, 1, 2, 3]
        for worst in (1, 3, 2):
            chosen = {"mode": "ChooseWorst", "candidates": left, "clicked": worst}
            assert ask(port, "POST", path, json.dumps(chosen), Content_Type="application/json")[0] == 204
            left.remove(worst)
        listening.look()
        assert study.user_attrs["listened"] == {"0": 1, "4": 2, "5": 3, "1": 4}
        rows = [line.split("|")[1:-1] for line in notes(study).splitlines() if line.startswith("| ") and "rank" not in line]
        assert [[cell.strip() for cell in row] for row in rows] == [
            ["1", "0", "3 of 3 times", "0.500", "-"],
            ["2", "4", "2 of 3 times", "0.400", "-"],
            ["3", "5", "1 of 3 times", "0.300", "-"],
            ["4", "1", "0 of 3 times", "0.200", "-"],
        ]
        history = json.loads(ask(port, path=path.removesuffix("/preference"))[2])["preference_history"]
        for choice in history:
            assert ask(port, "DELETE", f"{path}/{choice['history']['id']}")[0] == 204
    listening.look()
    assert study.user_attrs["listened"] == {}
    assert "Nobody has chosen yet" in notes(study)


def test_a_note_that_a_person_wrote_stays_until_the_next_choice(study: optuna.Study, tmp_path: Path) -> None:
    listening = Listening(study, 3, tmp_path)
    listening.look()
    assert listening.heard is not None
    with served(wsgi(study._storage)) as port:
        path = f"/api/studies/{listening.heard._study._study_id}/note"
        assert ask(port, "PUT", path, json.dumps({"version": 2, "body": "mine"}), Content_Type="application/json")[0] == 204
    listening.look()
    assert notes(study) == "mine"
    listening.heard = None  # as after an outage
    listening.look()
    assert notes(study) == "mine"
    zero, one, two = listening.heard.trials
    listening.heard.report_preference([zero, two], one)
    listening.look()
    assert "found better" in notes(study)


def test_nothing_is_created_before_there_are_two_samples(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db"), study_name="anna")
    listening = Listening(study, 8, tmp_path)
    for value in (0.5, 0.4):
        end(study, tmp_path, value, {})
        listening.look()
        assert ("anna-listen" in optuna.get_all_study_names(study._storage)) == (value == 0.4)


def test_deleting_the_comparison_deletes_no_sample_of_the_study_and_it_starts_anew(study: optuna.Study, tmp_path: Path) -> None:
    listening = Listening(study, 3, tmp_path)
    listening.look()
    with served(wsgi(study._storage, artifact_store=artifact_store(tmp_path))) as port:
        path = f"/api/studies/{study._storage.get_study_id_from_name('anna-listen')}"
        assert ask(port, "DELETE", path, "{}", Content_Type="application/json")[0] == 204
    for trial in study.trials:
        assert artifacts(study, trial, tmp_path)["sample.ogg"].exists()
    listening.look_again()  # finds it gone
    listening.look_again()
    assert len(heard(study, tmp_path)) == 3
    assert "Nobody has chosen yet" in notes(study)


def test_deleting_a_sample_of_the_study_deletes_none_of_the_comparison(study: optuna.Study, tmp_path: Path) -> None:
    Listening(study, 3, tmp_path).look()
    artifacts(study, study.trials[1], tmp_path)["sample.ogg"].unlink()
    Listening(study, 3, tmp_path).look()
    assert heard(study, tmp_path) == [(1, b"sound of 1"), (4, b"sound of 4"), (5, b"sound of 5")]


def test_samples_of_a_deleted_study_are_not_those_of_the_next(
    study: optuna.Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next study has the same name, and in SQLite the same numbers."""
    listening = Listening(study, 3, tmp_path)
    listening.look()
    assert listening.heard is not None
    zero, one, two = listening.heard.trials
    listening.heard.report_preference([zero, two], one)
    optuna.delete_study(study_name="anna", storage=study._storage)
    new = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db"), study_name="anna")
    for value in (0.2, 0.1):
        end(new, tmp_path, value, {})
    listening = Listening(new, 3, tmp_path)
    sentence = "anna-listen holds samples of an earlier anna: delete it"
    with pytest.raises(StorageError, match=sentence):
        listening.look()
    assert "listened" not in new.user_attrs
    listening.look_again()
    assert caplog.messages[-1] == f"cannot read the choices: {sentence}"
    optuna.delete_study(study_name="anna-listen", storage=new._storage)
    listening.look_again()
    assert heard(new, tmp_path) == [(0, b"sound of 0"), (1, b"sound of 1")]


def test_choices_between_trials_that_do_not_exist_are_ignored(study: optuna.Study, tmp_path: Path) -> None:
    """optuna-dashboard stores them, and then cannot show the study."""
    listening = Listening(study, 3, tmp_path)
    listening.look()
    path = f"/api/studies/{study._storage.get_study_id_from_name('anna-listen')}/preference"
    with served(wsgi(study._storage)) as port:
        for candidates, clicked in (([0, 9], 0), ([0, 9], 9), ([-1, 0], 0)):
            chosen = json.dumps({"mode": "ChooseWorst", "candidates": candidates, "clicked": clicked})
            ask(port, "POST", path, chosen, Content_Type="application/json")
    listening.look()
    assert "listened" not in study.user_attrs
    assert listening.heard is not None
    zero, one, two = listening.heard.trials
    listening.heard.report_preference([zero, two], one)
    Listening(study, 3, tmp_path).look()
    assert study.user_attrs["listened"] == {"1": 1, "5": 1, "4": 3}


def test_if_two_processes_add_a_sample_at_the_same_moment_the_first_one_counts(study: optuna.Study, tmp_path: Path) -> None:
    other = Listening(study, 3, tmp_path)

    class Slow(Listening):
        def _add(self, *sample: Any) -> None:
            other.look()
            super()._add(*sample)

    listening = Slow(study, 3, tmp_path)
    listening.look()
    assert [number for number, _ in heard(study, tmp_path)] == [1, 4, 5, 1, 4, 5]
    listening.look()
    assert listening.heard is not None
    zero, one, two, again, *_ = listening.heard.trials
    listening.heard.report_preference([zero, one, two], again)
    listening.look()
    assert "listened" not in study.user_attrs
    listening.heard.report_preference([zero, two], one)
    listening.look()
    assert study.user_attrs["listened"] == {"1": 1, "5": 1, "4": 3}
    assert len(heard(study, tmp_path)) == 6


def test_a_sample_that_was_deleted_is_left_out(study: optuna.Study, tmp_path: Path) -> None:
    artifacts(study, study.trials[1], tmp_path)["sample.ogg"].unlink()
    Listening(study, 3, tmp_path).look()
    assert [number for number, _ in heard(study, tmp_path)] == [4, 5]


def test_samples_and_not_trials_are_counted(study: optuna.Study, tmp_path: Path) -> None:
    """One sample leaves nothing to compare; if all are missing, --out is another folder."""
    with pytest.raises(StorageError, match=r"got none of them in .*elsewhere/artifacts: give --out"):
        Listening(study, 3, tmp_path / "elsewhere").look()
    for number in (1, 4):
        artifacts(study, study.trials[number], tmp_path)["sample.ogg"].unlink()
    Listening(study, 3, tmp_path).look()
    assert optuna.get_all_study_names(study._storage) == ["anna"]


def test_another_study_of_that_name_is_left_alone(study: optuna.Study, tmp_path: Path) -> None:
    optuna.create_study(storage=study._storage, study_name="anna-listen")
    with pytest.raises(StorageError, match="of another kind: delete or rename it"):
        Listening(study, 3, tmp_path).look()


def test_no_search_continues_under_that_name(study: optuna.Study, tmp_path: Path) -> None:
    Listening(study, 3, tmp_path).look()
    wanted = Settings.model_validate({"study": {"name": "anna-listen"}})
    with pytest.raises(StudyRefused, match="anna-listen was made by another program"):
        open_study(wanted, load("demo", Config()), {}, study._storage)


WINS = st.integers(1, 6).flatmap(lambda n: arrays(np.int64, (n, n), elements=st.integers(0, 20)))


@settings(max_examples=40)
@given(WINS)
def test_strengths_are_the_most_likely_ones(counts: np.ndarray) -> None:
    """The gradient of the likelihood, with its prior, is zero: each wins as often as its strength predicts."""
    wins = counts.astype(float)
    np.fill_diagonal(wins, 0)
    fitted = np.exp(strengths(wins))
    expected = ((wins + wins.T) * fitted[:, None] / (fitted[:, None] + fitted)).sum(1)
    expected += 2 * PRIOR * fitted / (fitted + 1)
    np.testing.assert_allclose(expected, wins.sum(1) + PRIOR, rtol=1e-3, atol=1e-3)


@settings(max_examples=40)
@given(WINS, st.randoms())
def test_ranks_do_not_depend_on_the_order(counts: np.ndarray, random: Any) -> None:
    wins = counts.astype(float)
    np.fill_diagonal(wins, 0)
    order = random.sample(range(len(wins)), len(wins))
    one, other = strengths(wins), strengths(wins[np.ix_(order, order)])
    np.testing.assert_allclose(one[order], other, atol=1e-5)


def test_ranks_of_no_samples_and_of_equal_ones() -> None:
    assert ranks(np.zeros((0, 0))) == []
    assert ranks(np.array([[0.0, 1.0], [1.0, 0.0]])) == [1, 1]
    assert ranks(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])) == [3, 1, 1]


def test_a_victory_over_a_strong_sample_counts_more_than_one_over_a_weak_one() -> None:
    """0 beat 1, and 2 beat 3, once each; 1 beat 3 often: counting victories would not distinguish 0 from 2."""
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[2, 3] = 1
    wins[1, 3] = 5
    assert ranks(wins)[0] < ranks(wins)[2]
