"""How well do validation figures rank trials by the voice? `python -m pruners.replay.correlation --archive FILE [--json OUT]`.

Every archived trial spoke its fixed sentences freely with the snapshot that a study would have kept. Each candidate for a score
is a figure of that snapshot on the validation set, teacher-forced; the table shows Spearman's rank correlation of the candidate
with what was heard, both smaller is better, with a 95 % interval from 1,000 bootstrap samples of the trials.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.files import atomic_write
from pruners.replay.archive import Curve, half, read
from pruners.thresholds import MEASURED, Targets

SAMPLES = 1_000

Figures = Mapping[str, float]


def _violated(f: Figures) -> float:
    """The constraints of a study: 0 for a trial that keeps them, else how far it misses them in all."""
    return sum(max(0.0, amount) for amount in Targets().missed(f).values())


# Smaller is better. The losses of a study lie below 100, so that the constraints come first in the last one.
CANDIDATES: dict[str, Callable[[Figures], float]] = {
    "loss": lambda f: f["val_loss"],
    "alignment score": lambda f: -f["alignment_score"],
    "diagonality": lambda f: -f["diagonality"],
    "gate accuracy": lambda f: -f["gate_accuracy"],
    "alignment + gate": lambda f: -f["alignment_score"] - f["gate_accuracy"],
    "loss - alignment": lambda f: f["val_loss"] - f["alignment_score"],
    "loss - alignment - gate": lambda f: f["val_loss"] - f["alignment_score"] - f["gate_accuracy"],
    "loss, alignment and gate as constraints": lambda f: 100.0 * (_violated(f) > 0) + 100.0 * _violated(f) + f["val_loss"],
}

HEARD: dict[str, Callable[[Figures], float]] = {
    "free failures": lambda f: f["premature_rate"] + f["overrun_rate"],
    "free alignment": lambda f: -f["free_alignment_score"],
    "MCD-DTW": lambda f: f["mcd_db"],
    # A voice that does not stop or reads in no order has failed, however near its cepstra lie: time warping forgives it.
    "all three": lambda f: f["premature_rate"] + f["overrun_rate"] - f["free_alignment_score"] + f["mcd_db"] / 10,
}


def figures(curve: Curve) -> Figures | None:
    """Of the kept snapshot: validation and free-running figures by name. None where one was not measured."""
    kept = curve.more.get("kept")
    if not kept:
        return None
    point = next((point for point in curve.more["points"] if point["kframes"] == kept.get("kframes")), None)
    if point is None:
        return None
    spoken = {name: kept.get(name) for name in ("premature_rate", "overrun_rate", "mcd_db")}
    known = spoken | {"free_alignment_score": kept.get("alignment_score"), "val_loss": point["val_loss"]}
    known |= {name: point[name] for name in MEASURED}
    return None if any(value is None for value in known.values()) else known


def correlations(known: Sequence[Figures], seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """candidate -> what was heard -> [Spearman's rho, low, high]; 0 where one side does not vary. ValueError for fewer than
    8 trials that spoke."""
    from scipy.stats import rankdata

    if len(known) < 8:
        raise ValueError(f"need 8 or more trials that spoke, got {len(known)}: record with python -m objective.record")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(known), (SAMPLES, len(known)))
    samples = np.vstack([np.arange(len(known)), drawn])  # the trials themselves, then the bootstrap's

    def ranks(score: Callable[[Figures], float]) -> NDArray[np.float64]:
        """Standardised in every sample; zeros where nothing varies."""
        ranked: NDArray[np.float64] = rankdata(np.array([score(row) for row in known])[samples], axis=1)
        centred = ranked - ranked.mean(1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(length, 1e-12))

    heard = {name: ranks(score) for name, score in HEARD.items()}
    table: dict[str, dict[str, list[float]]] = {}
    for candidate, score in CANDIDATES.items():
        rhos = {name: (ranks(score) * found).sum(1) for name, found in heard.items()}
        table[candidate] = {name: [float(rho[0]), *np.percentile(rho[1:], (2.5, 97.5)).tolist()] for name, rho in rhos.items()}
    return table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="curves, as python -m objective.record writes them")
    parser.add_argument("--half", choices=("held-out", "chosen", "all"), default="all", help="which curves (default all)")
    parser.add_argument("--speaking", action="store_true", help="only trials whose sentences all stop as they should")
    parser.add_argument("--json", type=Path, default=None, metavar="OUT", help="write the table to this file, too")
    parsed = parser.parse_args(arguments)
    try:
        rows = [row for curve in half(read(parsed.archive), parsed.half) if (row := figures(curve)) is not None]
        if parsed.speaking:
            rows = [row for row in rows if HEARD["free failures"](row) == 0]
        table = correlations(rows)
        if parsed.json is not None:
            with atomic_write(parsed.json) as part:
                part.write_text(json.dumps(table, indent=1), encoding="utf-8")
    except ValueError as why:
        print(f"{parsed.archive}: {why}", file=sys.stderr)
        return 2
    except OSError as why:
        print(why, file=sys.stderr)
        return 2
    show(table, len(rows))
    return 0


def show(table: dict[str, dict[str, list[float]]], trials: int) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=f"rank correlation with what {trials} trials sound like, 95 % interval")
    for column in ("score", *HEARD):
        drawn.add_column(column)
    for candidate, row in table.items():
        cells: list[Any] = [f"{rho:+.2f} ({low:+.2f} to {high:+.2f})" for rho, low, high in row.values()]
        drawn.add_row(candidate, *cells)
    Console().print(drawn)


if __name__ == "__main__":
    sys.exit(main())
