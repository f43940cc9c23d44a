"""The Pareto front of the baselines: which pruners are on it, which are beyond it, and a plot of any replay."""

import json
from pathlib import Path

from objective.replay import main
from pruners.replay.pareto_plot import beyond, draw, on_front, verdicts
from tests.pruners.samples import BLURRED, MUTE, trial, written


def test_a_point_is_beyond_a_front_where_no_point_of_it_is_as_good_in_both() -> None:
    front = [(0.2, 0.5), (0.5, 0.1)]
    assert all(beyond(front, point) for point in ((0.1, 0.9), (0.4, 0.4), (0.6, 0.05)))
    assert not any(beyond(front, point) for point in ((0.2, 0.5), (0.3, 0.5), (0.9, 0.1), (0.5, 0.1)))


def test_our_pruners_are_compared_with_the_baselines_alone() -> None:
    def figures(saved: float, regret: float, quarter: float | None) -> dict[str, float | None]:
        return {"frames_saved": saved, "regret": regret, "top_quarter_killed": quarter}

    pruners = {"default": figures(0.6, 0.0, 0.1), "with-peers": figures(0.9, 0.0, 0.0), "median": figures(0.6, 0.0, 0.2)}
    assert verdicts({"pruners": pruners}, "default") == {"regret": False, "top_quarter_killed": True}
    pruners["median"] = figures(0.5, 0.0, None)
    pruners["default"] = figures(0.6, 0.0, None)
    assert verdicts({"pruners": pruners}, "default") == {"regret": True}, "a cost that was not measured has no verdict"


def test_the_front_is_what_no_point_dominates() -> None:
    points = {"a": (0.5, 0.1), "b": (0.2, 0.5), "c": (0.5, 0.5), "d": (0.2, 0.6), "e": (0.2, 0.5)}
    assert sorted(on_front(points)) == ["a", "b", "e"]
    front = [points[name] for name in on_front(points)]
    assert front == sorted(front)
    assert not any(beyond(front, point) for point in points.values())


def test_one_pruner_and_an_archive_without_a_healthy_trial_can_be_plotted(tmp_path: Path) -> None:
    for lines in ([trial(0.5), trial(0.6)], [trial(0.1, BLURRED, MUTE)] * 2):
        path, out = written(tmp_path, *lines), tmp_path / "j.json"
        assert main(["--archive", str(path), "--pruner", "default", "--orders", "2", "--workers", "1", "--json", str(out)]) == 0
        png = draw(tmp_path / "deep" / "front.png", json.loads(out.read_text()))
        assert png.read_bytes().startswith(b"\x89PNG")
