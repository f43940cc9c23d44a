"""The pictures are complete PNG files that show what they were given."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from model.data.corpus import Corpus
from model.text.languages import find_language
from objective.search.open_study import identity_of
from objective.settings.schema import Budget, Pictures, Settings
from objective.trial import plots
from objective.trial.panels import limits, round_ticks
from search_spaces.space import load
from tests.objective import samples

LEVELS = {"grad_norm": (10.0, 100.0), "diagonality": (0.7, 0.4), "reading": (0.3, 0.1), "gate_accuracy": (0.8, 0.6)}
SEED = np.random.default_rng(0)


def soft_diagonal(steps: int, symbols: int) -> np.ndarray:
    """(T, N), rows sum to 1: what attention looks like when it works."""
    centre = np.linspace(0, symbols - 1, steps)[:, None]
    weights = np.exp(-((np.arange(symbols) - centre) ** 2))
    return weights / weights.sum(1, keepdims=True)


def mel(frames: int) -> np.ndarray:
    return SEED.normal(-5.0, 2.0, (frames, 80))


def pixels_of(path: Path) -> np.ndarray:
    """The pixels (rows, columns, RGBA) of a picture that stands alone in its folder and is neither tiny nor enormous."""
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file is left"
    assert path.stat().st_size < 1_500_000
    image = imread(path)
    assert 300 < image.shape[0] < 1_600
    assert 800 < image.shape[1] < 1_600
    return image


@pytest.mark.parametrize("symbols", [12, 80, 150])
def test_attention_runs_from_the_lower_left_to_the_upper_right(tmp_path: Path, symbols: int) -> None:
    text = ("Съешь $5 и [ё] _^2 " * 10)[:symbols]
    measured = {"diagonality": 0.97, "reading": None}
    path = tmp_path / "new" / "alignment.png"
    plots.alignment(path, soft_diagonal(90, symbols), text, measured, "trial 3: $5_$ is no formula")
    image = pixels_of(path)[:, :, :3].sum(2)
    height, width = image.shape
    quarters = {
        "lower left": image[height * 6 // 10 : height * 8 // 10, width * 2 // 10 : width * 4 // 10],
        "lower right": image[height * 6 // 10 : height * 8 // 10, width * 6 // 10 : width * 7 // 10],
    }
    assert quarters["lower left"].mean() > 3 * quarters["lower right"].mean()


def test_the_diagonal_band_is_drawn_into_a_flat_attention(tmp_path: Path) -> None:
    image = pixels_of(plots.alignment(tmp_path / "alignment.png", np.full((50, 1_000), 1e-3), None, {}, "flat"))
    bright = image[:, image.shape[1] // 3 : image.shape[1] // 2, :3].mean(2)
    plot = bright[bright.mean(1) < 0.5]  # the rows of the heat map, which is dark
    lines = [np.nonzero(column > 0.5)[0] for column in plot.T]
    apart = max(np.ptp(line) for line in lines if line.size)
    assert apart / len(plot) == pytest.approx(0.2, abs=0.02), "the band is 0.1 on both sides of the diagonal"


def test_symbols_that_do_not_belong_to_the_attention_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 3 for 4: pass the unpadded ones"):
        plots.alignment(tmp_path / "alignment.png", soft_diagonal(9, 4), "abc", {}, "")
    assert not list(tmp_path.iterdir())


def test_a_long_sentence_stays_inside_the_picture(tmp_path: Path) -> None:
    sentence = "in being comparatively modern and in being printed with movable types " * 4
    measured = dict.fromkeys(type(samples.HEALTH).__slots__, 0.5)
    image = pixels_of(plots.alignment(tmp_path / "alignment.png", soft_diagonal(60, 40), None, measured, sentence))
    assert (image[:, :5, :3] == 1).all()
    assert (image[:, -5:, :3] == 1).all()


def test_mels_with_and_without_a_recording(tmp_path: Path) -> None:
    both = pixels_of(plots.mels(tmp_path / "mel.png", mel(120), mel(100), "trial 3", hop_seconds=0.0116))
    alone = pixels_of(plots.mels(tmp_path / "mel.png", mel(120), None, "trial 3"))
    assert both.shape[0] > alone.shape[0], "each part has its own room"


@pytest.mark.parametrize("recorded_end", [None, 0.5, 5.0])
def test_a_gate_rises_where_speech_ends(tmp_path: Path, recorded_end: float | None) -> None:
    rising = np.concatenate([np.zeros(80), np.ones(20)])
    image = pixels_of(plots.gate(tmp_path / "gate.png", rising, recorded_end, "trial 3", step_seconds=0.01))
    if recorded_end is None:
        blue = (image[:, :, 2] > 0.6) & (image[:, :, 0] < 0.3)
        width = image.shape[1]
        left, right = blue[:, width // 5 : width // 2].any(1), blue[:, width * 4 // 5 : width * 9 // 10].any(1)
        assert right.nonzero()[0].min() < left.nonzero()[0].min() - 100


def test_both_mels_stand_on_one_colour_scale(tmp_path: Path) -> None:
    loud, quiet = np.full((100, 80), 1.0), np.full((100, 80), -9.0)
    image = pixels_of(plots.mels(tmp_path / "mel.png", loud, quiet, ""))
    rows = image.shape[0]
    above, below = image[rows // 3, 300, :3], image[rows * 2 // 3, 300, :3]
    assert above.sum() > 1.5
    assert below.sum() < 0.8


def test_a_mel_that_has_diverged_is_still_a_picture(tmp_path: Path) -> None:
    image = pixels_of(plots.mels(tmp_path / "mel.png", np.full((50, 80), np.nan), None, "diverged"))
    assert image.std() > 0, "axes and a title, at least"


def test_the_levels_are_drawn_into_the_curves(tmp_path: Path) -> None:
    reports = [samples.report(kframes) for kframes in (10.0, 20.0, 30.0)]
    bare = pixels_of(plots.curves(tmp_path / "curves.png", reports, {}, "trial 3"))
    for name in LEVELS:
        image = pixels_of(plots.curves(tmp_path / "curves.png", reports, {name: LEVELS[name]}, "trial 3"))
        assert (image != bare).any(), name


@pytest.mark.parametrize("count", [1, 4])
def test_curves_of_a_trial_with_gaps_and_a_divergence(tmp_path: Path, count: int) -> None:
    reports = [
        samples.report(0.0, health=samples.NOTHING, gradients=replace(samples.GRADIENTS, median=None, p95=None)),
        samples.report(10.0),
        samples.report(20.0, train=replace(samples.LOSSES, mel_before=float("inf"))),
        samples.report(30.0, validation=replace(samples.LOSSES, mel_after=1e20), gradients=replace(samples.GRADIENTS, p95=0.0)),
    ]
    image = pixels_of(plots.curves(tmp_path / "curves.png", reports[:count], LEVELS, "trial 3"))
    healthy = pixels_of(plots.curves(tmp_path / "curves.png", [samples.report(10.0)], LEVELS, "trial 3"))
    assert (image != healthy).any(), "what was measured is drawn"


def test_no_report_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need at least one report"):
        plots.curves(tmp_path / "curves.png", [], LEVELS, "trial 3")


def test_a_picture_that_cannot_take_its_name_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "mel.png").mkdir()
    with pytest.raises(IsADirectoryError):
        plots.mels(tmp_path / "mel.png", mel(20), None, "")
    assert [file.name for file in tmp_path.iterdir()] == ["mel.png"]


def test_drawing_changes_nothing_global(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from objective.trial import plots;"
        "assert 'matplotlib' not in sys.modules;"
        f"plots.mels(Path({str(tmp_path)!r}) / 'mel.png', np.zeros((9, 80)), None, '');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dpi", [50, 200])
def test_the_resolution_changes_the_pixels_and_not_the_picture(tmp_path: Path, dpi: int) -> None:
    shapes = []
    for resolution in (100, dpi):
        path = plots.curves(tmp_path / f"{resolution}.png", [samples.report()], LEVELS, "trial 3", resolution)
        shapes.append(np.array(imread(path).shape[:2]))
    assert shapes[1] == pytest.approx(shapes[0] * dpi / 100, abs=1)


def test_the_resolution_is_no_part_of_a_study_s_identity() -> None:
    settings, space = Settings(budget=Budget(kframes=400)), load("demo", Settings().config())
    corpus = Corpus(find_language("en"), (), (), (), (), 0.0, 1.0)
    finer = settings.model_copy(update={"pictures": Pictures(dpi=200)})
    assert identity_of(settings, space, corpus, None) == identity_of(finer, space, corpus, None)


@pytest.mark.parametrize("title", ["Ш" * 500, "ЩЁ ЮЖ " * 80, "ill " * 200, "$5_$ " * 100])
def test_a_headline_of_any_script_stays_inside(tmp_path: Path, title: str) -> None:
    image = imread(plots.gate(tmp_path / "gate.png", np.zeros(9), None, title, step_seconds=0.01))
    for edge in (image[:, :3], image[:, -3:], image[:3], image[-3:]):
        assert (edge[:, :, :3] == 1).all()


@pytest.mark.parametrize(
    ("ends", "decades", "names"),
    [
        ((0.0, 1.0), False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ((-0.05, 412.0), False, ["0", "100", "200", "300", "400"]),
        ((0.3, 200.0), True, ["1", "10", "100"]),
        ((0.9, 3.7), True, ["1", "2"]),
        ((0.85, 0.95), True, ["0.86", "0.88", "0.9", "0.92", "0.94"]),
        ((0.5, 1e9), True, ["1", "100", "10000", "1e+06", "1e+08"]),
    ],
)
def test_ticks_are_round_numbers_within_the_limits(ends: tuple[float, float], decades: bool, names: list[str]) -> None:
    assert list(round_ticks(ends, 3.0, decades).values()) == names


@pytest.mark.parametrize("decades", [False, True])
@pytest.mark.parametrize("values", [[1.0], [0.0], [0.0, 2.0], [], [float("nan")], [1e-9, 1e20], [3.0, float("inf")]])
def test_limits_hold_what_can_be_drawn(values: list[float], decades: bool) -> None:
    low, high = limits(np.array(values), decades)
    assert low < high
    assert all(low < value < high for value in values if np.isfinite(value) and (value > 0 or not decades))
    assert low > 0 or not decades
