"""Shared by the tests of training: reports without their times, and the complete state of an update."""

from dataclasses import replace

from torch import Tensor

from model.report import Report
from model.train_step import Update


def timeless(reports: list[Report]) -> list[Report]:
    """Return the reports without the seconds that they took."""
    return [replace(report, seconds=0.0) for report in reports]


def state_of(update: Update) -> dict[str, Tensor]:
    """Copy parameters, running statistics, moments and counters of steps."""
    moments = update.optimiser.state_dict()["state"]
    named = {f"{index} {name}": value for index, values in moments.items() for name, value in values.items()}
    return {name: value.clone() for name, value in (dict(update.network.state_dict()) | named).items()}
