"""Fill a study with finished trials, straight into the tables: curves of the archive in turn."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import TrialState

from pruners.replay.archive import Curve
from search_spaces.space import Space


def fill(study: optuna.Study, count: int, curves: Sequence[Curve], space: Space) -> None:
    """Write finished trials up to `count` into the tables at once: one at a time, 10,000 would take half an hour.

    Each is a curve of the archive, in turn: COMPLETE with its constraints, its health record and its measured numbers.
    """
    template = study.ask()
    known = len(study.get_trials(deepcopy=False))
    study.tell(template, state=TrialState.FAIL)
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    rows: dict[Any, list[dict[str, Any]]] = {}
    with engine.begin() as connection:
        first = connection.execute(sa.select(sa.func.max(models.TrialModel.trial_id))).scalar() + 1
        for number in range(known, count):
            _add(rows, first + number - known, number, study._study_id, curves[number % len(curves)], space)
        for table, lines in rows.items():
            for start in range(0, len(lines), 5_000):
                connection.execute(sa.insert(table), lines[start : start + 5_000])
        if engine.dialect.name == "postgresql":  # its counters do not see numbers that were written
            for table in rows:
                key = next(iter(table.primary_key.columns)).name
                sequence = f"pg_get_serial_sequence('{table.name}', '{key}')"
                connection.execute(sa.text(f"SELECT setval({sequence}, (SELECT max({key}) FROM {table.name}))"))
            connection.execute(sa.text("ANALYZE"))


def _add(rows: dict[Any, list[dict[str, Any]]], trial_id: int, number: int, study_id: int, curve: Curve, space: Space) -> None:
    def row(model: Any, **values: Any) -> None:
        rows.setdefault(model.__table__, []).append(values)

    when = datetime.now()
    row(
        models.TrialModel, trial_id=trial_id, number=number, study_id=study_id, state=TrialState.COMPLETE,
        datetime_start=when, datetime_complete=when,
    )  # fmt: skip
    kind = models.TrialValueModel.TrialValueType.FINITE
    row(models.TrialValueModel, trial_id=trial_id, objective=0, value=curve.value or 9.0, value_type=kind)
    recorder = Recorder(space.to_trial_params(curve.params)[0])
    space.suggest(recorder)
    for name, (value, distribution) in recorder.suggested.items():
        internal = distribution.to_internal_repr(value)
        text = optuna.distributions.distribution_to_json(distribution)
        row(models.TrialParamModel, trial_id=trial_id, param_name=name, param_value=internal, distribution_json=text)
    for step, loss in zip(curve.prefixes[-1]["kframes"], curve.val_losses, strict=True):
        if loss is not None:
            finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
            row(
                models.TrialIntermediateValueModel, trial_id=trial_id, step=round(step), intermediate_value=loss,
                intermediate_value_type=finite,
            )  # fmt: skip
    attributes = {
        "k": number, "owner": {"host": "h", "pid": number}, "beat": 12, "origin": "sampled", "health": curve.prefixes[-1],
        "kframes": curve.full_kframes, "seconds": curve.seconds, "free_overrun_rate": 0.0, "free_premature_rate": 0.0,
        **{name: values[-1] for name, values in curve.prefixes[-1].items() if isinstance(values, list)},
    }  # fmt: skip
    for name, value in attributes.items():
        row(models.TrialUserAttributeModel, trial_id=trial_id, key=name, value_json=json.dumps(value))
    for name, amount in curve.violations.items():
        key = f"constraints:health/{name}"
        row(models.TrialSystemAttributeModel, trial_id=trial_id, key=key, value_json=json.dumps(amount))


class Recorder:
    """A trial of given parameters that records the distributions of a space's suggestions."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params, self.suggested = params, {}  # type: ignore[var-annotated]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        return float(self._keep(name, optuna.distributions.FloatDistribution(low, high, log, step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._keep(name, optuna.distributions.IntDistribution(low, high, log, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._keep(name, optuna.distributions.CategoricalDistribution(choices))

    def _keep(self, name: str, distribution: Any) -> Any:
        self.suggested[name] = self.params[name], distribution
        return self.params[name]
