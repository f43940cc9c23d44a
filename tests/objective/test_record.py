"""Recording whole curves: one line a trial, the same whoever records it, and a stopped recording goes on."""

import json
from pathlib import Path

import pytest

from objective.record import main

SMALL = [
    *("data.demo_utterances=16", "budget.kframes=8", "budget.reports=4", "network.embedding=16", "network.encoder=16"),
    *("network.attention_rnn=16", "network.decoder_rnn=16", "network.postnet=8"),
]


def words(folder: Path, archive: str, trials: int, workers: int) -> list[str]:
    sets = [word for knob in SMALL for word in ("--set", knob)]
    flags = ["--archive", str(folder / archive), "--trials", str(trials), "--workers", str(workers), "--out", str(folder)]
    return [*flags, *sets]


def lines(file: Path) -> list[dict[str, object]]:
    read = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [{name: item for name, item in line.items() if name != "seconds"} for line in read]


def test_an_archive_does_not_depend_on_who_recorded_it(tmp_path: Path) -> None:
    assert main([*words(tmp_path, "one.jsonl", trials=1, workers=1), "--held-out-from", "1"]) == 0
    (first,) = lines(tmp_path / "one.jsonl")
    assert main(words(tmp_path, "one.jsonl", trials=2, workers=1)) == 0
    assert main(words(tmp_path, "two.jsonl", trials=2, workers=2)) == 0
    one, two = lines(tmp_path / "one.jsonl"), lines(tmp_path / "two.jsonl")
    assert one == two
    assert one[0] == first, "what was there is not recorded again"
    assert [line["held_out"] for line in one] == [False, True], "of one it stays what was said, of two it is the later half"
    assert main([*words(tmp_path, "two.jsonl", trials=2, workers=1), "--held-out-from", "2"]) == 0
    assert not any(line["held_out"] for line in lines(tmp_path / "two.jsonl"))
    for line in one:
        points = line["points"]
        assert isinstance(points, list)
        assert [point["kframes"] for point in points][-1] == 8
        assert {"val_loss", "grad_norm_p95", "diagonality", "alignment_score", "gate_accuracy"} <= points[0].keys()
        spoken = {"premature_rate", "overrun_rate", "alignment_score", "mcd_db"}
        assert line["end"] is None or set(line["end"]) == spoken
        assert line["kept"] is None or set(line["kept"]) == {"kframes", *spoken}
        assert line["kept"]["kframes"] in [point["kframes"] for point in points]


def test_curves_of_other_settings_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = words(tmp_path, "a.jsonl", trials=1, workers=1)
    assert main(typed) == 0
    assert main([*typed, "--set", "budget.kframes=9"]) == 2
    assert "was recorded with other settings (budget): choose another --archive" in capsys.readouterr().err
    assert main([*typed, "--set", "threads=1"]) == 0, "what changes no curve may change"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--workers", "0"], "need --trials and --workers >= 1"),
        (["--set", "study.space=nope"], "need a file or the name of a space, got nope"),
        (["--set", "data.path=nowhere"], "nowhere"),
        (["--set", "nope=1"], "nope"),
    ],
)
def test_bad_input_is_one_message(
    more: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--archive", "a.jsonl", *more]) == 2
    assert words in capsys.readouterr().err


def test_an_archive_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--archive", str(tmp_path / "file" / "a.jsonl"), "--out", str(tmp_path)]) == 1
    assert "the machine failed" in capsys.readouterr().err
