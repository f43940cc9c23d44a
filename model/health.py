"""Measure alignment, stop token (gate) and gradients, in one vectorised pass on the training device.

B batch, T decoder steps, N symbols. Each utterance is measured inside its true lengths; the caller averages. The usual metrics
are not used because they miss faults: the mean of A[i, i] is 0.01 for perfect, uniform and stuck attention; the mean of the row
maxima is 0.96 for a horizontal line; the plain accuracy of the gate is 0.997 for a model that never stops.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from model.config import Config
from model.layers import valid_mask
from model.report import Gradients, Health, Losses
from model.silence import sounding
from model.tacotron2 import Outputs

BAND = 0.1  # half-width of the diagonal, as a share of the utterance
STEPS_PER_SYMBOL_SHARE = 0.112  # of the mean steps per symbol: 0.7 of a step where a symbol lasts 6.25 steps
BACKLASH = 0.25  # symbols on either side: smaller movements of the attention's centroid do not count
STOP_TOLERANCE_S = 0.2  # seconds before the end of the recording in which a stop is right
TERMS = ("mel_before", "mel_after", "gate", "guided")
# The numbers of an update's record. The norm is the unscaled gradient's, before clipping; the scale is the loss's, else 1.
RECORD = (*TERMS, "norm", "loss", "scale")


def measure_alignment(
    attention: Tensor,
    step_lengths: Tensor,
    symbol_lengths: Tensor,
    first_step: Tensor | None = None,
    last_step: Tensor | None = None,
) -> dict[str, Tensor]:
    """Measure attention (B, T, N) with lengths (B,), integers. Return tensors (B,) by name.

    `first_step` and `last_step` (B,) are the steps of the first and the last sound of the speech, else the first and the last
    step: attention has nothing to read in the silence around it. All but coverage is measured between them; a final full stop
    may be read in the silence.

    diagonality  share of the attention within BAND of the diagonal (chance: 0.19)
    focus        mean over steps of the row's maximum (FastSpeech's focus rate): how sharp the attention is
    coverage     share of symbols that get enough attention in total: 0.7 steps, or less where there are few steps a symbol
    backtrack    total distance that the attention's centroid moves back, in lengths of the text
    order        Pearson correlation of time and the centroid, not below 0; 0 where it is undefined
    reading      min(coverage, extent of the centroid) * order * max(0, 1 - backtrack), in [0, 1]: how much of the text is read,
                 and in which order, however blurred. Even attention covers all symbols; its centroid rests.
    alignment_score  focus * reading, in [0, 1]
    """
    attention = attention.detach().float()
    T, N = attention.shape[1:]
    symbols = valid_mask(symbol_lengths, N)  # (B, N)
    N_ = symbol_lengths.float()
    n = torch.arange(N, device=attention.device)
    complete = attention * valid_mask(step_lengths, T)[:, :, None] * symbols[:, None]
    floor = (STEPS_PER_SYMBOL_SHARE * step_lengths / N_).clamp(max=0.7)
    coverage = ((complete.sum(1) >= floor[:, None]) & symbols).sum(1) / N_

    first = torch.zeros_like(step_lengths) if first_step is None else first_step
    spoken = (step_lengths if last_step is None else last_step + 1) - first  # (B,) steps
    steps = valid_mask(spoken, T)  # (B, T)
    t = torch.arange(T, device=attention.device)
    place = (first[:, None] + t).clamp(max=T - 1)
    A = complete.gather(1, place[:, :, None].expand_as(complete)) * steps[:, :, None]  # (B, T, N), from the first sound on
    T_ = spoken[:, None].float()

    distance = ((n + 0.5) / N_[:, None])[:, None] - ((t + 0.5) / T_)[:, :, None]  # (B, T, N)
    diagonality = (A * (distance.abs() <= BAND)).sum((1, 2)) / A.sum((1, 2))
    focus = A.amax(2).sum(1) / T_[:, 0]
    centroid = (A * n).sum(2)  # (B, T)
    order = _order(centroid, steps)
    path = _steadied(centroid, steps)
    backtrack = ((path[:, :-1] - path[:, 1:]).clamp(min=0) * steps[:, 1:]).sum(1) / N_
    moved = path.where(steps, -torch.inf).amax(1) - path.where(steps, torch.inf).amin(1)
    extent = (moved + 1 + 2 * BACKLASH) / N_  # symbols have a width
    reading = coverage.minimum(extent) * order * (1 - backtrack).clamp(min=0)
    return {
        "diagonality": diagonality,
        "focus": focus,
        "coverage": coverage,
        "backtrack": backtrack,
        "order": order,
        "reading": reading,
        "alignment_score": focus * reading,
    }


def _order(centroid: Tensor, steps: Tensor) -> Tensor:
    """Correlate the centroid (B, T) with time, over valid steps (B, T)."""
    count = steps.sum(1, keepdim=True)
    t = torch.arange(centroid.shape[1], device=centroid.device)
    x = (t - (count - 1) / 2) * steps
    y = (centroid - (centroid * steps).sum(1, keepdim=True) / count) * steps
    spread = (x.square().sum(1) * y.square().sum(1)).sqrt()
    constant = y.square().sum(1) / count[:, 0] < 1e-6  # the centroid moves by less than a thousandth of a symbol
    return torch.where(constant | (spread == 0), 0.0, (x * y).sum(1) / spread.clamp(min=1e-12)).clamp(0, 1)


def _steadied(centroid: Tensor, steps: Tensor) -> Tensor:
    """Return the path (B, T) that follows the centroid c, averaged over three steps, at a distance of BACKLASH.

    It rests while the centroid is nearer: path_t = clamp(path_(t-1), c_t - BACKLASH, c_t + BACKLASH). Clamps of clamps are
    clamps, so that a scan of log2(T) rounds finds all steps.
    """
    sums, counts = (avg_pool1d(values, 3, stride=1, padding=1) for values in (centroid * steps, steps.float()))
    c = sums / counts.clamp(min=1e-6)
    low, high = c - BACKLASH, c + BACKLASH
    shift = 1
    while shift < c.shape[1]:
        now = low[:, shift:], high[:, shift:]
        low, high = (
            torch.cat([bound[:, :shift], bound[:, :-shift].maximum(now[0]).minimum(now[1])], 1) for bound in (low, high)
        )
        shift *= 2
    return c[:, :1].maximum(low).minimum(high)


def measure_gate(logits: Tensor, step_lengths: Tensor, tolerance: int = 0) -> dict[str, Tensor]:
    """Measure the stop token's logits (B, T) with lengths (B,). Return tensors (B,) by name; NaN stands for no measurement.

    `tolerance` is a number of decoder steps: a stop so much before the last step is a hit and no false alarm.

    gate_accuracy   mean of the recalls: of the steps before the end, and of the end (a short utterance has the end only)
    stop_predicted  1 if a stop is predicted at any step, with a probability above 0.5
    stop_hit        1 if the first predicted stop is a hit
    stop_error      distance of the first predicted stop from the true one, in steps; NaN without a predicted stop
    """
    logits = logits.detach().float()
    steps = valid_mask(step_lengths, logits.shape[1])
    last = step_lengths - 1
    stops = (logits > 0) & steps
    ending = valid_mask((last - tolerance).clamp(min=0), logits.shape[1]).logical_not() & steps  # (B, T)
    at_end = (stops & ending).any(1).float()
    before = (steps & ~ending).sum(1)
    kept = 1 - (stops & ~ending).sum(1) / before.clamp(min=1)
    predicted = stops.any(1)
    error = (stops.float().argmax(1) - last).abs().float()
    return {
        "gate_accuracy": torch.where(before > 0, (kept + at_end) / 2, at_end),
        "stop_predicted": predicted.float(),
        "stop_hit": (predicted & (error <= tolerance)).float(),
        "stop_error": torch.where(predicted, error, torch.nan),
    }


def stop_f1(hit: Tensor, predicted: Tensor) -> float:
    """Return the F1 score of the first predicted stops of all utterances, each of which has one true stop: (B,) of 0 and 1."""
    return float(2 * hit.sum() / (predicted.sum() + len(hit)))


def measure(outputs: Outputs, config: Config) -> dict[str, Tensor]:
    """Measure each utterance's alignment between the first and the last sound of its recording, and its gate: (B,) by name."""
    r, audio = config.network.reduction, config.audio
    first, last = sounding(outputs.recorded, outputs.frame_lengths)
    steps = outputs.step_lengths
    tolerance = math.ceil(STOP_TOLERANCE_S * audio.rate_hz / (audio.hop_samples * r))
    alignment = measure_alignment(outputs.alignment, steps, outputs.symbol_lengths, first // r, last // r)
    return alignment | measure_gate(outputs.gate, steps, tolerance)


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
        reading=mean["reading"],
        alignment_score=mean["alignment_score"],
        gate_accuracy=mean["gate_accuracy"],
        stop_f1=stop_f1(joined["stop_hit"], joined["stop_predicted"]),
        stop_error=None if error is None else error * reduction,
    )


def finite_or_none(value: float) -> float | None:
    """Return a finite value, else None."""
    return float(value) if math.isfinite(value) else None


def _finite(records: Tensor) -> tuple[Tensor, Tensor]:
    """Return which steps of records (N, 7) were finite, and which were skipped for another reason than a scaler's adapting."""
    norms, losses, scales = (records[:, RECORD.index(name)] for name in ("norm", "loss", "scale"))
    finite = norms.isfinite() & losses.isfinite()
    return finite, ~finite & ((scales <= 1) | ~losses.isfinite())


class ReportWindow:
    """The updates since the last report: a record each (model/train_step.py), on the device until the window is closed."""

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = clip_norm
        self.records: list[Tensor] = []  # (7,) each, in the order of RECORD
        self.running = 0  # consecutive skipped steps at the end of the last window

    def skipping(self, newest: int = 16) -> int:
        """Return how many of the `newest` steps in a row, up to the last one, were skipped and count as such."""
        if not self.records:
            return 0
        _, skipped = _finite(torch.stack(self.records[-newest:]).cpu())
        return next((count for count, fault in enumerate(reversed(skipped.tolist())) if not fault), len(skipped))

    def close(self) -> tuple[Gradients, Losses]:
        """Summarise the records and start the next window. A run of skipped steps continues into it.

        Steps that a loss scaler skips while it adapts are no fault of the network: they are not counted.
        """
        if not self.records:
            return Gradients(None, None, 0, self.running, None), Losses(None, None, None, None)
        records = torch.stack(self.records).cpu()
        terms, norms = records[:, : len(TERMS)], records[:, RECORD.index("norm")]
        finite, skipped = _finite(records)
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
