"""Peer rules: Optuna's own pruners, over frames. The resource is the Optuna step, thousands of valid mel frames."""
import optuna


def peers(name: str, budget_kframes: int, eta: int, min_share: float) -> optuna.pruners.BasePruner | None:
    """`asha` (successive halving from `min_share` of the budget, one of `eta` stays), `median` (from there) or `none`."""
    first = max(1, round(min_share * budget_kframes))
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=eta)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=first)
    return None
