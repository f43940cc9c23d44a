"""Rank correlations of validation figures with the synthesis: 1 where the orders agree, each with an interval."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from model.errors import BadInput
from objective.replay import main
from pruners.replay.archive import read
from pruners.replay.correlation import correlations, figures


def trial(quality: float, k: int, **kept: Any) -> dict[str, Any]:
    """Return a trial as good as `quality` in [0, 1] in everything: a better voice has a smaller loss and larger scores."""
    scores = dict.fromkeys(("diagonality", "reading", "alignment_score", "gate_accuracy"), quality)
    report = {"kframes": 10.0, "val_loss": 2 - quality, **scores}
    rates = {"premature_rate": 0.0, "overrun_rate": 1 - quality}
    synthesis = {"kframes": 10.0, **rates, "alignment_score": quality, "mcd_db": 12 - quality}
    return {"k": k, "params": {}, "seconds": 1.0, "points": [report], "end": None, "kept": synthesis | kept}


def archive(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def table(path: Path, *flags: str) -> dict[str, dict[str, list[float]]]:
    out = path.with_suffix(".json")
    assert main(["--correlations", "--archive", str(path), "--json", str(out), *flags]) == 0
    return json.loads(out.read_text())


def test_where_everything_agrees_every_figure_ranks_perfectly(tmp_path: Path) -> None:
    found = table(archive(tmp_path / "a.jsonl", [trial(k / 20, k) for k in range(20)]))
    for row in found.values():
        for rho, low, high in row.values():
            assert rho == pytest.approx(1)
            assert low == pytest.approx(1)
            assert high == pytest.approx(1)


def test_the_interval_of_a_figure_unrelated_to_the_voice_includes_zero(tmp_path: Path) -> None:
    draw = random.Random(3)
    lines = [trial(k / 40, k) for k in range(40)]
    for line in lines:
        line["points"][0]["val_loss"] = draw.random()
    rho, low, high = table(archive(tmp_path / "a.jsonl", lines))["loss"]["free alignment"]
    assert low < 0 < high
    assert low <= rho <= high


def test_a_low_loss_does_not_make_up_for_a_missed_constraint(tmp_path: Path) -> None:
    """The more broken, the lower the loss: loss alone reverses the order, loss under constraints does not."""
    lines = [trial(k / 40, k) for k in range(20)]
    for k, line in enumerate(lines):
        line["points"][0]["val_loss"] = k / 20
    found = table(archive(tmp_path / "a.jsonl", lines))
    assert found["loss"]["free alignment"][0] == pytest.approx(-1)
    assert found["loss, alignment and gate as constraints"]["free alignment"][0] == pytest.approx(1)


def test_trials_without_a_synthesis_are_left_out(tmp_path: Path) -> None:
    lines = [trial(k / 20, k) for k in range(20)]
    silent = {**trial(0.9, 20), "kept": None}
    assert figures(read(archive(tmp_path / "silent.jsonl", [silent]))[0]) is None
    both = table(archive(tmp_path / "b.jsonl", [*lines, silent]))
    assert both == table(archive(tmp_path / "a.jsonl", lines))
    stopping = [trial(k / 20, k, overrun_rate=0.0) for k in range(10)]
    assert table(archive(tmp_path / "c.jsonl", [*lines, *stopping]), "--stopping-only")["loss"]["free failures"][0] == 0
    with pytest.raises(BadInput, match="need 8 or more trials whose synthesis was recorded, got 0"):
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
