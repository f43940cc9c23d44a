"""The pruner of a study, from its settings: what `objective.study` runs, and what `pruners.replay` proves."""

from collections.abc import Callable

import optuna

from pruners.combinators import rules
from pruners.health_pruner import LOG, HealthPruner
from pruners.peer_pruner import PeerPruner
from pruners.thresholds import Levels, Pruner


def shipped(
    budget_kframes: float,
    pruner: Pruner | None = None,
    levels: Levels | None = None,
    tell: Callable[[str], None] = LOG.warning,
) -> optuna.pruners.BasePruner:
    """`tell` hears when a rule is disarmed."""
    wanted = pruner or Pruner()
    if wanted.name == "none":
        return optuna.pruners.NopPruner()
    judges = rules(levels or Levels()) if wanted.name != "peers" else ()
    compared = PeerPruner(budget_kframes, wanted.margin, wanted.slack, wanted.min_share, wanted.least)
    peers = compared if wanted.name != "health" else None
    return HealthPruner(judges, peers, wanted.protected, tell)
