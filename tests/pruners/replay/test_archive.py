"""Reading recorded curves: a trial of an archive has the value, violations and record that its study would have stored."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.report import Free, Gradients, Health, Losses, Report
from objective.trial.score import better, healthy, violations
from pruners.health_record import SIGNALS, empty, extended, measurements
from pruners.replay.archive import ArchiveError, Curve, Snapshot, half, read
from pruners.thresholds import Targets

WELL = {"diagonality": 0.95, "reading": 0.8, "alignment_score": 0.6, "gate_accuracy": 0.97}
SPEAKS, MUTE = ({"premature_rate": rate, "overrun_rate": 0.0} for rate in (0.0, 1.0))


def at(kframes: float, loss: float | None, **signals: Any) -> dict[str, Any]:
    return {"kframes": kframes, "val_loss": loss, **WELL, **signals}


def archive(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8")
    return path


def curve(folder: Path, **line: Any) -> Curve:
    (only,) = read(archive(folder / "one.jsonl", line))
    return only


def report(kframes: float, loss: float | None, scores: tuple[float, ...], free: Free) -> Report:
    losses = Losses(mel_before=loss, mel_after=0.25, gate=0.125, guided=None)
    names = ("diagonality", "reading", "gate_accuracy")
    health = Health(**dict.fromkeys(Health.__slots__) | dict(zip(names, scores, strict=True)))
    gradients = Gradients(median=1.0, p95=2.0, nonfinite=0, streak=0, clipped=None)
    return Report(kframes, 1, 1.0, 1e-3, 0.0, losses, losses, gradients, health, health, Free() if loss is None else free)


SCORE = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # coarse, so that trials tie and meet targets exactly
LOSS = st.none() | st.sampled_from([0.5, 1.0, 2.0])
JUDGED = st.builds(Free, value=SCORE, errors=SCORE, floor=st.just(0.25), failures=SCORE, mcd_db=st.just(8.0))
DEAF = st.builds(Free, value=SCORE, failures=SCORE, mcd_db=st.just(8.0))  # without a listener


def reports(judged: st.SearchStrategy[Free]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.tuples(LOSS, st.tuples(SCORE, SCORE, SCORE), st.just(Free()) | judged), min_size=1, max_size=6)


@given(reports(JUDGED) | reports(DEAF), st.builds(Targets, *[SCORE] * 5))
def test_values_and_snapshots_are_those_of_a_study(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], targets: Targets
) -> None:
    """At every report the same snapshot is held as by a live trial, with the same value, and the same targets are met."""
    course = [report(10.0 * number, *one) for number, one in enumerate(drawn, 1)]
    line = {"points": [measurements(one) for one in course]}
    (found,) = read(archive(tmp_path_factory.getbasetemp() / "law.jsonl", line), targets)
    best: Report | None = None
    assert found.score == "speech"
    assert found.values == tuple(one.free.value for one in course)
    for new, held in zip(course, found.held, strict=True):
        best = new if better(new, best, "speech", targets) else best
        assert (held is not None) == healthy(best, targets)
        if held is not None and best is not None:
            assert held == Snapshot(best.kframes, best.free.value or 0.0, violations(best, targets))
    assert (found.kept is None) == (best is None)
    if best is not None:
        assert found.kept == Snapshot(best.kframes, best.free.value or 0.0, violations(best, targets))
        named = read(archive(tmp_path_factory.getbasetemp() / "n.jsonl", line | {"kept": {"kframes": best.kframes}}), targets)[
            0
        ]
        assert (named.kept, named.held) == (found.kept, found.held)
    assert (found.condition == "healthy") <= healthy(best, targets)


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
        ("healthy", {"alignment_score": 0.1, "gate_accuracy": 0.5}),
        ("healthy", {"premature_rate": 0.1}),
        ("weak", {"premature_rate": 0.25, "overrun_rate": 0.25}),
        ("sick", {"premature_rate": 0.25, "overrun_rate": 0.26}),
        ("sick", {"val_loss": None}),
    ],
)
def test_the_condition_of_an_older_line_is_that_of_the_kept_snapshot(
    tmp_path: Path, condition: str, change: dict[str, Any]
) -> None:
    one = at(10.0, 1.0, **change)
    synthesis = {name: one.pop(name, rate) for name, rate in SPEAKS.items()}
    assert curve(tmp_path, points=[one], end=synthesis).condition == condition


@pytest.mark.parametrize(
    ("condition", "change"),
    [
        ("healthy", {"free_errors": 0.2, "free_failures": 0.1, "diagonality": 0.0, "reading": 0.0}),
        ("weak", {"free_errors": 0.21}),
        ("weak", {"free_failures": 0.11}),
        ("weak", {"free_errors": 0.6, "free_failures": 0.5}),
        ("sick", {"free_errors": 0.61}),
        ("sick", {"free_failures": 0.51}),
        ("healthy", {"free_errors": None}),
        ("weak", {"free_errors": None, "diagonality": 0.79}),
        ("sick", {"free_errors": None, "reading": 0.29}),
        ("sick", {"free_value": None}),
    ],
)
def test_the_condition_is_what_was_heard_of_the_kept_snapshot(tmp_path: Path, condition: str, change: dict[str, Any]) -> None:
    heard = {"free_value": 0.2, "free_errors": 0.1, "free_floor": 0.1, "free_failures": 0.0}
    assert curve(tmp_path, points=[at(10.0, 1.0, **heard | change)]).condition == condition


def test_the_figures_of_a_synthesis_may_stand_beside_texts(tmp_path: Path) -> None:
    synthesis = {"failures": 0.5, "errors": None, "heard": "we share", "worst_text": None, "faults": {"cut": 3}}
    one = curve(tmp_path, points=[at(10.0, 1.0, free_value=0.5, free_failures=0.5)], kept={"kframes": 10.0, **synthesis})
    assert synthesis.items() <= one.more["kept"].items()


def test_an_older_line_holds_a_healthy_snapshot_from_the_kept_one_on(tmp_path: Path) -> None:
    points = [at(10.0, 0.9), at(20.0, 1.0), at(30.0, 1.1)]
    one = curve(tmp_path, points=points, kept={"kframes": 20.0, **SPEAKS})
    assert (one.score, one.values, one.value) == ("loss", (0.9, 1.0, 1.1), 1.0)
    assert one.held == (None, one.kept, one.kept)
    for mute in ({"kept": {"kframes": 20.0, "premature_rate": 1.0, "overrun_rate": 0.0}}, {"kept": None, "end": MUTE}):
        assert curve(tmp_path, points=points, **mute).held == (None, None, None)


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
    points = [at(10.0, 1.0), at(20.0, 2.0, reading=0.2)]
    assert curve(tmp_path, points=points, end=MUTE, kept={"kframes": 10.0, **SPEAKS}).condition == "healthy"
    assert curve(tmp_path, points=points, end=SPEAKS, kept={"kframes": 10.0, **MUTE}).condition == "sick"
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
        (f'{{"points": [{POINT}], "end": {{"failures": "few"}}}}', "failures"),
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
