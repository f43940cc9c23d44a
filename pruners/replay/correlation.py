"""Rank correlation of a trial's figures with what was heard: `tacotune replay --correlations --archive FILE`.

A candidate for the score is a figure of the snapshot that a study would have kept, teacher-forced or free-running. The table
shows Spearman's rank correlation of each with the errors that independent judges make of the same voices (--judgements, by
benchmarks/voices.py), else with what the recording measured itself. Both are smaller where a voice is better, with a 95 %
interval from 1,000 bootstrap samples. A judgement is a line {"k": 12, "judge": "whisper", "errors": 0.31}, or with a "score"
that is larger for a better voice.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from model.errors import BadInput
from pruners.replay.archive import Curve

SAMPLES = 1_000

Figures = dict[str, float]  # smaller is better
Correlations = dict[str, dict[str, list[float]]]

FREE: dict[str, tuple[str, int]] = {  # candidate -> figure of the free-running synthesis; 1: smaller is better, else -1
    "free errors": ("errors", 1),
    "surprise": ("surprise", 1),
    "free failures": ("failures", 1),
    "free alignment": ("alignment_score", -1),
    "MCD-DTW": ("mcd_db", 1),
}
REPORTED: dict[str, tuple[str, int]] = {  # the same of a report; the first is the default score
    "speech": ("free_value", 1),
    "loss": ("val_loss", 1),
    "reading": ("reading", -1),
    "diagonality": ("diagonality", -1),
    "alignment score": ("alignment_score", -1),
    "gate accuracy": ("gate_accuracy", -1),
}
HEARD = ("free errors", "free failures", "free alignment", "MCD-DTW")  # where there are no judgements


def read_judgements(path: Path) -> dict[int, Figures]:
    """Return trial -> judge -> figure. Raises BadInput for a line that is no judgement, OSError without a file."""
    judgements: dict[int, Figures] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            amount = float(line["errors"]) if "errors" in line else -float(line["score"])
            if line["k"] is not None:  # else it is of the recordings
                judgements.setdefault(int(line["k"]), {})[str(line["judge"])] = amount
        except (ValueError, KeyError, TypeError) as why:
            rule = 'need {"k": trial, "judge": name, "errors": number}'
            raise BadInput(f"{path}, line {number}: {rule}, got {text[:60]}: remove the line, and judge again") from why
    return judgements


def figures(curve: Curve) -> Figures:
    """Return the figures of the kept snapshot that were measured, by the names of candidates."""
    kept = curve.more.get("kept") or {}
    report = next((point for point in curve.more["points"] if point["kframes"] == kept.get("kframes")), None)
    if report is None:
        return {}
    found = [(REPORTED, report), (FREE, kept)]
    known = {name: (sign, source.get(key)) for names, source in found for name, (key, sign) in names.items()}
    return {name: sign * value for name, (sign, value) in known.items() if value is not None}


def correlations(
    curves: Sequence[Curve], judgements: Mapping[int, Figures] | None = None, seed: int = 0
) -> tuple[Correlations, int]:
    """Return candidate -> what was heard -> [Spearman's rho, low, high], 0 where one side does not vary, and how many trials.

    The trials are those that every judge has heard and of which all was measured that was measured of any of them. Raises
    BadInput for fewer than 8.
    """
    from scipy.stats import rankdata  # takes a second to import, which a replay of pruners does not need

    known = [(figures(curve), (judgements or {}).get(curve.k, {})) for curve in curves]
    candidates = [name for name in (*REPORTED, *FREE) if any(name in found for found, _ in known)]
    judges = sorted({judge for _, heard in known for judge in heard})
    columns = judges if judgements is not None else [name for name in HEARD if name in candidates]
    whole = [
        (found, heard) for found, heard in known if columns and len(found) == len(candidates) and len(heard) == len(judges)
    ]
    if len(whole) < 8:
        way = (
            "by every judge: run benchmarks/voices.py"
            if judgements is not None
            else "free-running: record with tacotune record"
        )
        raise BadInput(f"need 8 or more trials that were heard {way}, got {len(whole)}")
    drawn = np.random.default_rng(seed).integers(0, len(whole), (SAMPLES, len(whole)))
    samples = np.vstack([np.arange(len(whole)), drawn])  # the trials themselves, then the bootstrap's

    def ranks(amounts: Sequence[float]) -> NDArray[np.float64]:
        """Return (samples, trials) ranks, standardised in every sample; zeros where nothing varies."""
        ranked: NDArray[np.float64] = rankdata(np.array(amounts)[samples], axis=1)
        centred = ranked - ranked.mean(1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(length, 1e-12))

    heard = {name: ranks([(judged if judges else found)[name] for found, judged in whole]) for name in columns}
    result: Correlations = {}
    for candidate in candidates:
        own = ranks([found[candidate] for found, _ in whole])
        rhos = {name: (own * other).sum(1) for name, other in heard.items()}
        result[candidate] = {name: [float(rho[0]), *np.percentile(rho[1:], (2.5, 97.5)).tolist()] for name, rho in rhos.items()}
    return result, len(whole)


def table(correlations: Correlations, trials: int) -> Table:
    """Return the correlations of so many `trials` as a table to print: a row for each candidate, a column for each judge."""
    drawn = Table(title=f"rank correlation with what {trials} trials sound like, 95 % interval")
    for column in ("score", *next(iter(correlations.values()))):
        drawn.add_column(column)
    for candidate, row in correlations.items():
        cells = [f"{rho:+.2f} ({low:+.2f} to {high:+.2f})" for rho, low, high in row.values()]
        drawn.add_row(candidate, *cells)
    return drawn
