"""The value of a trial, and the targets that it must meet to be healthy. Loads without torch.

The value is weight-free: masked mel error before and after the postnet plus the cross-entropy of the stop token (gate), on the
validation set. The smallest loss can be a broken voice, so alignment, gate and free-running stops are constraints: a trial that
runs to its end but misses one is sick, and never the best.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from model.report import Report
from pruners.thresholds import Targets

COEFFICIENTS = 13  # mel-cepstral, the energy left out


@dataclass(frozen=True, slots=True)
class FreeRunning:
    """Measurements of the fixed validation sentences, synthesised free-running."""

    premature_rate: float  # shorter than half of the recording
    overrun_rate: float  # not stopped before the limit
    alignment_score: float
    mcd_db: float  # mel-cepstral distortion after time warping, mean over the sentences

    @property
    def failures(self) -> float:
        return self.premature_rate + self.overrun_rate


def value(kind: str, report: Report, free_running: FreeRunning) -> float:
    """Return the value of a trial from its best snapshot, smaller is better.

    `loss` is the validation loss; `mcd` the free-running distortion in dB; `composite` their sum with the distortion at a
    tenth (10 dB weigh like one unit of loss) and the share of the sentences that fail to stop as they should.
    """
    loss = report.val_loss
    assert loss is not None
    if kind == "mcd":
        return free_running.mcd_db
    if kind == "composite":
        return loss + free_running.mcd_db / 10 + free_running.failures
    return loss


def violations(report: Report, targets: Targets) -> dict[str, float]:
    """Return how far a report misses each target on validation: > 0 is missed. What could not be measured is missed by 1."""
    return targets.missed(asdict(report.health))


def sick(report: Report, targets: Targets) -> bool:
    return any(amount > 0 for amount in violations(report, targets).values())


def better(new: Report, old: Report | None, targets: Targets) -> bool:
    """Return whether a report's snapshot is the one to keep: a healthy one beats any sick one, then the smaller loss wins."""
    if new.val_loss is None:
        return False
    if old is None or old.val_loss is None:
        return True
    return (sick(new, targets), new.val_loss) < (sick(old, targets), old.val_loss)


def misses(broken: dict[str, float], report: Report, free_running: FreeRunning | None, targets: Targets) -> str:
    """Return the sentence of a sick trial: each measure that misses its target, with the target. Empty for a healthy one."""
    parts = []
    for name, amount in broken.items():
        if amount <= 0:
            continue
        if name == "free_failures" and free_running is not None:
            parts.append(
                f"in free-running synthesis, {free_running.premature_rate:.0%} of the sentences end too early and "
                f"{free_running.overrun_rate:.0%} never, target at most {targets.free_failures:.0%}"
            )
            continue
        got = getattr(report.health, name)
        target = getattr(targets, name)
        shown = "not measurable" if got is None else f"{got:.2f}" if f"{got:.2f}" != f"{target:.2f}" else f"{got:.4f}"
        parts.append(f"{name.replace('_', ' ')} {shown}, target {target:.2f}")
    return "; ".join(parts)


def mcd(synthesised: NDArray[np.float32], recorded: NDArray[np.float32]) -> float:
    """Return the mel-cepstral distortion in dB (Kubichek 1993) between two log-mels (T, M) along the path of time warping.

    Cepstra c_m describe a frame of M bands as sum_m c_m cos(m w), so that 10 / ln 10 sqrt(2 sum (difference)^2) is the root
    mean square, in dB, by which two smoothed spectra differ. Coefficients 1 to 13: a change of loudness costs nothing.
    """
    import librosa
    from scipy.fft import dct

    cepstra: Sequence[NDArray[np.float32]] = [
        dct(mel, axis=1)[:, 1 : COEFFICIENTS + 1] / mel.shape[1]
        for mel in (synthesised, recorded)  # scipy's DCT is 2 sum x cos
    ]
    cost = np.linalg.norm(cepstra[0][:, None] - cepstra[1][None], axis=2)
    _, path = librosa.sequence.dtw(C=cost)
    return float(10 * np.sqrt(2) / np.log(10) * np.mean([cost[i, j] for i, j in path]))
