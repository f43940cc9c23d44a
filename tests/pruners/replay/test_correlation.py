"""Rank correlations of a trial's figures with what was heard: 1 where the orders agree, each with an interval."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from model.errors import BadInput
from objective.replay import main
from pruners.replay.archive import read
from pruners.replay.correlation import REPORTED, correlations, figures
from tests.pruners.samples import written


def trial(quality: float, k: int, **heard: Any) -> dict[str, Any]:
    """Return a trial as good as `quality` in [0, 1] in everything: a better voice has a smaller loss and larger scores."""
    scores = dict.fromkeys(("diagonality", "reading", "alignment_score", "gate_accuracy"), quality)
    free = {"free_value": 1 - quality, "free_errors": 1 - quality, "free_floor": 0.0, "free_failures": 1 - quality}
    summary = {"errors": 1 - quality, "surprise": 1 - quality, "failures": 1 - quality, "alignment_score": quality}
    kept = {"kframes": 10.0, **summary, "mcd_db": 12 - quality, "heard": "a word", "faults": {}}
    return {"k": k, "points": [{"kframes": 10.0, "val_loss": 2 - quality, **scores, **free}], "kept": kept | heard}


def older(quality: float, k: int) -> dict[str, Any]:
    """Return the same trial as a line of an older version."""
    line = trial(quality, k)
    line["points"] = [{name: value for name, value in line["points"][0].items() if not name.startswith("free_")}]
    del line["points"][0]["reading"]
    rates = {"premature_rate": 0.0, "overrun_rate": 1 - quality}
    return line | {"kept": {"kframes": 10.0, **rates, "alignment_score": quality, "mcd_db": 12 - quality}}


def table(folder: Path, lines: Sequence[dict[str, Any]], *flags: str) -> dict[str, dict[str, list[float]]]:
    out = folder / "table.json"
    assert main(["--correlations", "--archive", str(written(folder, *lines)), "--json", str(out), *flags]) == 0
    return json.loads(out.read_text())


def judged(folder: Path, *judgements: dict[str, Any]) -> str:
    path = folder / "judgements.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in judgements))
    return str(path)


@pytest.mark.parametrize("line", [trial, older])
def test_where_everything_agrees_every_figure_ranks_perfectly(tmp_path: Path, line: Any) -> None:
    found = table(tmp_path, [line(k / 20, k) for k in range(20)])
    assert set(found) >= {"loss", "diagonality", "free failures", "MCD-DTW"}
    assert ("reading" in found) == ("speech" in found) == (line is trial), "a figure that was not measured has no row"
    for row in found.values():
        assert all(amount == pytest.approx(1) for column in row.values() for amount in column)


def test_the_interval_of_a_figure_unrelated_to_the_voice_includes_zero(tmp_path: Path) -> None:
    draw = random.Random(3)
    lines = [trial(k / 40, k) for k in range(40)]
    for line in lines:
        line["points"][0]["val_loss"] = draw.random()
    rho, low, high = table(tmp_path, lines)["loss"]["free alignment"]
    assert low < 0 < high
    assert low <= rho <= high


def test_judgements_stand_in_the_columns(tmp_path: Path) -> None:
    """One judge agrees with everything, one gives better voices higher scores, and one hears the opposite."""
    lines, heard = [trial(k / 20, k) for k in range(20)], []
    for k in range(18):
        heard += [{"k": k, "judge": "one", "errors": 1 - k / 20}, {"k": k, "judge": "two", "score": 1 + k / 5}]
        heard += [{"k": k, "judge": "three", "errors": k / 20}]
    heard += [{"k": None, "judge": "one", "errors": 0.01}, {"k": 99, "judge": "one", "errors": 0.5}]
    found = table(tmp_path, lines, "--judgements", judged(tmp_path, *heard))
    assert set(found) >= {*REPORTED, "free errors", "surprise"}
    for row in found.values():
        assert {name: round(rho, 6) for name, (rho, _, _) in row.items()} == {"one": 1, "two": 1, "three": -1}


def test_only_trials_that_every_judge_heard_are_ranked(tmp_path: Path) -> None:
    curves = read(written(tmp_path, *(trial(k / 20, k) for k in range(20))))
    heard = {k: {"one": 1 - k / 20} | ({"two": k / 20} if k < 12 else {}) for k in range(15)}
    assert correlations(curves, heard)[1] == 12
    with pytest.raises(BadInput, match=r"need 8 or more trials that were heard by every judge.*got 0"):
        correlations(curves, {})


def test_trials_without_a_synthesis_and_sick_ones_are_left_out(tmp_path: Path) -> None:
    lines = [trial(k / 20, k) for k in range(20)]
    silent = {**trial(0.9, 20), "kept": None}
    assert figures(read(written(tmp_path, silent))[0]) == {}
    assert table(tmp_path, [*lines, silent]) == table(tmp_path, lines)
    assert table(tmp_path, lines, "--not-sick") == table(tmp_path, lines[10:])
    with pytest.raises(BadInput, match=r"need 8 or more trials that were heard free-running.*got 0"):
        correlations([])


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "line 1: need points"), ("", "need at least one trial"), (None, "No such file"), ("[1", "need one JSON object")],
)
def test_bad_input_is_one_message(text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    if text is not None:
        path.write_text(text)
    assert main(["--correlations", "--archive", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[1", '{"k": 1, "judge": "one", "errors": null}', '{"k": 1, "errors": 0.5}'])
def test_a_broken_judgement_is_one_message(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "heard.jsonl"
    path.write_text(f'{{"k": 1, "judge": "one", "errors": 0.5}}\n{text}\n')
    assert main(["--correlations", "--archive", str(written(tmp_path, trial(0.5, 1))), "--judgements", str(path)]) == 2
    assert "heard.jsonl, line 2: need" in capsys.readouterr().err
