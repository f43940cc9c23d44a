"""Plot a replay: the costs of each pruner against the frames it spends, with the Pareto front of the baselines.

matplotlib is imported only when the plot is drawn, and used without pyplot, which would keep global state.
"""

from collections.abc import Mapping, Sequence
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.files import atomic_write
from pruners.replay.baselines import OURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Point = tuple[float, float]  # frames spent, cost; of both less is better

FAMILIES = {  # family -> prefixes of its pruners' names, colour
    "tacotune": (OURS, "#c1272d"),
    "successive halving": (("asha", "hyperband"), "#1f6fb4"),
    "percentiles": (("median", "percentile"), "#2f8f5b"),
    "i-Epoch": (("i-epoch",), "#8e5bb5"),
    "patience": (("patient",), "#c98a12"),
    "plain": (("none", "threshold", "random"), "#666666"),
}
PANELS = {
    "regret": ("regret of the best survivor", "units of the score"),
    "top_quarter_killed": ("healthy top quarter killed", "per cent"),
}
DPI = 120
FRONT, BEYOND = "#9a9a9a", "#f4f1e8"
DISTANCES = (7, 12, 18, 26, 36, 48, 62, 78, 96)  # typographic points between a marker and its name, in the order of trial


def on_front(points: Mapping[str, Point]) -> list[str]:
    """Return the names of the points that no other dominates, the cheapest first."""
    best = [name for name, point in points.items() if not any(_dominates(other, point) for other in points.values())]
    return sorted(best, key=lambda name: points[name])


def beyond(front: Sequence[Point], point: Point) -> bool:
    """Return whether a point is beyond a front: no point of it spends as little or less at the same cost or less."""
    return not any(spent <= point[0] and cost <= point[1] for spent, cost in front)


def verdicts(replayed: Mapping[str, Any], name: str) -> dict[str, bool]:
    """Return cost -> whether a pruner is beyond the front of the baselines (without ours), for the costs that were measured."""
    result = {}
    for cost in PANELS:
        measured = points(replayed, cost)
        if name in measured:
            result[cost] = beyond([point for other, point in measured.items() if other not in OURS], measured[name])
    return result


def _dominates(one: Point, other: Point) -> bool:
    """Return whether `one` is no worse in both dimensions and better in one."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def points(replayed: Mapping[str, Any], cost: str) -> dict[str, Point]:
    """Return name -> (share of the frames spent, figure `cost`) of the pruners for which it was measured."""
    pruners = replayed["pruners"].items()
    return {name: (1 - figures["frames_saved"], figures[cost]) for name, figures in pruners if figures[cost] is not None}


def draw(path: Path, replayed: Mapping[str, Any]) -> Path:
    """Draw both panels of a replay's document, as `replay --json` writes it, into a PNG; return its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(14, 7.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for axes, cost in zip(panels, PANELS, strict=True):
        _panel(axes, replayed, cost)
    counts = f"{replayed['trials']} recorded trials, {replayed['healthy']} of them healthy and {replayed['sick']} sick"
    about = f"{counts}; means and 95 % intervals over {replayed['orders']} orders; {replayed['half']} of {replayed['archive']}"
    figure.suptitle(f"What pruners spend, and what it costs\n{about}", fontsize=11, parse_math=False)
    marks = [Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, (_, colour) in FAMILIES.items()]
    marks.append(Line2D([], [], color=FRONT, linewidth=1.6, label="front of the baselines"))
    marks.append(Line2D([], [], color=BEYOND, marker="s", markersize=11, linestyle="", label="beyond it"))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=9)
    figure.draw_without_rendering()  # fixes the layout, in which the names are then placed
    figure.set_layout_engine("none")
    for axes, cost in zip(panels, PANELS, strict=True):
        _label(axes, _scaled(points(replayed, cost), cost))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        figure.savefig(part, format="png")
    return path


def _panel(axes: "Axes", replayed: Mapping[str, Any], cost: str) -> None:
    measured = _scaled(points(replayed, cost), cost)
    baselines = {name: point for name, point in measured.items() if name not in OURS}
    top = max((y for _, y in measured.values()), default=1.0)
    for name, (x, y) in measured.items():
        figures = replayed["pruners"][name]
        spent = [100 * (1 - end) for end in reversed(figures["frames_saved_interval"])]
        costs = [_unit(cost) * end for end in figures[f"{cost}_interval"] or (figures[cost], figures[cost])]
        top = max(top, costs[1])
        ours = name == "default"
        style: dict[str, Any] = {"linewidth": 1.6, "alpha": 0.9} if ours else {"linewidth": 0.8, "alpha": 0.3}
        axes.plot(spent, [y, y], color=_colour(name), zorder=2, **style)
        axes.plot([x, x], costs, color=_colour(name), zorder=2, **style)
        marker: dict[str, Any] = {"marker": "*", "s": 260} if ours else {"marker": "o", "s": 34}
        axes.scatter([x], [y], color=_colour(name), edgecolors="white", linewidths=0.8, zorder=4 if ours else 3, **marker)
    margin = 0.05 * top or 0.05
    axes.set(xlim=(0, 104), ylim=(-margin, top + margin))
    if baselines:
        steps = [baselines[name] for name in on_front(baselines)]
        spends = [0.0, *(spent for spent, _ in steps), 104.0]
        bars = [2 * top + margin, *(bar for _, bar in steps), steps[-1][1]]
        axes.step(spends, bars, where="post", color=FRONT, linewidth=1.6, zorder=1)
        axes.fill_between(spends, -2 * margin, bars, step="post", color=BEYOND, linewidth=0, zorder=0)
    title, unit = PANELS[cost]
    axes.set(xlabel="frames spent, per cent of all whole curves", ylabel=f"{title}, {unit}")
    axes.grid(color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes: "Axes", points: Mapping[str, Point]) -> None:
    """Write each point's name where it hides neither a point nor another name; `default` is placed first."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    halo = [withStroke(linewidth=2.5, foreground="white")]
    dots = [Bbox.from_extents(x - 6, y - 6, x + 6, y + 6) for x, y in map(axes.transData.transform, points.values())]
    taken: list[Bbox] = []
    for name, point in sorted(points.items(), key=lambda item: (item[0] != "default", item[1])):
        size: dict[str, Any] = {"fontsize": 11, "fontweight": "bold"} if name == "default" else {"fontsize": 8}
        centred: dict[str, Any] = {"ha": "center", "va": "center", "path_effects": halo, "zorder": 5}
        text = axes.annotate(name, point, (0, 0), textcoords="offset points", color=_colour(name), **size, **centred)
        box = text.get_window_extent()
        dx, dy, placed = min(_places(box), key=lambda place: _hidden(place, axes.bbox, dots, taken))
        text.set_position((dx, dy))
        taken.append(placed)
        if hypot(max(0.0, abs(dx) - box.width * 36 / DPI), dy) > DISTANCES[1] + 4:
            line = {"arrowstyle": "-", "color": _colour(name), "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", point, (dx, dy), textcoords="offset points", arrowprops=line, zorder=2)


def _places(box: "Bbox") -> list[tuple[float, float, "Bbox"]]:
    """Return (right, up, box) of places for a name, the nearest first; offsets in typographic points, the box in pixels."""
    pixels = DPI / 72
    places = []
    for radius in DISTANCES:
        for turn in range(16):
            angle = pi * (turn + 1) / 8  # above right first, and level last, where the lines run
            dx = cos(angle) * (radius + box.width / pixels / 2)
            dy = sin(angle) * (radius + box.height / pixels / 4)
            places.append((dx, dy, box.translated(dx * pixels, dy * pixels)))
    return places


def _hidden(place: tuple[float, float, "Bbox"], page: "Bbox", dots: Sequence["Bbox"], taken: Sequence["Bbox"]) -> int:
    """Return a penalty for what a name at this place would hide, and for sticking out of the panel."""
    box = place[2].padded(1)
    out = box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
    return int(box.count_overlaps(taken) * 2 + box.count_overlaps(dots) + 4 * out)


def _scaled(points: Mapping[str, Point], cost: str) -> dict[str, Point]:
    return {name: (100 * spent, _unit(cost) * amount) for name, (spent, amount) in points.items()}


def _unit(cost: str) -> int:
    return 1 if cost == "regret" else 100


def _colour(name: str) -> str:
    return next((colour for prefixes, colour in FAMILIES.values() if name.startswith(prefixes)), "#666666")
