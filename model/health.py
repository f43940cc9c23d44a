"""Measure alignment, stop token (gate) and gradients, in one vectorised pass on the training device.

B batch, T decoder steps, N symbols. Each utterance is measured inside its true lengths; the caller averages. The usual metrics
are not used because they miss faults: the mean of A[i, i] is 0.01 for perfect, uniform and stuck attention; the mean of the row
maxima is 0.96 for a horizontal line; the plain accuracy of the gate is 0.997 for a model that never stops.
"""

import math

import torch
from torch import Tensor

from model.layers import valid_mask
from model.report import Gradients, Health, Losses
from model.tacotron2 import Outputs

BAND = 0.1  # half-width of the diagonal, as a share of the utterance
STEPS_PER_SYMBOL_SHARE = 0.112  # of the mean steps per symbol: 0.7 of a step where a symbol lasts 6.25 steps
STOP_TOLERANCE = 5  # decoder steps
TERMS = ("mel_before", "mel_after", "gate", "guided")
# The numbers of an update's record. The norm is the unscaled gradient's, before clipping; the scale is the loss's, else 1.
RECORD = (*TERMS, "norm", "loss", "scale")


def measure_alignment(attention: Tensor, step_lengths: Tensor, symbol_lengths: Tensor) -> dict[str, Tensor]:
    """Measure attention (B, T, N) with lengths (B,), integers. Return tensors (B,) by name.

    diagonality  share of the attention within BAND of the diagonal (chance: 0.19)
    focus        mean over steps of the row's maximum (FastSpeech's focus rate)
    coverage     share of symbols that get enough attention in total: 0.7 steps, or less where there are few steps a symbol
    backtrack    total distance that the argmax moves back, in lengths of the text
    order        Pearson correlation of time and the attention's centroid, not below 0; 0 where it is undefined
    alignment_score  focus * coverage * order * max(0, 1 - backtrack), in [0, 1]
    """
    attention = attention.detach().float()
    T, N = attention.shape[1:]
    steps = valid_mask(step_lengths, T)  # (B, T)
    symbols = valid_mask(symbol_lengths, N)  # (B, N)
    A = attention * steps[:, :, None] * symbols[:, None]
    t = torch.arange(T, device=A.device)
    n = torch.arange(N, device=A.device)
    T_, N_ = step_lengths[:, None].float(), symbol_lengths[:, None].float()

    distance = ((n + 0.5) / N_)[:, None] - ((t + 0.5) / T_)[:, :, None]  # (B, T, N)
    mass = A.sum((1, 2))
    diagonality = (A * (distance.abs() <= BAND)).sum((1, 2)) / mass

    peak, argmax = A.max(2)  # (B, T)
    focus = (peak * steps).sum(1) / T_[:, 0]

    floor = (STEPS_PER_SYMBOL_SHARE * T_ / N_).clamp(max=0.7)
    coverage = ((A.sum(1) >= floor) & symbols).sum(1) / N_[:, 0]

    back = (argmax[:, :-1] - argmax[:, 1:]).clamp(min=0) * steps[:, 1:]
    backtrack = back.sum(1) / N_[:, 0]

    centroid = (A * n).sum(2)  # (B, T)
    x = (t - (T_ - 1) / 2) * steps
    y = (centroid - (centroid * steps).sum(1, keepdim=True) / T_) * steps
    spread = (x.square().sum(1) * y.square().sum(1)).sqrt()
    constant = y.square().sum(1) / T_[:, 0] < 1e-6  # the centroid moves by less than a thousandth of a symbol
    order = torch.where(constant | (spread == 0), 0.0, (x * y).sum(1) / spread.clamp(min=1e-12)).clamp(0, 1)

    score = focus * coverage * order * (1 - backtrack).clamp(min=0)
    return {
        "diagonality": diagonality,
        "focus": focus,
        "coverage": coverage,
        "backtrack": backtrack,
        "order": order,
        "alignment_score": score,
    }


def measure_gate(logits: Tensor, step_lengths: Tensor) -> dict[str, Tensor]:
    """Measure the stop token's logits (B, T) with lengths (B,). Return tensors (B,) by name; NaN stands for no measurement.

    gate_accuracy   mean of the recall on the steps before the end and on the end step (a single step has the end only)
    stop_predicted  1 if a stop is predicted at any step, with a probability above 0.5
    stop_hit        1 if the first predicted stop is within STOP_TOLERANCE steps of the true one
    stop_error      distance of the first predicted stop from the true one, in steps; NaN without a predicted stop
    """
    logits = logits.detach().float()
    T = logits.shape[1]
    steps = valid_mask(step_lengths, T)
    last = (step_lengths - 1)[:, None]
    stops = (logits > 0) & steps
    at_end = stops.gather(1, last)[:, 0].float()
    before = steps.sum(1) - 1
    false = stops.sum(1) - at_end
    kept = 1 - false / before.clamp(min=1)
    predicted = stops.any(1)
    error = (stops.float().argmax(1) - last[:, 0]).abs().float()
    return {
        "gate_accuracy": torch.where(before > 0, (kept + at_end) / 2, at_end),
        "stop_predicted": predicted.float(),
        "stop_hit": (predicted & (error <= STOP_TOLERANCE)).float(),
        "stop_error": torch.where(predicted, error, torch.nan),
    }


def stop_f1(hit: Tensor, predicted: Tensor) -> float:
    """Return the F1 score of the first predicted stops of all utterances, each of which has one true stop: (B,) of 0 and 1."""
    return float(2 * hit.sum() / (predicted.sum() + len(hit)))


def measure(outputs: Outputs) -> dict[str, Tensor]:
    """Measure each utterance's alignment and gate: tensors (B,) by name."""
    steps = outputs.step_lengths
    return measure_alignment(outputs.alignment, steps, outputs.symbol_lengths) | measure_gate(outputs.gate, steps)


def average(measured: list[dict[str, Tensor]], reduction: int) -> Health:
    """Average the measurements over all utterances; None where nothing could be measured."""
    joined = {name: torch.cat([part[name] for part in measured]).double() for name in measured[0]}
    mean = {name: finite_or_none(float(values.nanmean())) for name, values in joined.items()}
    error = mean["stop_error"]
    return Health(
        diagonality=mean["diagonality"],
        focus=mean["focus"],
        coverage=mean["coverage"],
        backtrack=mean["backtrack"],
        order=mean["order"],
        alignment_score=mean["alignment_score"],
        gate_accuracy=mean["gate_accuracy"],
        stop_f1=stop_f1(joined["stop_hit"], joined["stop_predicted"]),
        stop_error=None if error is None else error * reduction,
    )


def finite_or_none(value: float) -> float | None:
    """Return a finite value, else None."""
    return float(value) if math.isfinite(value) else None


class ReportWindow:
    """The updates since the last report: a record each (model/train_step.py), on the device until the window is closed."""

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = clip_norm
        self.records: list[Tensor] = []  # (7,) each, in the order of RECORD
        self.running = 0  # consecutive skipped steps at the end of the last window

    def close(self) -> tuple[Gradients, Losses]:
        """Summarise the records and start the next window. A run of skipped steps continues into it.

        Steps that a loss scaler skips while it adapts are no fault of the network: they are not counted.
        """
        if not self.records:
            return Gradients(None, None, 0, self.running, None), Losses(None, None, None, None)
        records = torch.stack(self.records).cpu()
        norms, losses, scales = (records[:, RECORD.index(name)] for name in ("norm", "loss", "scale"))
        terms = records[:, : len(TERMS)]
        finite = norms.isfinite() & losses.isfinite()
        skipped = ~finite & ((scales <= 1) | ~losses.isfinite())
        streak, culprit = self.running, None
        for ok, fault, record in zip(finite.tolist(), skipped.tolist(), terms, strict=True):
            self.running = 0 if ok else self.running + fault
            streak = max(streak, self.running)
            if fault and culprit is None:
                broken = [name for name, value in zip(TERMS, record.isfinite().tolist(), strict=True) if not value]
                culprit = broken[0] if broken else "gradient"
        self.records = []
        norms, means = norms[finite], terms[finite].mean(0).tolist()
        some = len(norms) > 0
        gradients = Gradients(
            median=float(norms.median()) if some else None,
            p95=float(norms.quantile(0.95)) if some else None,
            nonfinite=int(skipped.sum()),
            streak=streak,
            clipped=float((norms > self.clip_norm).float().mean()) if some else None,
            culprit=culprit,
        )
        return gradients, Losses(*(means if some else [None] * len(TERMS)))
