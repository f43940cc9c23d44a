"""The front door: `tacotune COMMAND` and `python -m objective.COMMAND` are one command, in any folder."""

import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from model.data.problems import CorpusError
from model.errors import BadInput
from objective.__main__ import COMMANDS, main
from objective.events.log_reader import NoStudyLog
from objective.runtime.cli import Command, did_you_mean
from objective.runtime.endings import ending
from objective.runtime.processes import environment, python_module
from objective.search.migrate import StudyRefused
from objective.settings.telegram_env import SetupError
from pruners.replay.archive import ArchiveError
from search_spaces.validate import SpaceError
from storage.errors import StorageError

BAD_INPUT = (ArchiveError, CorpusError, NoStudyLog, SetupError, SpaceError, StorageError, StudyRefused)
ROOM_NAMES = ("model", "search_spaces", "pruners", "storage")


def typed(*arguments: str, cwd: Path | None = None, program: str = "objective") -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", program, *arguments]
    return subprocess.run(line, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)


def test_help_and_version_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == main(["--version"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert f"tacotune {version('tacotune')}" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_both_ways_to_type_a_command_have_one_parser(name: str) -> None:
    front, module = typed(name, "--help"), typed("--help", program=f"objective.{name}")
    assert front.returncode == module.returncode == 0
    assert f"usage: python -m objective.{name} [-h]" in module.stdout
    assert front.stdout == module.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["studdy"], "unknown command studdy: did you mean study?"),
        (["xyzzy"], "unknown command xyzzy; see"),
        (["study", "--trails", "3"], "unknown argument --trails: did you mean --trials?"),
        (["study", "--trails=3"], "unknown argument --trails: did you mean --trials?"),
        (["study", "--set", "training.learning_rat=1"], "did you mean training.learning_rate?"),
        (["study", "--set", "trainin.learning_rate=1"], "did you mean training.learning_rate?"),
        (["study", "--trials"], "argument --trials: expected one argument; see"),
        (["steer", "paus"], "invalid choice: 'paus'"),
        (["cleanup", "--dryrun"], "unknown argument --dryrun: did you mean --dry-run?"),
    ],
)
def test_a_mistyped_word_exits_with_2_and_names_the_nearest(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = typed(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1, "one line"
    assert not done.stdout
    assert not list(tmp_path.glob("*/*")), "nothing is written"


def test_a_folder_with_modules_of_our_names_changes_nothing(tmp_path: Path) -> None:
    """`python -m` looks into the current folder first, and people who train voices have a model.py there."""
    for name in ROOM_NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    done = typed("--study", "none", "--out", str(tmp_path), "pause", cwd=tmp_path, program="objective.steer")
    assert (done.returncode, "the wrong module" in done.stderr) == (2, False)
    line = [*python_module("objective.steer"), "--study", "none", "--out", str(tmp_path), "pause"]
    child = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert child.stderr == done.stderr


def test_every_exception_ends_a_command_by_one_table() -> None:
    assert all(issubclass(error, BadInput) for error in BAD_INPUT)
    assert ending(CorpusError("need recordings")) == (2, "need recordings")
    assert ending(KeyboardInterrupt()) == (130, "interrupted")
    code, sentence = ending(OSError(28, "No space left on device", "runs/x"))
    assert code == 1
    assert sentence is not None
    assert sentence.startswith("the machine failed: no space left on device: runs/x: ")
    assert ending(ZeroDivisionError()) == (1, None), "a bug of ours shows its traceback"


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(parsed: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("objective.search.control.run", interrupted)
    command = Command("steer", "objective.search.control", "", lambda parser: None)
    assert command.main([]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert did_you_mean("--zebra", ["--trials", "--study"]) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_program_loads_ends_the_command_with_130(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loading(name: str) -> None:
        signal.raise_signal(number)

    before = signal.getsignal(number)
    monkeypatch.setattr("objective.runtime.cli.import_module", loading)
    assert Command("steer", "objective.search.control", "", lambda parser: None).main([]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(number) is before
