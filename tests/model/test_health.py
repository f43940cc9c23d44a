"""The measurements match the calibration of the health signals, find faults that the usual metrics miss, and ignore padding."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.health import ReportWindow, measure_alignment, measure_gate, stop_f1
from model.loss import guided_attention
from tests.model.attentions import N, T, cases, measured, spread

# The calibration: focus, coverage, backtrack, order, alignment_score.
TABLE = {
    "good": (0.92, 1.0, 0.0, 0.998, 0.92),
    "silence at the end": (0.93, 0.99, 0.0, 0.995, 0.91),
    "skips 15 symbols": (0.92, 0.81, 0.0, 0.99, 0.74),
    "goes back 20 symbols": (0.92, 0.99, 0.24, 0.95, 0.66),
    "stuck from half-way": (0.92, 0.49, 0.0, 0.88, 0.40),
    "blurred": (0.27, 1.0, 0.0, 0.998, 0.27),
    "very blurred": (0.07, 1.0, 0.0, 0.999, 0.07),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_measurements_match_the_calibration(case: str) -> None:
    got = measured(cases()[case])
    names = ("focus", "coverage", "backtrack", "order", "alignment_score")
    assert [got[name] for name in names] == pytest.approx(TABLE[case], abs=0.05)


@pytest.mark.parametrize("case", ["uniform", "horizontal", "random", "reversed", "permuted"])
def test_attention_without_alignment_scores_next_to_nothing(case: str) -> None:
    assert measured(cases()[case])["alignment_score"] < 0.03


@pytest.mark.parametrize("case", ["uniform", "reversed"])
def test_uniform_and_reversed_attention_score_exactly_zero(case: str) -> None:
    assert measured(cases()[case])["alignment_score"] == 0


def test_diagonality_distinguishes_the_cases() -> None:
    """The mean of A[i, i] is 0.01 for the first three."""
    family = {name: measured(attention)["diagonality"] for name, attention in cases().items()}
    stuck = measured(spread(torch.zeros(T)))["diagonality"]
    assert family["good"] == pytest.approx(0.98, abs=0.05)
    assert family["stuck from half-way"] == pytest.approx(0.56, abs=0.05)
    assert family["uniform"] == pytest.approx(0.19, abs=0.02)
    assert stuck == pytest.approx(0.10, abs=0.05)
    assert family["reversed"] == pytest.approx(0.10, abs=0.05)


# The usual metrics: each is equal for cases that ours distinguish.


def test_the_mean_of_the_corner_s_diagonal_is_the_same_for_good_uniform_and_stuck() -> None:
    stuck = spread(torch.full((T,), 3.0))
    usual = [float(A.diagonal().sum() / T) for A in (cases()["good"], cases()["uniform"], stuck)]
    assert max(usual) < 0.02
    ours = [measured(A)["diagonality"] for A in (cases()["good"], cases()["uniform"], stuck)]
    assert ours[0] > 0.9 > 0.25 > max(ours[1:])


def test_the_share_of_steps_that_do_not_go_back_is_one_for_attention_that_goes_nowhere() -> None:
    for case in ("uniform", "horizontal"):
        argmax = cases()[case].argmax(1)
        assert bool((argmax[1:] >= argmax[:-1]).all())
        assert measured(cases()[case])["alignment_score"] == 0


def test_the_focus_alone_is_high_for_a_horizontal_line() -> None:
    got = measured(cases()["horizontal"])
    assert got["focus"] > 0.95
    assert got["alignment_score"] == 0


def test_the_mean_of_the_column_maxima_is_the_same_backwards_and_falls_with_padding() -> None:
    good, backwards = cases()["good"], cases()["reversed"]
    assert float(good.amax(0).mean()) == pytest.approx(float(backwards.amax(0).mean()))
    assert measured(good)["alignment_score"] > 0.85
    assert measured(backwards)["alignment_score"] == 0
    padded = torch.zeros(1, T, 2 * N)
    padded[0, :, :N] = good
    assert float(padded.amax(1).mean()) < 0.6 * float(good.amax(0).mean())
    got = measure_alignment(padded, torch.tensor([T]), torch.tensor([N]))["alignment_score"]
    assert float(got[0]) == pytest.approx(measured(good)["alignment_score"])


def test_the_plain_accuracy_of_a_gate_that_never_fires_is_almost_one() -> None:
    logits, lengths = torch.full((1, T), -5.0), torch.tensor([T])
    predicted = torch.sigmoid(logits) > 0.5
    truth = torch.arange(T) == T - 1
    assert float((predicted == truth).float().mean()) > 0.995
    assert float(measure_gate(logits, lengths)["gate_accuracy"][0]) == 0.5


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**31))
def test_padding_and_order_have_no_effect_and_the_range_is_kept(t: int, n: int, more_t: int, more_n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.softmax(3 * torch.randn(2, t, n, generator=generator), 2)
    lengths = torch.tensor([t, max(1, t - 1)]), torch.tensor([n, max(1, n - 1)])
    padded = torch.full((2, t + more_t, n + more_n), 0.7)
    padded[:, :t, :n] = A
    first = torch.minimum(torch.tensor([0, t // 3]), lengths[0] - 1)
    known = (*lengths, first, torch.maximum(first, lengths[0] - 1 - t // 4))
    plain, more, turned = (
        measure_alignment(A, *known),
        measure_alignment(padded, *known),
        measure_alignment(A.flip(0), *(each.flip(0) for each in known)),
    )
    for name, values in plain.items():
        torch.testing.assert_close(more[name], values)
        torch.testing.assert_close(turned[name].flip(0), values)
        assert (values >= 0).all()
        if name != "backtrack":
            assert (values <= 1 + 1e-5).all()


def test_a_gate_that_never_fires_has_a_balanced_accuracy_of_a_half() -> None:
    """Its plain accuracy is 0.995."""
    got = measure_gate(torch.full((1, 200), -9.0), torch.tensor([200]))
    assert float(got["gate_accuracy"][0]) == 0.5
    assert stop_f1(got["stop_hit"], got["stop_predicted"]) == 0
    assert got["stop_error"].isnan().all()


def test_a_stop_just_before_the_end_is_right() -> None:
    """A recording ends with up to 0.2 s of silence: nobody can tell which of its frames is the last."""
    logits = torch.full((3, 40), -3.0)
    logits[0, 36:] = 3.0  # from 3 steps before the end on
    logits[1, 34] = 3.0  # too early
    logits[2, 12] = 3.0  # of 16
    got = measure_gate(logits, torch.tensor([40, 40, 16]), tolerance=4)
    assert got["gate_accuracy"].tolist() == pytest.approx([1.0, (34 / 35) / 2, 1.0])
    assert got["stop_hit"].tolist() == [1, 0, 1]
    strict = measure_gate(logits, torch.tensor([40, 40, 16]))["gate_accuracy"].tolist()
    assert strict == pytest.approx([(36 / 39 + 1) / 2, (38 / 39) / 2, (14 / 15) / 2])


def test_an_utterance_shorter_than_the_tolerance_has_only_an_end() -> None:
    logits = torch.tensor([[-3.0, 3.0, -3.0], [-3.0, -3.0, -3.0]])
    assert measure_gate(logits, torch.tensor([3, 3]), tolerance=18)["gate_accuracy"].tolist() == [1, 0]


def test_a_gate_is_measured_inside_its_length() -> None:
    logits = torch.full((2, 20), -3.0)
    logits[0, 9] = logits[0, 15] = 3.0  # stops at the right step; later ones are padding
    logits[1, 2] = 3.0  # stops 17 steps early
    got = measure_gate(logits, torch.tensor([10, 20]))
    assert got["gate_accuracy"].tolist() == pytest.approx([1.0, (18 / 19 + 0) / 2])
    assert got["stop_hit"].tolist() == [1, 0]
    assert got["stop_error"].tolist() == [0, 17]
    assert stop_f1(got["stop_hit"], got["stop_predicted"]) == pytest.approx(0.5)


def record(norm: float, terms: tuple[float, ...] = (1, 2, 3, 4), scale: float = 1.0) -> torch.Tensor:
    return torch.tensor([*terms, norm, sum(terms), scale])


def test_a_report_window_summarises_its_updates() -> None:
    window = ReportWindow(clip_norm=2.0)
    window.records = [record(1), record(3), record(2, (3, 2, 3, 4))]
    window.records += [record(1, (1, 2, math.nan, 4)), record(math.inf)]
    got, train = window.close()
    assert (got.median, got.nonfinite, got.streak, got.culprit) == (2.0, 2, 2, "gate")
    assert got.clipped == pytest.approx(1 / 3)
    assert got.p95 == pytest.approx(2.9)
    assert (train.mel_before, train.guided) == (pytest.approx(5 / 3), 4.0), "means over the steps that were taken"
    window.records = [record(math.nan)]
    got, train = window.close()
    assert (got.streak, got.culprit) == (3, "gradient"), "a run of skipped steps continues in the next window"
    assert (got.median, train.mel_before) == (None, None), "missing is not zero"
    empty, _ = window.close()
    assert (empty.median, empty.p95, empty.clipped, empty.nonfinite) == (None, None, None, 0)


def test_the_skipped_steps_of_an_adapting_loss_scaler_do_not_count() -> None:
    window = ReportWindow(clip_norm=2.0)
    window.records = [record(math.inf, scale=65_536), record(1), record(math.inf, (1, 2, math.inf, 4), scale=65_536)]
    got, _ = window.close()
    assert (got.nonfinite, got.streak, got.culprit) == (1, 1, "gate")


def test_the_guided_loss_matches_the_calibration() -> None:
    lengths = torch.tensor([T]), torch.tensor([N])
    family = {name: float(guided_attention(attention[None], *lengths, 0.2)) for name, attention in cases().items()}
    assert family["good"] == pytest.approx(0.007, abs=0.05)
    assert family["stuck from half-way"] == pytest.approx(0.29, abs=0.05)
    assert all(0.45 < family[name] < 0.8 for name in ("uniform", "reversed", "permuted"))
