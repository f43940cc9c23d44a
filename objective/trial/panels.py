"""Panels: rectangles of a picture with scales of their own, drawn once and cheaply.

A picture of matplotlib's own axes costs five times as much: each tick is an object of two lines and two texts, and a layout
measures them all before anything is drawn. Here margins are constants, the grid of a panel is one collection, its tick marks
are one line and its tick labels are plain texts. All measures are inches from the lower left corner of the figure.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

Array = NDArray[np.floating[Any]]
Side = Literal["bottom", "left", "right"]

GRID = "#dddddd"
TITLE_PT, LABEL_PT, TICK_PT = 11, 10, 9
DISTANCE = {"bottom": 0.4, "left": 0.5, "right": 0.65}  # of a scale's label from its panel
LINE, MARGIN = 0.19, 0.12  # height of a line of the headline, and the space above it


def figure(width: float, height: float, headline: Sequence[str], dpi: int) -> "Figure":
    """Return an empty figure of `height` for its panels, and above them as many lines as the paragraphs of `headline` need."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=dpi)
    canvas = FigureCanvasAgg(made)
    lines = [line for paragraph in headline for line in _wrapped(canvas, paragraph, 0.95 * width)]
    total = height + MARGIN + LINE * len(lines)
    made.set_size_inches(width, total)
    for place, line in enumerate(lines):
        write(made, width / 2, total - MARGIN - LINE * (place + 0.5), line, TITLE_PT, ha="center", va="center")
    return made


def _wrapped(canvas: "FigureCanvasAgg", paragraph: str, inches: float) -> list[str]:
    """Break a paragraph into lines of at most `inches`, going by the mean width of its letters."""
    from matplotlib.font_manager import FontProperties

    font, renderer = FontProperties(size=TITLE_PT), canvas.get_renderer()  # type: ignore[no-untyped-call]
    pixels, _, _ = renderer.get_text_width_height_descent(paragraph, font, ismath=False)
    lines = pixels / (canvas.figure.dpi * inches)
    return wrap(paragraph, len(paragraph) if lines <= 1 else max(1, int(0.95 * len(paragraph) / lines))) if paragraph else []


def write(made: "Figure", x: float, y: float, text: str, size: float, **style: Any) -> None:
    # a text may contain dollar signs, which matplotlib would read as mathematics
    made.text(x, y, text, fontsize=size, transform=made.dpi_scale_trans, parse_math=False, **style)


def save(made: "Figure", path: Path) -> Path:
    """Draw the figure once and write it as a PNG, whole or not at all."""
    from PIL import Image

    made.canvas.draw()
    pixels = np.asarray(made.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        # runs of equal bytes are all that flat colours need: half the time of the default level, and no larger
        Image.fromarray(pixels).save(part, format="png", compress_type=zlib.Z_RLE)
    return path


class Panel:
    """A rectangle of a figure. What is drawn into it is given in its own units, between the limits of `x` and `y`."""

    def __init__(
        self,
        made: "Figure",
        place: tuple[float, float, float, float],
        x: tuple[float, float],
        y: tuple[float, float],
        title: str = "",
        decades: bool = False,
        background: str = "white",
    ) -> None:
        """place: left, bottom, width, height. decades: the y axis is logarithmic, and its limits are positive."""
        from matplotlib.transforms import Bbox, TransformedBbox

        self.made, self.x, self.y, self.decades = made, x, y, decades
        self.left, self.bottom, self.width, self.height = place
        self.inside = TransformedBbox(Bbox.from_bounds(*place), made.dpi_scale_trans)
        self._rectangle(self.bottom, self.height, facecolor=background, zorder=-1)
        frame = self._rectangle(self.bottom, self.height, facecolor="none", edgecolor="black", linewidth=0.8, zorder=2.5)
        frame.set_clip_on(False)
        if title:
            write(made, self.left, self.bottom + self.height + 0.07, title, TITLE_PT, va="bottom")

    def line(self, x: Sequence[float] | Array, y: Sequence[float] | Array, **style: Any) -> "Artist":
        """Draw a line through points; a value that is not a number is a gap. Returns it for a legend."""
        from matplotlib.lines import Line2D

        return self._add(Line2D(self._across(x), self._up(y), **style))

    def level(self, y: float, **style: Any) -> "Artist":
        """Draw a horizontal line from side to side."""
        return self.line(self.x, (y, y), **style)

    def moment(self, x: float, **style: Any) -> "Artist":
        """Draw a vertical line from bottom to top."""
        return self.line((x, x), self.y, **style)

    def band(self, one: float, other: float, colour: str) -> None:
        """Shade what is between two levels."""
        bottom, top = sorted(self._up((one, other)))
        self._rectangle(bottom, top - bottom, facecolor=colour, alpha=0.15, linewidth=0)

    def image(self, values: Array, norm: "Normalize", cmap: str, right: float | None = None) -> None:
        """Fill the panel from its left side to `right` (None: its right side) with (rows from the bottom, columns)."""
        from matplotlib import colormaps
        from PIL import Image

        dpi = self.made.dpi
        colours = colormaps[cmap](norm(values[::-1]), bytes=True)
        end = self.left + self.width if right is None else float(self._across((right,))[0])
        edges = (self.left, self.bottom, end, self.bottom + self.height)
        left, bottom, right_edge, top = (int(inch * dpi + 0.5) for inch in edges)
        size = (max(1, right_edge - left), max(1, top - bottom))
        # a box is the nearest cell where there are few, and the mean of several where there are more cells than pixels
        pixels = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BOX))
        self.made.figimage(pixels, left, bottom, origin="upper")

    def scale(
        self,
        side: Side,
        ticks: Mapping[float, str] | None = None,
        label: str = "",
        *,
        grid: bool = False,
        marks: bool = True,
        size: float = TICK_PT,
    ) -> None:
        """Write tick marks and their labels along one side, and farther out what is measured (`label`).

        ticks: position -> label, None for round numbers.
        """
        horizontal = side == "bottom"
        if ticks is None:
            ticks = round_ticks(self.x, self.width) if horizontal else round_ticks(self.y, self.height, self.decades)
        along = self._across(list(ticks)) if horizontal else self._up(list(ticks))
        edge = {"bottom": self.bottom, "left": self.left, "right": self.left + self.width}[side]
        outwards = 1 if side == "right" else -1
        if grid:
            self._grid(along, horizontal)
        if marks:
            self._marks(along, side, edge)
        aligned = {"bottom": ("center", "top"), "left": ("right", "center"), "right": ("left", "center")}[side]
        for position, name in zip(along, ticks.values(), strict=True):
            across = edge + outwards * 0.07
            x, y = (position, across) if horizontal else (across, position)
            write(self.made, x, y, name, size, ha=aligned[0], va=aligned[1])
        if label:
            across, middle = edge + outwards * DISTANCE[side], self.bottom + self.height / 2
            x, y = (self.left + self.width / 2, across) if horizontal else (across, middle)
            write(self.made, x, y, label, LABEL_PT, ha="center", va="center", rotation=0 if horizontal else 90)

    def legend(self, lines: Mapping[str, "Artist"]) -> None:
        """Name lines on the title's line, where the legend can hide no curve."""
        corner = (self.left + self.width, self.bottom + self.height)
        style = {"ncols": 4, "frameon": False, "fontsize": 9, "handlelength": 1.5, "columnspacing": 1.2, "borderaxespad": 0.1}
        place: dict[str, Any] = {"bbox_to_anchor": corner, "bbox_transform": self.made.dpi_scale_trans}
        self.made.legend(list(lines.values()), list(lines), loc="lower right", **place, **style)

    def _grid(self, along: Array, horizontal: bool) -> None:
        from matplotlib.collections import LineCollection

        left, bottom, right, top = self.left, self.bottom, self.left + self.width, self.bottom + self.height
        lines = [((at, bottom), (at, top)) if horizontal else ((left, at), (right, at)) for at in along]
        self._add(LineCollection(lines, colors=GRID, linewidths=0.6, zorder=0.5))

    def _marks(self, along: Array, side: Side, edge: float) -> None:
        from matplotlib.lines import Line2D

        marker: Any = {"bottom": 3, "left": 0, "right": 1}[side]  # a short line to this side
        x, y = (along, np.full_like(along, edge)) if side == "bottom" else (np.full_like(along, edge), along)
        style = {"linestyle": "none", "marker": marker, "markersize": 3.5, "markeredgewidth": 0.8, "color": "black"}
        self.made.add_artist(Line2D(x, y, transform=self.made.dpi_scale_trans, **style))

    def _rectangle(self, bottom: float, height: float, **style: Any) -> "Artist":
        from matplotlib.patches import Rectangle

        return self._add(Rectangle((self.left, bottom), self.width, height, **style))

    def _add(self, artist: Any) -> "Artist":
        artist.set_transform(self.made.dpi_scale_trans)
        self.made.add_artist(artist)
        artist.set_clip_box(self.inside)
        return artist  # type: ignore[no-any-return]

    def _across(self, x: Sequence[float] | Array) -> Array:
        low, high = self.x
        return self.left + self.width * (np.asarray(x, dtype=float) - low) / (high - low)

    def _up(self, y: Sequence[float] | Array) -> Array:
        values, (low, high) = np.asarray(y, dtype=float), self.y
        if self.decades:
            values, (low, high) = logarithm(values), np.log10(self.y)
        return self.bottom + self.height * (values - low) / (high - low)


def logarithm(values: Array) -> Array:
    """Return decades; what has none, zero and less, lies far below every panel."""
    positive = np.where(values > 0, values, 1.0)
    return np.where(np.isnan(values) | (values > 0), np.log10(np.where(np.isnan(values), np.nan, positive)), -1_000.0)


def limits(values: Array, decades: bool) -> tuple[float, float]:
    """Return the limits of an axis for `values`, a twentieth of their span wider than they are."""
    drawn = values[np.isfinite(values) & ((values > 0) | (not decades))]
    if not drawn.size:
        return (0.1, 1.0) if decades else (0.0, 1.0)
    ends = np.array([drawn.min(), drawn.max()], dtype=float)
    ends = np.log10(ends) if decades else ends
    spare = 0.05 * (ends[1] - ends[0]) or 0.05 * abs(ends[0]) or 0.05
    ends += (-spare, spare)
    low, high = 10**ends if decades else ends
    return float(low), float(high)


def round_ticks(ends: tuple[float, float], inches: float, decades: bool = False) -> dict[float, str]:
    """Return round numbers between `ends`, a few `inches` apart, with their labels; decades where these are enough."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    (low, high), intervals = ends, round(3.5 + inches / 2)
    logarithmic = [LogLocator(numticks=8), LogLocator(subs=(1, 2, 5), numticks=8)] if decades else []
    found: list[float] = []
    for locator in (*logarithmic, MaxNLocator(intervals, steps=[1, 2, 2.5, 5, 10])):
        found = [float(value) for value in locator.tick_values(low, high) if low <= value <= high]
        if len(found) > 1:
            break
    return {value: f"{value:.6g}" for value in found}
