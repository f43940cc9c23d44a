"""The command `cleanup`: what it prints, what it deletes, and how it refuses bad input."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from objective.cleanup import main
from storage.studies import open_storage
from tests.storage.trials import SNAPSHOTS, put, trial


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two studies of twelve trials each with their files: every third trial is pruned, the last one is running."""
    for name in ("voice", "other"):
        study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/tacotune.db"), study_name=name)
        study.add_trials([trial(number, "COMPLETE" if number % 3 else "PRUNED", number / 10) for number in range(11)])
        study.ask()
        for number in range(12):
            put(tmp_path / name, number, *SNAPSHOTS, "sample.wav", size=1_000_000)
    return tmp_path


def files(runs: Path) -> set[Path]:
    return {path for path in runs.rglob("*") if path.suffix in (".pt", ".wav")}


def test_a_dry_run_lists_the_files_and_deletes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(runs)
    arguments = ["--study", "voice", "--out", str(runs), "--top-k", "2"]
    assert main([*arguments, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert files(runs) == before
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[:-6] == planned.splitlines()[:-6], "the same table"
    deleted = before - files(runs)
    assert {path.parent.parent.name for path in deleted} == {"voice"}
    assert len(deleted) == 2 * 7 + 3 * 4 + 5
    assert f"{len(deleted)} files, {len(deleted)} MB would be deleted" in planned
    assert "    3  PRUNED    best.pt    1 MB  pruned" in planned
    assert "   10  COMPLETE  best.pt    1 MB  not among the 2 best" in planned
    assert "5 files, 5 MB kept:\n  3 files, 3 MB: its trial is running\n  2 files, 2 MB: best weights" in planned
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 files, 0 B deleted")


def test_a_quota_that_cannot_be_met_is_reported(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--study", "voice", "--out", str(runs), "--quota-gb", "0.001", "--keep-pruned", "--dry-run"]) == 0
    assert "must be kept take 4 MB, over the quota of 1 MB" in capsys.readouterr().out


BAD = {
    "no such study": (["--study", "voise"], "need the name of a study, got voise: choose one of other, voice"),
    "no database": (["--study", "voice", "--out", "nowhere"], "need the database of the study, got nowhere/tacotune.db"),
    "no folder": (["--study", "lone"], "need the folder of the study"),
    "none to keep": (["--study", "voice", "--top-k", "0"], "need top_k >= 1, got 0"),
    "no quota": (["--study", "voice", "--quota-gb", "-1"], "need a quota in GB above 0, got -1"),
    "no URL": (["--study", "voice", "--storage", "nonsense"], "need a storage URL"),
    "no server": (["--study", "voice", "--storage", "postgresql://u:geheim@127.0.0.1:1/x"], "cannot open postgresql"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_with_2_and_one_sentence(case: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optuna.create_study(storage=open_storage(f"sqlite:///{runs}/tacotune.db"), study_name="lone")
    before = files(runs)
    arguments, message = BAD[case]
    if case == "no such study":
        optuna.delete_study(storage=open_storage(f"sqlite:///{runs}/tacotune.db"), study_name="lone")
    assert main(["--out", str(runs), *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "geheim" not in printed.err + printed.out
    assert files(runs) == before


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "runs")]) == 2
    assert main(["--storage", f"sqlite:///{tmp_path}/x/y.db"]) == 2
    assert main(["--storage", f"postgres-local:{tmp_path}/server"]) == 2
    assert list(tmp_path.iterdir()) == []
