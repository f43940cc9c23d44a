"""PNG pictures of a trial: its alignment, its mels, its stop token (gate), its learning curves.

matplotlib is imported when a picture is drawn, and used without pyplot, so that nothing global is left behind. A picture
appears under its name whole or not at all. Sizes are inches; `dpi` is how many pixels one has.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.health import BAND
from model.report import Report
from objective.trial.panels import Array, Panel, figure, limits, round_ticks, save

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

DPI = 100  # the default of the setting pictures.dpi
LABELLED_SYMBOLS = 80  # more would not be legible
TRAIN, VALIDATION, NEUTRAL = "#1f77b4", "#d95f02", "#555555"
WARN, CRITICAL = "#f2b134", "#d1495b"
LEFT, BOTTOM, RIGHT = 0.75, 0.6, 0.15  # margins of the panels; where the colours are explained, COLOURS to the right
COLOURS, BAR = 1.15, 0.2  # room for the bar of colours with its labels, and the bar's width
# What is drawn from 0 to 1 over the training.
SHARES = {
    "diagonality": "diagonality",
    "reading": "reading",
    "gate_accuracy": "stop token (gate) accuracy",
}


def alignment(
    path: Path,
    attention: Array,
    symbols: Sequence[str] | None,
    measured: Mapping[str, float | None],
    title: str,
    dpi: int = DPI,
) -> Path:
    """Draw the attention of one utterance without its padding.

    attention: (T decoder steps, N symbols), rows sum to 1. The colour is its square root, on a scale from 0 to 1 that is the
    same for every picture: two trials can be compared by eye, and a blurred diagonal is still seen.
    symbols: the labels of the y axis, N of them; shown up to 80. measured: name -> value, under the title.
    """
    from matplotlib.colors import PowerNorm

    T, N = attention.shape
    if symbols is not None and len(symbols) != N:
        raise ValueError(f"need one symbol per column of the attention, got {len(symbols)} for {N}: pass the unpadded ones")
    labelled = symbols is not None and N <= LABELLED_SYMBOLS
    width, height = 9.0, max(3.4, 0.125 * N) if labelled else 4.8
    values = (f"{name.replace('_', ' ')} {'-' if value is None else f'{value:.2f}'}" for name, value in measured.items())
    made = figure(width, BOTTOM + height + 0.1, [title, ", ".join(values)], dpi)
    # cell n covers n to n + 1, so that its centre is the centred position of the definition
    panel = Panel(made, (LEFT, BOTTOM, width - LEFT - COLOURS, height), x=(0, T), y=(0, N))
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    panel.image(attention.T, norm, "magma")
    for side in (-BAND, BAND):
        panel.line((0, T), (side * N, N + side * N), color="white", linewidth=1, linestyle=(0, (6, 4)), alpha=0.8)
    panel.scale("bottom", label="decoder step")
    if symbols is not None and labelled:
        names = {place + 0.5: "␣" if symbol == " " else symbol for place, symbol in enumerate(symbols)}
        panel.scale("left", names, "symbol", marks=False, size=7 if N > 40 else 9)
    else:
        panel.scale("left", label="symbol")
    _colours(made, height, "magma", norm, {value: f"{value:.2f}" for value in (0, 0.05, 0.2, 0.5, 1)}, "attention")
    return save(made, path)


def mels(
    path: Path,
    predicted: Array,
    recorded: Array | None,
    title: str,
    hop_seconds: float = 256 / 22_050,
    dpi: int = DPI,
) -> Path:
    """Draw the predicted over the recorded log-mel on one colour scale and one time axis.

    predicted: (T1 frames, bands). recorded: (T2, bands), or None where no recording exists (free synthesis).
    """
    from matplotlib.colors import Normalize

    named = [("predicted", predicted)] + ([] if recorded is None else [("recorded", recorded)])
    width, height, gap = 10.0, 2.2, 0.35
    made = figure(width, BOTTOM + (height + gap) * len(named), [title], dpi)
    finite = np.concatenate([mel[np.isfinite(mel)] for _, mel in named])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    norm = Normalize(low, high)
    end = max(len(mel) for _, mel in named) * hop_seconds
    for row, (name, mel) in enumerate(reversed(named)):
        place = (LEFT, BOTTOM + (height + gap) * row, width - LEFT - COLOURS, height)
        panel = Panel(made, place, x=(0, end), y=(0, mel.shape[1]), title=name, background="#eeeeee")
        panel.image(mel.T, norm, "viridis", right=len(mel) * hop_seconds)
        panel.scale("left", label="mel band")
        if row == 0:
            panel.scale("bottom", label="time, s")
        if recorded is not None and name == "predicted":
            panel.moment(len(recorded) * hop_seconds, color=CRITICAL, linewidth=1.5, linestyle="--")
    tall = (height + gap) * len(named) - gap
    _colours(made, tall, "viridis", norm, round_ticks((low, high), tall), "log magnitude")
    return save(made, path)


def gate(path: Path, probability: Array, recorded_end: float | None, title: str, step_seconds: float, dpi: int = DPI) -> Path:
    """Draw the stop token (gate) step by step: the probability that speech has ended. Synthesis stops above 0.5.

    probability: (T decoder steps,), each of `step_seconds`. recorded_end: seconds, or None where there is no recording.
    """
    width, height = 10.0, 2.0
    made = figure(width, BOTTOM + height + 0.3, [title], dpi)
    seconds = len(probability) * step_seconds
    end = 1.05 * max(seconds, recorded_end or 0)
    panel = Panel(made, (LEFT, BOTTOM, width - LEFT - RIGHT, height), x=(0, end), y=(-0.05, 1.05))
    steps = np.append(probability, probability[-1:])
    style = {"color": TRAIN, "linewidth": 1.5}
    lines = {
        "stop token (gate)": panel.line(np.linspace(0, seconds, len(steps)), steps, drawstyle="steps-post", **style),
        "end of the synthesis": panel.moment(seconds, linestyle="--", **style),
    }
    panel.level(0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
    if recorded_end is not None:
        lines["end of the recording"] = panel.moment(recorded_end, color=CRITICAL, linewidth=1.5, linestyle="--")
    panel.scale("left", {0.0: "0", 0.5: "0.5", 1.0: "1"}, "stop probability", grid=True)
    panel.scale("bottom", label="time, s", grid=True)
    panel.legend(lines)
    return save(made, path)


def curves(
    path: Path, reports: Sequence[Report], levels: Mapping[str, tuple[float, float]], title: str, dpi: int = DPI
) -> Path:
    """Draw learning curves over the frames seen: loss, gradient norm, diagonality, reading, stop token accuracy.

    levels: signal -> (warn, critical) for `grad_norm` (bad above), `diagonality`, `reading` and `gate_accuracy` (bad
    below); a signal without levels is drawn without zones. A missing measurement is a gap in its curve.
    """
    if not reports:
        raise ValueError("need at least one report to draw curves, got none: draw them once the trial has reported")
    width, height, gap = 12.0, 2.55, 0.75
    made = figure(width, BOTTOM + 2 * height + gap + 0.35, [title], dpi)
    upper, room = BOTTOM + height + gap, width - LEFT - RIGHT
    half, third = (room - LEFT) / 2, (room - 2 * LEFT) / 3
    chart = partial(_chart, made, [report.kframes for report in reports])
    losses = {"train": [report.train.score for report in reports], "validation": [report.val_loss for report in reports]}
    chart((LEFT, upper, half, height), "loss", losses, decades=20.0)
    gradients = [report.gradients for report in reports]
    norms = {"median": [norm.median for norm in gradients], "95th percentile": [norm.p95 for norm in gradients]}
    chart((LEFT + half + LEFT, upper, half, height), "gradient norm", norms, decades=0.0, zones=levels.get("grad_norm"))
    for column, (name, shown) in enumerate(SHARES.items()):
        values = {"": [getattr(report.health, name) for report in reports]}
        chart((LEFT + (third + LEFT) * column, BOTTOM, third, height), shown, values, zones=levels.get(name))
    return save(made, path)


def _chart(
    made: "Figure",
    kframes: Sequence[float],
    place: tuple[float, float, float, float],
    title: str,
    series: Mapping[str, Sequence[float | None]],
    decades: float | None = None,
    zones: tuple[float, float] | None = None,
) -> None:
    """Draw `series` over the frames seen, each with its name in the legend.

    decades: the y axis is logarithmic where positive values span more than this, as one divergence must not flatten the rest;
    zones are bad above their levels. None: values are shares from 0 to 1, and zones are bad below.
    """
    values = {name: np.array(measured, dtype=float) for name, measured in series.items()}  # None becomes nan, a gap
    everything = np.concatenate(list(values.values()))
    positive = everything[np.isfinite(everything) & (everything > 0)]
    logarithmic = decades is not None and bool(positive.size) and bool(positive.max() > decades * positive.min())
    low, high = (-0.03, 1.03) if decades is None else limits(everything, logarithmic)
    if zones is not None and decades is not None:
        high = max(high, 2 * zones[1])
    panel = Panel(made, place, x=(0, 1.03 * max(*kframes, 1.0)), y=(low, high), title=title, decades=logarithmic)
    lines = {}
    for colour, (name, measured) in zip((TRAIN, VALIDATION), values.items(), strict=False):
        lines[name] = panel.line(kframes, measured, color=colour, linewidth=1.6, marker="o", markersize=3)
    if zones is not None:
        warn, critical = zones
        panel.band(warn, critical, WARN)
        panel.band(critical, low if decades is None else high, CRITICAL)
        lines["warn"] = panel.level(warn, color=WARN, linewidth=1.2, linestyle="--")
        lines["critical"] = panel.level(critical, color=CRITICAL, linewidth=1.2, linestyle="--")
    panel.scale("left", grid=True)
    panel.scale("bottom", label="thousand frames" if place[1] == BOTTOM else "", grid=True)
    if decades is not None:
        panel.legend(lines)


def _colours(made: "Figure", height: float, cmap: str, norm: "Normalize", ticks: Mapping[float, str], label: str) -> None:
    """Explain the colours of an image in a bar at the right side."""
    from matplotlib.colors import Normalize

    bar = Panel(made, (made.get_figwidth() - COLOURS + 0.15, BOTTOM, BAR, height), x=(0, 1), y=(0, 1))
    bar.image(np.linspace(0, 1, 256)[:, None], Normalize(0, 1), cmap)
    bar.scale("right", {float(norm(value)): name for value, name in ticks.items()}, label)
