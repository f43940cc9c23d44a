"""Limits on the weights that are kept: by rank, by number, by quota."""

from pathlib import Path

import pytest

from storage.retention import Keep, format_bytes, removable
from tests.storage.trials import RELEASED, RETRY, SNAPSHOTS, put, removed, trial

RANKED = [
    trial(0, "PRUNED", 0.1),
    trial(1, "COMPLETE", 0.9, sick=-0.1),
    trial(2, "COMPLETE", 0.5, sick=0.1),
    trial(3, "COMPLETE", 0.8),
    trial(4, "COMPLETE", 0.3, sick=0.4),
    trial(5, "RUNNING"),
    trial(6, "FAIL", **RELEASED),
]
BEST_FIRST = [3, 1, 2, 4, 0]


def test_the_best_trials_keep_their_weights(tmp_path: Path) -> None:
    """Healthy trials come first, then those that miss little, then pruned ones; running and released trials do not count."""
    for number in range(len(RANKED)):
        put(tmp_path, number, "best.pt")
    for k in range(1, 6):
        plan = removable(RANKED, tmp_path, Keep(top_k=k, pruned=True, linger_s=0))
        assert removed(plan) == {f"{number}/best.pt" for number in BEST_FIRST[k:]}
    assert removed(removable(RANKED, tmp_path, Keep(top_k=4, linger_s=0))) == {"0/best.pt"}, (
        "weights of pruned trials take no place"
    )


def test_a_setting_keeps_the_weights_of_pruned_trials(tmp_path: Path) -> None:
    """The weights of a retried trial are not the last of its configuration."""
    trials = [
        trial(0, "FAIL", **RELEASED),
        trial(1, "PRUNED", **RETRY),
        trial(2, "FAIL"),
        trial(3, "FAIL", **RELEASED, given_up="five"),
    ]
    for number in range(4):
        put(tmp_path, number, *SNAPSHOTS)
    plan = removable(trials, tmp_path, Keep(pruned=True, linger_s=0))
    assert {f"{file.number}/{file.path.name}" for file in plan.kept} == {"1/best.pt", "2/best.pt", "3/best.pt"}


def test_a_quota_removes_the_worst_until_the_rest_fits(tmp_path: Path) -> None:
    """Ten bytes each, of which 60 are kept in any case: three files of the running trial, three of the released one."""
    for number in range(7):
        names = SNAPSHOTS if number in (5, 6) else ("best.pt",)
        put(tmp_path, number, *names)
    for quota, fitting in ((1_000, 5), (110, 5), (109, 4), (75, 1), (70, 1), (69, 1), (1, 1)):
        plan = removable(RANKED, tmp_path, Keep(quota_bytes=quota, pruned=True, linger_s=0))
        assert removed(plan) == {f"{number}/best.pt" for number in BEST_FIRST[fitting:]}
        assert (plan.note is None) == (sum(file.bytes for file in plan.kept) <= quota) == (quota >= 70)
    assert plan.note is not None
    assert "must be kept take 70 B, over the quota of 1 B" in plan.note


def test_the_quota_counts_only_what_is_kept_anyway(tmp_path: Path) -> None:
    """Useless snapshots are removed before any weights."""
    put(tmp_path, 0, *SNAPSHOTS)
    put(tmp_path, 1, *SNAPSHOTS)
    plan = removable([trial(0, "COMPLETE"), trial(1, "COMPLETE")], tmp_path, Keep(quota_bytes=20))
    assert {file.path.name for file in plan.kept} == {"best.pt"}
    assert len(plan.kept) == 2


@pytest.mark.parametrize(
    ("top_k", "quota", "message"),
    [
        (0, None, "top_k >= 1, got 0"),
        (None, 0.0, "above 0, got 0"),
        (None, float("nan"), "above 0, got nan"),
        (None, float("inf"), "above 0, got inf"),
    ],
)
def test_impossible_limits_are_refused(top_k: int | None, quota: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Keep.of(top_k, quota, False)


def test_bytes_are_formatted_with_a_unit() -> None:
    assert [format_bytes(count) for count in (0, 999, 1_000, 999_499, 999_600, 1_230_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "999 kB",
        "1 MB",
        "1.23 GB",
    ]
