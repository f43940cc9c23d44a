"""PNG pictures of a trial: its alignment, its mels, its learning curves.

matplotlib is imported when a picture is drawn, and used without pyplot, so that nothing global is left behind. A picture
appears under its name whole or not at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.files import atomic_write
from model.health import BAND
from model.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
LABELLED_SYMBOLS = 80  # more would not be legible
TRAIN, VALIDATION, NEUTRAL = "#1f77b4", "#d95f02", "#555555"
WARN, CRITICAL = "#f2b134", "#d1495b"

Array = NDArray[np.floating[Any]]


def alignment(
    path: Path,
    attention: Array,
    symbols: Sequence[str] | None,
    measured: Mapping[str, float | None],
    title: str,
) -> Path:
    """Attention of one utterance without its padding.

    attention: (T decoder steps, N symbols), rows sum to 1. The colour is its square root, on a scale from 0 to 1 that is the
    same for every picture: two trials can be compared by eye, and a blurred diagonal is still seen.
    symbols: what stands on the y axis, N of them; shown up to 80. measured: name -> value, under the title.
    """
    from matplotlib.colors import PowerNorm

    T, N = attention.shape
    if symbols is not None and len(symbols) != N:
        raise ValueError(f"need one symbol per column of the attention, got {len(symbols)} for {N}: pass the unpadded ones")
    labelled = symbols is not None and N <= LABELLED_SYMBOLS
    figure = _figure(9, max(4.5, 1.2 + 0.12 * N) if labelled else 6)
    axes = figure.add_subplot()
    # cell n covers n to n + 1, so that its centre is the centred position of the definition
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    extent = (0, T, 0, N)
    image = axes.imshow(
        attention.T, norm=norm, cmap="magma", origin="lower", aspect="auto", interpolation="nearest", extent=extent
    )
    for side in (-BAND, BAND):
        axes.plot([0, T], [side * N, N + side * N], color="white", linewidth=1, linestyle=(0, (6, 4)), alpha=0.8)
    axes.set(xlim=(0, T), ylim=(0, N), xlabel="decoder step", ylabel="symbol")
    if symbols is not None and labelled:
        names = ["␣" if symbol == " " else symbol for symbol in symbols]
        axes.set_yticks(np.arange(N) + 0.5, names, fontsize=7 if N > 40 else 9)
        axes.tick_params(axis="y", length=0)
    figure.colorbar(image, ax=axes, label="attention", ticks=[0, 0.05, 0.2, 0.5, 1], pad=0.02)
    values = (f"{name.replace('_', ' ')} {'-' if value is None else f'{value:.2f}'}" for name, value in measured.items())
    _headline(figure, title, ", ".join(values))
    return _save(figure, path)


def mels(
    path: Path,
    predicted: Array,
    target: Array | None,
    title: str,
    hop_seconds: float = 256 / 22_050,
) -> Path:
    """Predicted over true log-mel on one colour scale and one time axis.

    predicted: (T1 frames, bands). target: (T2, bands) or None where no recording exists (free synthesis).
    """
    named = [("predicted", predicted)] + ([] if target is None else [("true", target)])
    figure = _figure(10, 1.0 + 2.4 * len(named))
    rows = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
    finite = np.concatenate([mel[np.isfinite(mel)] for _, mel in named])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    true_end = None if target is None else len(target) * hop_seconds
    for axes, (name, mel) in zip(rows, named, strict=True):
        frames, bands = mel.shape
        extent = (0, frames * hop_seconds, 0, bands)
        image = axes.imshow(mel.T, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="viridis", extent=extent)
        axes.set(ylabel="mel band", facecolor="#eeeeee")
        axes.set_title(name, loc="left", fontsize=10)
        if true_end is not None and name == "predicted":
            axes.axvline(true_end, color=CRITICAL, linewidth=1.5, linestyle="--")
    figure.colorbar(image, ax=list(rows), label="log magnitude", pad=0.015, aspect=30)
    rows[-1].set(xlabel="time, s", xlim=(0, max(len(mel) for _, mel in named) * hop_seconds))
    _headline(figure, title)
    return _save(figure, path)


def gate(path: Path, probability: Array, true_end: float | None, title: str, step_seconds: float) -> Path:
    """The probability that speech has ended, step by step; above 0.5 it is said to.

    probability: (T decoder steps,), each of `step_seconds`. true_end: of the recording in seconds, or None where there is none.
    """
    figure = _figure(10, 3)
    axes = figure.add_subplot()
    seconds = len(probability) * step_seconds
    steps = [*probability, *probability[-1:]]
    axes.step(np.linspace(0, seconds, len(steps)), steps, where="post", color=TRAIN, linewidth=1.5, label="gate")
    axes.axhline(0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
    axes.axvline(seconds, color=TRAIN, linewidth=1.5, linestyle="--", label="its end")
    if true_end is not None:
        axes.axvline(true_end, color=CRITICAL, linewidth=1.5, linestyle="--", label="true end")
    axes.set(ylim=(-0.05, 1.05), yticks=[0, 0.5, 1], ylabel="probability of the end", xlabel="time, s")
    axes.set_xlim(0, 1.05 * max(seconds, true_end or 0))
    axes.grid(color="#dddddd", linewidth=0.6)
    _legend(axes)
    _headline(figure, title)
    return _save(figure, path)


def curves(path: Path, reports: Sequence[Report], levels: Mapping[str, tuple[float, float]], title: str) -> Path:
    """Learning curves over the frames seen: loss, gradient norm, diagonality, alignment score, gate accuracy.

    levels: signal -> (warn, critical) for `grad_norm` (bad above), `diagonality`, `alignment_score` and `gate_accuracy` (bad
    below); a signal without levels is drawn without zones. A missing measurement is a gap in its curve.
    """
    if not reports:
        raise ValueError("need at least one report to draw curves, got none: draw them once the trial has reported")
    figure = _figure(12, 7)
    grid = figure.add_gridspec(2, 6)
    x = [report.kframes for report in reports]
    loss = figure.add_subplot(grid[0, :3])
    _draw(loss, x, [report.train.score for report in reports], TRAIN, "train")
    _draw(loss, x, [report.val_loss for report in reports], VALIDATION, "validation")
    _decades(loss, ratio=20)
    loss.set_title("loss", loc="left", fontsize=11)
    gradient = figure.add_subplot(grid[0, 3:], sharex=loss)
    _draw(gradient, x, [report.gradients.median for report in reports], TRAIN, "median")
    _draw(gradient, x, [report.gradients.p95 for report in reports], VALIDATION, "95th percentile")
    _decades(gradient, ratio=0)
    gradient.set_title("gradient norm", loc="left", fontsize=11)
    _zones(gradient, levels.get("grad_norm"), bad_above=True)
    for place, name in enumerate(("diagonality", "alignment_score", "gate_accuracy")):
        axes = figure.add_subplot(grid[1, 2 * place : 2 * place + 2], sharex=loss)
        _draw(axes, x, [getattr(report.health, name) for report in reports], TRAIN, None)
        axes.set(ylim=(-0.03, 1.03), xlabel="thousand frames")
        axes.set_title(name.replace("_", " "), loc="left", fontsize=11)
        _zones(axes, levels.get(name), bad_above=False)
    loss.set_xlim(0, 1.03 * max(*x, 1.0))
    for axes in (loss, gradient):
        _legend(axes)
    _headline(figure, title)
    return _save(figure, path)


def _draw(axes: "Axes", x: Sequence[float], values: Sequence[float | None], colour: str, label: str | None) -> None:
    y = np.array(values, dtype=float)  # None becomes nan, a gap
    axes.plot(x, y, color=colour, label=label, linewidth=1.6, marker="o", markersize=3)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _decades(axes: "Axes", ratio: float) -> None:
    """A logarithmic y axis where the positive values span more than `ratio`: one diverged point must not flatten the rest."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()])
    positive = drawn[np.isfinite(drawn) & (drawn > 0)]
    if positive.size and positive.max() > ratio * positive.min():
        axes.set_yscale("log")


def _zones(axes: "Axes", levels: tuple[float, float] | None, bad_above: bool) -> None:
    if levels is None:
        return
    warn, critical = levels
    low, high = axes.get_ylim()
    end = max(high, 2 * critical) if bad_above else low
    axes.set_ylim(low, max(high, end))
    axes.axhspan(*sorted((warn, critical)), color=WARN, alpha=0.15, linewidth=0)
    axes.axhspan(*sorted((critical, end)), color=CRITICAL, alpha=0.15, linewidth=0)
    axes.axhline(warn, color=WARN, linewidth=1.2, linestyle="--", label="warn")
    axes.axhline(critical, color=CRITICAL, linewidth=1.2, linestyle="--", label="critical")


def _legend(axes: "Axes") -> None:
    # on the title's line, where it can hide no curve
    style = {"ncols": 4, "frameon": False, "fontsize": 9, "handlelength": 1.5, "columnspacing": 1.2, "borderaxespad": 0.1}
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), **style)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _headline(figure: "Figure", *paragraphs: str) -> None:
    columns = int(11 * figure.get_figwidth())
    lines = [line for paragraph in paragraphs for line in wrap(paragraph, columns)]
    # a text may contain dollar signs, which matplotlib would read as mathematics
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)


def _save(figure: "Figure", path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        figure.savefig(part, format="png")
    return path
