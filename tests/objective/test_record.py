"""Recorded curves: one line per trial, the same for any number of workers, and a stopped recording continues."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from model import checkpoints
from model.config import Config
from model.tacotron2 import Tacotron2
from objective.record import main
from pruners.replay.archive import read
from tests.objective.corpus import copy_of

SMALL = [
    "data.demo_utterances=24",
    "listener.kframes=0",
    "budget.kframes=4",
    "budget.reports=2",
    "network.embedding=16",
    "network.encoder=16",
    "network.attention_rnn=16",
    "network.decoder_rnn=16",
    "network.postnet=8",
]


def arguments(folder: Path, archive: str, trials: int, workers: int = 1) -> list[str]:
    flags = ["--archive", str(folder / archive), "--trials", str(trials), "--workers", str(workers), "--out", str(folder)]
    return [*flags, *(argument for assignment in SMALL for argument in ("--set", assignment))]


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of an archive without the seconds, which differ each time."""
    read = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [{name: item for name, item in line.items() if name != "seconds"} for line in read]


@pytest.fixture(scope="module")
def recorded(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive `one.jsonl` of two trials. Only to be copied."""
    folder = copy_of(corpus, tmp_path_factory.mktemp("recorded") / "out")
    assert main(arguments(folder, "one.jsonl", trials=2)) == 0
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "out")


def test_a_line_has_the_curve_and_what_synthesis_measures_at_its_end(folder: Path) -> None:
    recorded = lines(folder / "one.jsonl")
    assert [line["k"] for line in recorded] == [0, 1]
    assert [line["held_out"] for line in recorded] == [False, True], "the later half"
    for line in recorded:
        points = line["points"]
        assert [point["kframes"] for point in points][-1] == 4
        assert {"val_loss", "grad_norm_p95", "diagonality", "reading", "gate_accuracy", "free_value"} <= points[0].keys()
        assert points[-1]["free_failures"] == line["end"]["failures"], "the last report is judged always"
        assert line["kept"]["kframes"] in [point["kframes"] for point in points if point["free_value"] is not None]
        for synthesis in (line["end"], line["kept"]):
            assert {"failures", "faults", "alignment_score", "mcd_db", "text"} <= synthesis.keys(), "no listener: nothing heard"
    for curve, line in zip(read(folder / "one.jsonl"), recorded, strict=True):
        assert curve.score == "speech"
        assert curve.value == min(value for value in curve.values if value is not None)
        assert {"network.drop_frame_rate", "network.reduction"} <= curve.params.keys()
        assert curve.more["points"] == line["points"]


def test_the_kept_snapshot_can_be_heard_afterwards(folder: Path) -> None:
    """Where a curve was recorded without its weights, the same trial is trained again."""
    weights, line = folder / "one.curves" / "curve-00000.pt", arguments(folder, "one.jsonl", trials=1)
    before = lines(folder / "one.jsonl")[:1]
    assert not weights.exists()
    assert main([*line, "--keep-weights"]) == 0
    assert lines(folder / "one.jsonl") == before
    kept, age = checkpoints.load(weights), weights.stat().st_mtime_ns
    assert kept["kframes"] == before[0]["kept"]["kframes"]
    assert kept["config"]["network"]["reduction"] == before[0]["params"]["network.reduction"]
    network = TypeAdapter(Config).validate_python(kept["config"]).network
    Tacotron2(network, len(kept["symbols"]), kept["config"]["audio"]["mel_bands"]).load_state_dict(kept["weights"])
    assert main([*line, "--keep-weights"]) == 0
    assert weights.stat().st_mtime_ns == age, "and once only"


def test_curves_of_other_settings_are_not_mixed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = arguments(folder, "one.jsonl", trials=2)
    before = lines(folder / "one.jsonl")
    assert main([*line, "--set", "budget.kframes=9"]) == 2
    assert "was recorded with other settings (budget): choose another --archive" in capsys.readouterr().err
    assert main([*line, "--set", "threads=1", "--held-out-from", "2"]) == 0, "settings that change no curve may change"
    assert lines(folder / "one.jsonl") == [{**curve, "held_out": False} for curve in before]


@pytest.mark.slow
def test_an_archive_does_not_depend_on_workers_and_parts(recorded: Path, folder: Path) -> None:
    assert main(arguments(folder, "workers.jsonl", trials=2, workers=2)) == 0
    assert main([*arguments(folder, "parts.jsonl", trials=1), "--held-out-from", "1"]) == 0
    (first,) = lines(folder / "parts.jsonl")
    assert main(arguments(folder, "parts.jsonl", trials=2)) == 0
    assert lines(folder / "workers.jsonl") == lines(folder / "parts.jsonl") == lines(recorded / "one.jsonl")
    assert lines(folder / "parts.jsonl")[0] == first


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--workers", "0"], "need --trials and --workers >= 1"),
        (["--set", "study.space=nope"], "need a file or the name of a space, got nope"),
        (["--set", "data.path=nowhere"], "nowhere"),
        (["--set", "nope=1"], "nope"),
    ],
)
def test_bad_input_is_one_message(
    more: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--archive", "a.jsonl", *more]) == 2
    assert part in capsys.readouterr().err


def test_an_archive_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--archive", str(tmp_path / "file" / "a.jsonl"), "--out", str(tmp_path)]) == 1
    assert "the machine failed" in capsys.readouterr().err
