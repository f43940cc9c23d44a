"""Reading recorded curves: a trial of an archive has the value, violations and record that its study would have stored."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.report import Gradients, Health, Losses, Report
from objective.trial.score import FreeRunning, better, value, violations
from pruners.health_record import SIGNALS, empty, extended, measurements
from pruners.replay.archive import ArchiveError, Curve, half, read
from pruners.thresholds import Targets

WELL = {"diagonality": 0.95, "reading": 0.8, "alignment_score": 0.6, "gate_accuracy": 0.97}
SPEAKS = {"premature_rate": 0.0, "overrun_rate": 0.0}


def at(kframes: float, loss: float | None, **signals: Any) -> dict[str, Any]:
    return {"kframes": kframes, "val_loss": loss, **WELL, **signals}


def archive(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8")
    return path


def curve(folder: Path, **line: Any) -> Curve:
    (only,) = read(archive(folder / "one.jsonl", line))
    return only


def report(kframes: float, loss: float | None, scores: tuple[float | None, ...]) -> Report:
    losses = Losses(mel_before=loss, mel_after=0.25, gate=0.125, guided=None)
    names = ("diagonality", "reading", "gate_accuracy")
    health = Health(**dict.fromkeys(Health.__slots__) | dict(zip(names, scores, strict=True)))
    gradients = Gradients(median=1.0, p95=2.0, nonfinite=0, streak=0, clipped=None)
    return Report(kframes, 1, 1.0, 1e-3, 0.0, losses, losses, gradients, health, health)


SCORE = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # coarse, so that trials tie and meet targets exactly
LOSS = st.none() | st.sampled_from([0.5, 1.0, 2.0])
REPORTS = st.lists(st.tuples(LOSS, st.tuples(SCORE, SCORE, SCORE)), min_size=1, max_size=6)
TARGETS = st.builds(Targets, *[st.sampled_from([0.25, 0.5, 0.75])] * 4)


@given(REPORTS, TARGETS, SCORE, SCORE)
def test_value_and_violations_are_those_of_a_study(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], targets: Targets, premature: float | None, overrun: float | None
) -> None:
    """With `kept` and without it, the snapshot is the one that `better` keeps."""
    reports = [report(10.0 * number, *one) for number, one in enumerate(drawn, 1)]
    assume(any(one.health.reading is not None for one in reports))  # else it counts as one of an older version
    best: Report | None = None
    for new in reports:
        if better(new, best, targets):
            best = new
    synthesis = {"premature_rate": premature, "overrun_rate": overrun}
    line = {"points": [measurements(one) for one in reports], "end": synthesis}
    kept = line | {"kept": best and {"kframes": best.kframes, **synthesis}}
    for curve in read(archive(tmp_path_factory.getbasetemp() / "law.jsonl", line, kept), targets):
        if best is None:
            assert (curve.value, curve.violations, curve.condition) == (None, {}, "sick")
            continue
        expected = violations(best, targets)
        if premature is not None and overrun is not None:
            speaking = FreeRunning(premature, overrun, alignment_score=0.5, mcd_db=8.0)
            expected["free_failures"] = speaking.failures - targets.free_failures
            assert curve.value == value("loss", best, speaking)
        assert curve.value == best.val_loss
        assert curve.violations == expected
        assert (curve.condition == "healthy") <= all(amount <= 0 for amount in expected.values())


def test_the_prefixes_are_the_records_that_a_live_trial_stores_at_each_report(tmp_path: Path) -> None:
    points = [at(10.0, 1.5, train_loss=1.0), at(20.0, 1.0, streak=2)]
    record, stored = empty(20.0), []
    for one in points:
        record = extended(record, one)
        stored.append(record)
    assert list(curve(tmp_path, points=points).prefixes) == stored


def test_missing_keys_have_defaults(tmp_path: Path) -> None:
    """k is the place, odd ones are held out, the budget is that of the longest curve, and a missing signal is None."""
    short, long = {"points": [{"kframes": 5, "val_loss": 1.0}]}, {"points": [at(5.0, 1.0), at(30.0, 0.9)]}
    first, second = read(archive(tmp_path / "a.jsonl", short, "", long))
    assert (first.k, first.held_out, second.k, second.held_out) == (0, False, 1, True)
    assert first.budget_kframes == second.budget_kframes == 30.0
    assert (first.params, first.seconds) == ({}, None)
    assert {name for name in SIGNALS if first.prefixes[0][name] == [None]} == set(SIGNALS) - {"kframes", "val_loss"}


def test_given_keys_override_the_defaults(tmp_path: Path) -> None:
    given = {"k": 7, "held_out": False, "params": {"r": 3}, "seconds": 4.5, "budget_kframes": 80.0}
    one = curve(tmp_path, points=[at(10.0, 1.0)], **given)
    assert {name: getattr(one, name) for name in given} == given


def test_an_odd_k_is_held_out_at_any_place(tmp_path: Path) -> None:
    assert curve(tmp_path, k=3, points=[at(1.0, 1.0)]).held_out


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    one = curve(tmp_path, points=[at(10.0, 1.0, humming=0.3)], weather="rain")
    assert one.more["weather"] == "rain"
    assert one.more["points"][0]["humming"] == 0.3


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "null", "1e999"])
def test_a_loss_that_is_not_finite_is_none_and_ends_the_curve(tmp_path: Path, token: str) -> None:
    line = '{"points": [{"kframes": 10, "val_loss": 1}, {"kframes": 20, "val_loss": TOKEN}, {"kframes": 30, "val_loss": 2}]}'
    (one,) = read(archive(tmp_path / "a.jsonl", line.replace("TOKEN", token)))
    assert one.val_losses == (1, None, 2)
    assert one.full_kframes == 20
    assert one.prefixes[-1]["val_loss"] == [1, None, 2]


@pytest.mark.parametrize(
    ("condition", "change"),
    [
        ("healthy", {}),
        ("weak", {"diagonality": 0.79}),
        ("weak", {"diagonality": 0.0}),
        ("weak", {"reading": 0.3}),
        ("sick", {"reading": 0.29}),
        ("healthy", {"alignment_score": 0.1}),
        ("weak", {"gate_accuracy": 0.8}),
        ("sick", {"gate_accuracy": 0.79}),
        ("healthy", {"premature_rate": 0.25}),
        ("weak", {"premature_rate": 0.25, "overrun_rate": 0.25}),
        ("sick", {"premature_rate": 0.25, "overrun_rate": 0.26}),
        ("sick", {"val_loss": None}),
    ],
)
def test_the_condition_is_that_of_the_kept_snapshot(tmp_path: Path, condition: str, change: dict[str, Any]) -> None:
    one = at(10.0, 1.0, **change)
    synthesis = {name: one.pop(name, rate) for name, rate in SPEAKS.items()}
    assert curve(tmp_path, points=[one], end=synthesis).condition == condition


@pytest.mark.parametrize(("condition", "score"), [("healthy", 0.4), ("sick", 0.29)])
def test_a_trial_of_an_older_version_has_no_reading_and_misses_no_target_of_it(
    tmp_path: Path, condition: str, score: float
) -> None:
    one = at(10.0, 1.0, alignment_score=score)
    del one["reading"]
    old = curve(tmp_path, points=[one], end=SPEAKS)
    assert (old.condition, old.violations.get("reading")) == (condition, None)
    assert old.prefixes[0]["reading"] == [None]
    assert curve(tmp_path, points=[at(10.0, 1.0), at(20.0, 0.9, reading=None)], end=SPEAKS).condition == "healthy"


def test_the_synthesis_of_the_kept_snapshot_counts_not_that_of_the_last(tmp_path: Path) -> None:
    points = [at(10.0, 1.0), at(20.0, 2.0, gate_accuracy=0.5)]
    mute = {"premature_rate": 1.0, "overrun_rate": 0.0}
    assert curve(tmp_path, points=points, end=mute, kept={"kframes": 10.0, **SPEAKS}).condition == "healthy"
    assert curve(tmp_path, points=points, end=SPEAKS, kept={"kframes": 10.0, **mute}).condition == "sick"
    assert curve(tmp_path, points=points, end=SPEAKS, kept={"kframes": 20.0, **SPEAKS}).condition == "sick"


POINT = '{"kframes": 10, "val_loss": 1}'


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "points"),
        ('{"points": []}', "points"),
        ('{"points": [3]}', "points"),
        ('{"points": [{"val_loss": 1}]}', "kframes"),
        ('{"points": [{"kframes": 0, "val_loss": 1}]}', "kframes"),
        (f'{{"points": [{POINT}, {POINT}]}}', "kframes"),
        ('{"points": [{"kframes": 10, "val_loss": "low"}]}', "val_loss"),
        ('{"points": [{"kframes": true, "val_loss": 1}]}', "kframes"),
        (f'{{"points": [{POINT}], "params": 3}}', "params"),
        (f'{{"points": [{POINT}], "k": "one"}}', "k "),
        (f'{{"points": [{POINT}], "held_out": 1}}', "held_out"),
        (f'{{"points": [{POINT}], "budget_kframes": 0}}', "budget_kframes"),
        (f'{{"points": [{POINT}], "kept": {{"kframes": 11}}}}', "kept"),
        (f'{{"points": [{POINT}], "end": {{"premature_rate": "no"}}}}', "premature_rate"),
        ("\udcff", "JSON"),
    ],
)
def test_a_broken_line_is_one_sentence_with_its_number(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"points": [{"kframes": 10, "val_loss": 1}]}\n\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(ArchiveError, match=r"^line 3: need ") as raised:
        read(path)
    assert word in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


def test_the_error_of_an_empty_archive_names_the_command_that_records_one(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"objective\.record"):
        read(archive(tmp_path / "a.jsonl"))


def test_every_curve_is_in_one_half(tmp_path: Path) -> None:
    curves = read(archive(tmp_path / "a.jsonl", *[{"points": [at(10.0, 1.0)]}] * 5))
    assert [one.k for one in half(curves, "held-out")] == [1, 3]
    assert [one.k for one in half(curves, "chosen")] == [0, 2, 4]
    assert half(curves, "all") == curves
