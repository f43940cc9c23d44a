"""The pruner of a study, made from its settings: a study runs it, and a replay proves it."""

from collections.abc import Callable

import optuna

from pruners.health_pruner import LOG, HealthPruner
from pruners.peer_pruner import PeerPruner
from pruners.rules import shipped_rules
from pruners.thresholds import PrunerSettings, Thresholds


def make_pruner(
    budget_kframes: float,
    settings: PrunerSettings | None = None,
    thresholds: Thresholds | None = None,
    warn: Callable[[str], None] = LOG.warning,
    score: str = "speech",
) -> optuna.pruners.BasePruner:
    """Return the pruner for a study whose trials have this frame budget.

    `warn` is called when a rule is disarmed. `score` is the setting objective.score: which value the trials report.
    """
    settings = settings or PrunerSettings()
    if settings.name == "none":
        return optuna.pruners.NopPruner()
    rules = shipped_rules(thresholds or Thresholds()) if settings.name != "peers" else ()
    peers = PeerPruner(budget_kframes, settings.margin, settings.slack, settings.min_share, settings.least, score)
    return HealthPruner(rules, peers if settings.name != "health" else None, settings.protected, warn)
