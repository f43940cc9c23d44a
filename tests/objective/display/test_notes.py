"""Notes and figures of trials for the dashboard, in a real database after real trials."""

import errno
import json
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note
from sqlalchemy.exc import OperationalError

from objective.display.notes import board, complete, note, save
from objective.display.summary import ended
from objective.events.log_reader import StudyLog
from storage.lineage import release
from storage.studies import open_storage
from tests.objective import samples
from tests.objective.search.knobs import GUIDED, LEVELS
from tests.objective.small_study import SMALL, command, events, study


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a study of a recipe that a rule stopped, its repair, and one that ran to its end."""
    out = tmp_path_factory.mktemp("runs")
    (out / "small.yaml").write_text(SMALL.replace("max_per_trial: 0", "max_per_trial: 1") + LEVELS)
    pruned = ["--pruner", "health", "--set", "study.recipes=[tacotune]"]
    assert command(out, "--study", "ill", "--trials", "2", *pruned) == 0
    assert command(out, "--study", "ill", "--trials", "3", "--set", "study.recipes=[tacotune]") == 0
    return out


def note_of(study: optuna.Study, number: int) -> str:
    return str(get_note(optuna.Trial(study, study.trials[number]._trial_id)))


def test_the_reason_is_the_same_in_note_attribute_log_and_closing_page(spoken: Path) -> None:
    ill = study(spoken, "ill")
    ends = {event["number"]: event for event in events(spoken, "ill", "TrialEnded")}
    rows = {row["number"]: row for row in ended(ill, "finished", 3, 12.0, 1.0, "next").trials}
    for trial, attribute in zip(ill.trials, ("pruned_reason", "pruned_reason", "sick_reason"), strict=True):
        sentence = trial.user_attrs[attribute]
        assert f"\n> {sentence}\n" in note_of(ill, trial.number)
        assert ends[trial.number]["value"] == trial.value, "of a pruned trial the last one reported"
        assert ends[trial.number]["reason"] == rows[trial.number]["reason"] == sentence


def test_the_closing_page_and_the_log_rank_the_trials_alike(spoken: Path) -> None:
    study_log = StudyLog(spoken / "ill")
    study_log.look()
    closing = [row["number"] for row in ended(study(spoken, "ill"), "finished", 3, 12.0, 1.0, "next").trials]
    assert closing == [trial.number for trial in sorted(study_log.trials.values(), key=lambda trial: trial.rank)]


def test_a_note_holds_the_parameters_the_end_and_the_changes(spoken: Path) -> None:
    ill = study(spoken, "ill")
    first, repair, sampled = (note_of(ill, number) for number in range(3))
    assert first.startswith("**pruned by diagonality**: value ")
    assert "after 6.0 of 12 kframes" in first
    assert "recipe tacotune: learning_rate 0.002" in first
    assert f"diagonality {ill.trials[0].user_attrs['diagonality']:.2f}, " in first
    for trial, body in zip(ill.trials, (first, repair, sampled), strict=True):
        assert f"| middle | {trial.user_attrs['free_text']} | - |" in body, "its listener was trained on too little"
        assert f"faults in {trial.user_attrs['free_failures']:.0%} of {trial.user_attrs['free_sentences']} sentence" in body
    assert "repair of trial 0: learning_rate 0.002" in repair
    assert f"- {GUIDED} 1 -> 2\n\nchanged from trial 0" in repair
    assert ill.trials[0].user_attrs["pruned_reason"] in repair
    assert sampled.startswith("**sick**: value ")
    assert "after 12 of 12 kframes" in sampled
    assert "sampled: " in sampled


def test_the_last_measurements_are_numbers_to_plot(spoken: Path) -> None:
    attributes = study(spoken, "ill").trials[0].user_attrs
    last = json.loads((spoken / "ill" / "trial-00000" / "reports.jsonl").read_text().splitlines()[-1])
    figures: dict[str, Any] = {name: value for name, value in last["health"].items() if value is not None}
    figures |= {"grad_norm_median": last["gradients"]["median"], "grad_norm_p95": last["gradients"]["p95"]}
    figures |= {"nonfinite": last["gradients"]["nonfinite"], "kframes": last["kframes"]}
    for name in ("train", "validation"):
        figures["val_loss" if name == "validation" else "train_loss"] = sum(
            last[name][term] for term in ("mel_before", "mel_after", "gate")
        )
    assert {name: attributes[name] for name in figures} == pytest.approx(figures)
    assert all(isinstance(attributes[name], int | float) for name in figures)


def fresh(folder: Path) -> tuple[optuna.Study, optuna.Trial]:
    new = optuna.create_study(storage=open_storage(f"sqlite:///{folder}/x.db"))
    trial = new.ask()
    new.tell(trial, 1.0)
    return new, trial


def test_missing_measurements_are_dashes_and_a_long_note_is_not_cut(tmp_path: Path) -> None:
    new, trial = fresh(tmp_path)
    body = note(new.trials[0], 12.0)
    assert "value 1.000 after 0.0 of 12 kframes" in body
    assert "diagonality -" in body
    save(new, body + "ё" * 5_000, trial)
    assert note_of(new, 0) == body + "ё" * 5_000


def test_the_study_s_note_counts_trials_and_saved_frames(spoken: Path) -> None:
    body = str(get_note(study(spoken, "ill")))
    assert body.startswith("**3 of 3 trials finished**: 2 pruned, 1 sick; 0 running")
    saved = sum(12.0 - trial.user_attrs["kframes"] for trial in study(spoken, "ill").trials[:2])
    assert f"{saved:.0f} kframes saved by stopping early, {saved / 36:.0%} of the budget of these trials" in body


def test_the_study_s_note_says_how_well_the_best_is_understood_or_how_badly_the_closest() -> None:
    new = optuna.create_study()
    bodies = []
    for spoken, missed in ((samples.MUMBLED, 0.628), (samples.SPOKEN, -0.06)):
        trial = new.ask()
        for name, known in spoken.items():
            trial.set_user_attr(f"free_{name}", known)
        trial.set_constraint("health/understood", missed)
        new.tell(trial, spoken["errors"])
        bodies.append(board(new.trials, 10, 400.0))
    distance = "73% of letters heard wrong (recordings 0.2%), target at most 10%"
    assert f"no healthy trial yet; the closest is trial 0: {distance}" in bodies[0]
    assert "best: trial 1, value 0.041, 4.1% of letters heard wrong (recordings 0.2%)" in bodies[1]


def test_the_study_s_note_names_the_best_and_the_time_left() -> None:
    new = optuna.create_study()
    for value in (2.0, 1.0):
        trial = new.ask({"training.learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2)})
        trial.set_user_attr("seconds", 600.0)
        new.tell(trial, value)
    new.ask()
    body = board(new.trials, 10, 400.0)
    assert "2 healthy; 1 running" in body
    assert "best: trial 1, value 1.000" in body
    assert "about 40 min 00 s left" in body, "eight trials of ten minutes by this worker and another"


def test_a_note_does_not_hide_a_failing_database(tmp_path: Path) -> None:
    new, trial = fresh(tmp_path)
    new._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    (tmp_path / "x.db").unlink()
    with pytest.raises((OSError, OperationalError, optuna.exceptions.StorageInternalError)):
        save(new, "body", trial)


def test_missing_notes_are_written_at_the_end_of_the_command(spoken: Path, tmp_path: Path) -> None:
    """Notes of trials whose worker was killed or that a person ended, and the study's note, which is out of date."""
    with sqlite3.connect(spoken / "tacotune.db") as ours, sqlite3.connect(tmp_path / "tacotune.db") as copy:
        ours.backup(copy)
    ill = study(tmp_path, "ill")
    lost, mine = note_of(ill, 0), "a person's own note"
    for name in ("note_ver", "note_str:0"):
        with sqlite3.connect(tmp_path / "tacotune.db") as file:
            key = f"dashboard:{ill.trials[0]._trial_id}:{name}"
            assert file.execute("DELETE FROM study_system_attributes WHERE key = ?", (key,)).rowcount == 1
    save(ill, mine, ill.trials[1], version=2)
    died, ended = ill.ask().number, ill.ask().number
    release(ill, died, "its worker died")
    ill._storage.set_trial_state_values(ill.trials[ended]._trial_id, TrialState.FAIL)
    save(ill, "**1 of 3 trials finished**: about 40 min 00 s left")
    complete(study(tmp_path, "ill"), 3, 12.0)
    ill = study(tmp_path, "ill")
    assert [note_of(ill, 0), note_of(ill, 1)] == [lost, mine]
    assert note_of(ill, died).startswith("**failed**: value - after 0.0 of 12 kframes\n\n> its worker died")
    assert "\n\n> ended from outside while it ran" in note_of(ill, ended)
    assert str(get_note(ill)).startswith("**3 of 3 trials finished**: 2 pruned, 1 sick; 0 running")
    assert " left" not in str(get_note(ill))


def test_notes_that_a_full_disk_refuses_leave_the_closing_page_and_the_exit_code(
    spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("objective.display.notes.save", full)
    assert command(spoken, "--study", "ill", "--trials", "3", "--set", "study.recipes=[tacotune]") == 0
    output = capsys.readouterr().out
    assert "some notes are missing: " in output
    assert "finished: 3 of 3 trials" in output
