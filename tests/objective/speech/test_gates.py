"""The gates before a version of a voice: which figures close one, and what was not measured."""

import pytest

from objective.speech.registry.gates import rows

HEALTHY = {
    "figures.val_loss": "0.5",
    "figures.streak": "0",
    "figures.grad_norm_p95": "2.5",
    "figures.diagonality": "0.9",
    "figures.free_errors": "0.06",
    "figures.free_floor": "0.01",
    "figures.free_failures": "0.03",
}
MEASURED = {  # by `tacotune quality`
    "quality.cer": "0.05",
    "quality.recordings.cer": "0.01",
    "quality.failures": "0.03",
    "quality.free_running.failures": "0.05",
}
# A tag, the last value that passes, one that fails, and its gate.
LIMITS = [
    ("figures.val_loss", "900", "nan", "loss"),
    ("figures.val_loss", "900", "inf", "loss"),
    ("figures.streak", "4", "5", "divergence"),
    ("figures.grad_norm_p95", "10", "10.1", "gradient norm"),
    ("figures.diagonality", "0.7", "0.69", "diagonality"),
    ("figures.free_errors", "0.1", "0.12", "understood"),
    ("figures.free_failures", "0.1", "0.11", "stops"),
    ("quality.cer", "0.1", "0.12", "understood"),
    ("quality.failures", "0.1", "0.11", "stops"),
    ("quality.free_running.failures", "0.1", "0.11", "stops"),
    ("quality.free_running.failures", "0.1", "nan", "stops"),
    ("quality.free_running.failures", "0.1", "few", "stops"),
]


def closed(tags: dict[str, str]) -> list[str]:
    return [row.gate for row in rows(tags) if row.closed]


@pytest.mark.parametrize(("tag", "passes", "fails", "gate"), LIMITS)
def test_each_figure_closes_its_own_gate(tag: str, passes: str, fails: str, gate: str) -> None:
    assert closed({**HEALTHY, **MEASURED, tag: passes}) == []
    assert closed({**HEALTHY, **MEASURED, tag: fails}) == [gate]


def test_what_was_not_measured_is_said_and_two_gates_must_be_measured() -> None:
    found = rows({})
    assert {row.outcome for row in found} == {"not measured"}
    assert [row.gate for row in found if row.closed] == ["understood", "stops"]


@pytest.mark.parametrize("tags", [HEALTHY, MEASURED])
def test_either_measurement_is_enough(tags: dict[str, str]) -> None:
    assert closed(tags) == []


def test_errors_without_those_of_the_recordings_are_no_measurement() -> None:
    tags = {name: value for name, value in HEALTHY.items() if name != "figures.free_floor"}
    assert closed(tags) == ["understood"]
