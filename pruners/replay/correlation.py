"""Rank correlation of validation figures with the free-running synthesis: `tacotune replay --correlations --archive FILE`.

Every archived trial has synthesised its fixed sentences free-running, with the snapshot that a study would have kept. A
candidate for the score is a figure of that snapshot on the validation set, teacher-forced. The table shows Spearman's rank
correlation of each candidate with what was heard, both smaller is better, with a 95 % interval from 1,000 bootstrap samples.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from model.errors import BadInput
from pruners.replay.archive import Curve
from pruners.thresholds import ALIGNMENT

SAMPLES = 1_000

Figures = Mapping[str, float]


# Smaller is better. The losses of a study are below 100, so that the constraints decide first in the last one.
CANDIDATES: dict[str, Callable[[Figures], float]] = {
    "loss": lambda f: f["val_loss"],
    "alignment score": lambda f: -f["alignment_score"],
    "diagonality": lambda f: -f["diagonality"],
    "gate accuracy": lambda f: -f["gate_accuracy"],
    "alignment + gate": lambda f: -f["alignment_score"] - f["gate_accuracy"],
    "loss - alignment": lambda f: f["val_loss"] - f["alignment_score"],
    "loss - alignment - gate": lambda f: f["val_loss"] - f["alignment_score"] - f["gate_accuracy"],
    "loss, alignment and gate as constraints": lambda f: 100.0 * (f["missed"] > 0) + 100.0 * f["missed"] + f["val_loss"],
}

HEARD: dict[str, Callable[[Figures], float]] = {
    "free failures": lambda f: f["premature_rate"] + f["overrun_rate"],
    "free alignment": lambda f: -f["free_alignment_score"],
    "MCD-DTW": lambda f: f["mcd_db"],
    # A voice that does not stop or reads in no order has failed, however close its cepstra are: time warping hides that.
    "all three": lambda f: f["premature_rate"] + f["overrun_rate"] - f["free_alignment_score"] + f["mcd_db"] / 10,
}


def measured_trials(curves: Sequence[Curve], stopping_only: bool = False) -> list[Figures]:
    """Return the figures of the trials of which all were measured; with `stopping_only` of those whose sentences all stop."""
    measured = [found for curve in curves if (found := figures(curve)) is not None]
    return [found for found in measured if not stopping_only or HEARD["free failures"](found) == 0]


def figures(curve: Curve) -> Figures | None:
    """Return validation and free-running figures of the kept snapshot by name. None where one was not measured."""
    kept = curve.more.get("kept")
    if not kept:
        return None
    validation = next((report for report in curve.more["points"] if report["kframes"] == kept.get("kframes")), None)
    if validation is None:
        return None
    heard = {name: kept.get(name) for name in ("premature_rate", "overrun_rate", "mcd_db")}
    found = heard | {"free_alignment_score": kept.get("alignment_score"), "val_loss": validation["val_loss"]}
    found |= {name: validation[name] for name in ("alignment_score", "diagonality", "gate_accuracy")}
    found["missed"] = sum(max(0.0, curve.violations.get(name, 0.0)) for name in ALIGNMENT)  # 0 where it meets every target
    return None if any(value is None for value in found.values()) else found


def correlations(trials: Sequence[Figures], seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Return candidate -> what was heard -> [Spearman's rho, low, high]; 0 where one side does not vary.

    Raises BadInput for fewer than 8 trials.
    """
    from scipy.stats import rankdata  # takes a second to import, which a replay of pruners does not need

    if len(trials) < 8:
        raise BadInput(f"need 8 or more trials whose synthesis was recorded, got {len(trials)}: record with tacotune record")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(trials), (SAMPLES, len(trials)))
    samples = np.vstack([np.arange(len(trials)), drawn])  # the trials themselves, then the bootstrap's

    def ranks(score: Callable[[Figures], float]) -> NDArray[np.float64]:
        """Return (samples, trials) ranks, standardised in every sample; zeros where nothing varies."""
        ranked: NDArray[np.float64] = rankdata(np.array([score(row) for row in trials])[samples], axis=1)
        centred = ranked - ranked.mean(1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(length, 1e-12))

    heard = {name: ranks(score) for name, score in HEARD.items()}
    result: dict[str, dict[str, list[float]]] = {}
    for candidate, score in CANDIDATES.items():
        rhos = {name: (ranks(score) * found).sum(1) for name, found in heard.items()}
        result[candidate] = {name: [float(rho[0]), *np.percentile(rho[1:], (2.5, 97.5)).tolist()] for name, rho in rhos.items()}
    return result


def table(correlations: Mapping[str, Mapping[str, Sequence[float]]], trials: int) -> Table:
    """Return the correlations of so many `trials` as a table to print: a row for each candidate, a column for each `HEARD`."""
    drawn = Table(title=f"rank correlation with what {trials} trials sound like, 95 % interval")
    for column in ("score", *HEARD):
        drawn.add_column(column)
    for candidate, row in correlations.items():
        cells = [f"{rho:+.2f} ({low:+.2f} to {high:+.2f})" for rho, low, high in row.values()]
        drawn.add_row(candidate, *cells)
    return drawn
