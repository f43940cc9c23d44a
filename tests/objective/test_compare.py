"""Two configurations are trained with the same seeds, told apart or not, and written as a page that can be listened to."""

import json
from pathlib import Path

import pytest

from objective.compare import main
from storage.outcome import finished
from tests.objective.corpus import copy_of
from tests.objective.small_study import QUICK, command, study


@pytest.mark.slow
def test_a_configuration_and_its_twin(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = copy_of(corpus, tmp_path / "out")
    assert command(out, *QUICK, "--study", "first", "--trials", "1") == 0
    line = [
        "first",
        "first:0",
        "--seeds",
        "4",
        "--name",
        "twins",
        "--out",
        str(out),
        "--device",
        "cpu",
        "--budget-kframes",
        "24",
    ]
    assert main(line) == 0
    told = capsys.readouterr().out
    assert "value: no difference: " in told
    (value, *_) = json.loads((out / "twins.json").read_text())
    assert value["a"] == value["b"], "equal configurations with equal seeds train equally"
    assert value["p"] == 1
    assert len(set(value["a"])) == 4, "the seeds differ"
    page = (out / "twins.html").read_text()
    assert page.count("<audio") == 8
    assert "http" not in page.replace("http-equiv", "")
    assert main(line) == 0, "the same command has nothing left to train"
    assert [len(finished(study(out, f"twins-{side}"))) for side in "ab"] == [4, 4]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["a.yaml", "b.yaml", "--seeds", "3"], "--seeds: need at least 4, got 3"),
        (["gone.yaml", "b.yaml"], "gone.yaml"),
        (["first:x", "first"], "need STUDY:N, got first:x"),
        (["first", "first"], "need the database of the study"),
    ],
)
def test_bad_input_ends_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: list[str], sentence: str
) -> None:
    assert main([*line, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
