"""The study command with mistyped arguments and on a failing machine: one sentence, the right exit code, nothing lost."""

import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import espeakng_loader
import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

import storage.studies
from model.config import Audio
from model.data.mels import prepare
from objective.runtime.errors import machine_failure
from objective.runtime.signals import Interrupted, Interruption
from objective.settings.schema import Settings
from objective.study import main
from storage.leases import owner
from storage.outcome import finished
from storage.studies import open_storage
from tests.objective.small_study import QUICK, ROOT, study, study_arguments

CORPUS = "corpora/demo-en-matrix-0-24-v3"
TWO_RECIPES = [*QUICK, "--set", "study.recipes=[tacotune, nvidia]"]


def command(out: Path, *more: str) -> int:
    return main([*study_arguments(out), *TWO_RECIPES, *more])


def started(out: Path, *more: str) -> "subprocess.Popen[str]":
    line = [sys.executable, "-m", "objective.study", *study_arguments(out), *TWO_RECIPES, *more]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


CARELESS = {
    "an unset variable": (["--data", "", "--storage", ""], ["data.path: need a value", "study.storage: need a value"]),
    "no key": (["--set", "=3", "--set", "a.b=1"], ["got no key", "a.b: unknown: need one of study, data, budget"]),
    "a name too long for a folder": (["--study", "x" * 64], ["at most 63 characters"]),
    "no path": (["--study", "a/../b"], ["it names a folder"]),
    "of every kind at once": (
        ["--trials", "x", "--data", "no/such", "--space", "defualt", "--device", "cuda", "--out", "small.yaml/x"],
        ["--trials: ", "data.path: need a folder", "did you mean default?", "out: need a folder that can be written to"],
    ),
    "brackets without end": (["--set", "study.recipes=" + "[" * 3_000], ["brackets nested too deeply"]),
    "more sentences than there are": (
        ["--set", "data.demo_utterances=500000"],
        ["data.demo_utterances: need 1 to", "got 500000"],
    ),
    "no band that hears anything": (["--set", "audio.window_samples=1"], ["need mels that differ", "check fmin_hz, fmax_hz"]),
    "no file for a database": (["--storage", "sqlite://"], ["need a file that keeps the study"]),
    "a folder for a database": (["--storage", "sqlite:////tmp"], ["unable to open database file", "check that"]),
    "bytes that are no text": (["--data", "\udcff"], ["need UTF-8"]),
}


@pytest.mark.parametrize("case", CARELESS)
def test_a_mistake_exits_with_2_and_no_traceback(
    case: str, spoken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spoken)
    more, sentences = CARELESS[case]
    assert main([*study_arguments(spoken, "--study", "careless", "--trials", "1"), *more]) == 2
    printed = capsys.readouterr().err
    assert [sentence for sentence in sentences if sentence not in printed] == []
    assert printed.startswith(printed.lstrip())
    assert "Traceback" not in printed


def test_a_study_of_another_program_is_left_alone(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = optuna.create_study(storage=f"sqlite:///{spoken}/tacotune.db", study_name="foreign")
    foreign.tell(foreign.ask(), 1.0)
    assert command(spoken, "--study", "foreign", "--trials", "2") == 2
    assert "made by another program: choose another --study" in capsys.readouterr().err
    assert len(study(spoken, "foreign").trials) == 1


def test_characters_with_a_meaning_in_a_url_stay_in_the_path() -> None:
    assert make_url(Settings(out=Path("/a?b#c%20 ёж")).storage_url).database == "/a?b#c%20 ёж/tacotune.db"


def test_a_folder_may_have_a_name_of_any_bytes(spoken: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    sound = shutil.copy(spoken / CORPUS / "wavs" / "demo-en-0001.wav", folder)
    assert prepare(Path(sound), Audio(), tmp_path / "mels").frames > 0


@contextmanager
def hangup(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_signal_ends_the_command_at_once_before_the_first_trial_and_two_do_later() -> None:
    with hangup(lambda number, frame: None), Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        interruption.graceful = True
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(Interrupted):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_nohup_keeps_its_meaning() -> None:
    with hangup(signal.SIG_IGN), Interruption() as interruption:
        interruption.graceful = True
        signal.raise_signal(signal.SIGHUP)
        interruption.check()


@pytest.mark.slow
def test_a_signal_while_the_corpus_is_spoken_leaves_nothing_half_made(spoken: Path, tmp_path: Path) -> None:
    shutil.copy(spoken / "small.yaml", tmp_path)
    with started(tmp_path, "--trials", "1", "--set", "data.demo_utterances=288") as process:
        while not any(tmp_path.glob("corpora/.demo*/corpus/wavs/*.wav")):
            assert process.poll() is None
        process.terminate()
        assert process.communicate()[1] == "interrupted\n"
        assert process.returncode == 130
    assert list((tmp_path / "corpora").iterdir()) == []


@pytest.mark.parametrize("data", [None, CORPUS], ids=["while speaking", "in the mel cache"])
def test_a_full_disk_before_the_first_trial(
    data: str | None, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(spoken / "small.yaml", tmp_path)
    with largest_file(5_000):
        assert command(tmp_path, "--trials", "1", *(["--data", str(spoken / data)] if data else [])) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the machine failed: file too large")


@pytest.mark.slow
def test_a_disk_that_is_full_at_a_checkpoint_fails_the_trial_which_is_retried(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--study", "full", "--trials", "1", "--set", "network.decoder_rnn=400"]
    with largest_file(3_000_000):
        assert command(spoken, *line) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0].startswith("the machine failed: file too large")
    assert "Traceback" not in printed.err
    failed = study(spoken, "full").trials[0]
    assert (failed.state, failed.user_attrs["released"]) == (TrialState.FAIL, "file too large")
    assert list((spoken / "full").rglob(".*.part")) == []
    assert command(spoken, *line, "--trials", "2") == 0, "there is room again"
    assert sorted(trial.user_attrs["k"] for trial in finished(study(spoken, "full"))) == [0, 1]


def test_a_missing_espeak_is_reported(
    spoken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: "/no/such/library.so")
    assert command(spoken, "--study", "dumb", "--set", "data.demo_utterances=25") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "/no/such/library.so" in line
    assert "--data" in line


def test_a_database_that_goes_away_is_noticed(tmp_path: Path) -> None:
    """An open file outlives its name: without a look at the path every later trial would be lost silently."""
    lost = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db"), study_name="s")
    (tmp_path / "x.db").rename(tmp_path / "y.db")
    with pytest.raises(FileNotFoundError) as caught:
        lost.ask()
    assert machine_failure(caught.value) == f"the database was deleted or moved while the study ran: {tmp_path}/x.db"


def test_a_study_that_is_deleted_and_a_database_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setattr(storage.studies, "BUSY_SECONDS", 0.05)
    deleted = optuna.create_study(storage=open_storage(url), study_name="s")
    optuna.delete_study(storage=url, study_name="s")
    with pytest.raises(KeyError) as gone:
        deleted.ask()
    assert machine_failure(gone.value) == "the study was deleted from its database"
    assert machine_failure(KeyError("a bug of ours")) is None
    kept = optuna.create_study(storage=open_storage(url, retry_s=0), study_name="t")
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        kept.set_user_attr("any", 1)
    assert machine_failure(locked.value) == "the database: database is locked"
    holder.close()
    holder = sqlite3.connect(tmp_path / "y.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # a failure of the machine, not the person's mistake
        open_storage(f"sqlite:///{tmp_path}/y.db")
    holder.close()


def test_half_written_files_of_a_killed_worker_are_removed(spoken: Path) -> None:
    line = ["--study", "swept", "--trials", "1"]
    assert command(spoken, *line, "--timeout", "1e-9") == 0
    torn = study(spoken, "swept")
    torn.ask().set_user_attr("owner", {**owner(), "pid": 2**22 + 1})
    part = spoken / "swept" / "trial-00000" / ".last.pt.0123.part"
    part.parent.mkdir()
    part.write_bytes(b"half a checkpoi")
    assert command(spoken, *line, "--timeout", "1e-9") == 0
    assert not part.exists()
    assert study(spoken, "swept").trials[0].state == TrialState.FAIL


@pytest.mark.slow
def test_one_command_started_twice_at_once_runs_each_trial_once(spoken: Path, tmp_path: Path) -> None:
    """Both make the corpus, the database and the study; together they finish the requested trials."""
    shutil.copy(spoken / "small.yaml", tmp_path)
    both = [started(tmp_path, "--trials", "2", "--study", "twice") for _ in range(2)]
    printed = [process.communicate()[1] for process in both]
    assert ([process.returncode for process in both], printed) == ([0, 0], ["", ""])
    trials = finished(study(tmp_path, "twice"))
    assert [trial.user_attrs["origin"] for trial in trials] == ["recipe tacotune", "recipe nvidia"]
    assert [trial.user_attrs["k"] for trial in trials] == [0, 1]
    assert [path for path in tmp_path.rglob("*") if re.search(r"\.part$|^\.demo", path.name)] == []


@pytest.mark.slow
def test_a_closed_stdout_mutes_the_console_and_not_the_study(spoken: Path) -> None:
    with started(spoken, "--study", "piped", "--trials", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "console is muted" in process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert len(finished(study(spoken, "piped"))) == 1


@pytest.mark.parametrize("score", ["mcd", "composite"])
def test_other_scores_are_computed_from_free_running_synthesis(score: str, spoken: Path) -> None:
    assert command(spoken, "--study", score, "--trials", "1", "--set", f"objective.score={score}") == 0
    (trial,) = finished(study(spoken, score))
    distortion, failures, loss = (trial.user_attrs[name] for name in ("free_mcd_db", "free_failures", "val_loss"))
    expected = {"mcd": distortion, "composite": loss + distortion / 10 + failures}
    assert trial.value == pytest.approx(expected[score])
