"""Create a study, or load it where its values can be compared with those to come."""

import time
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import TrialState

from model.data.corpus import Corpus
from model.warmstart import Pretrained
from objective.search.migrate import StudyRefused, differences, flat
from objective.settings.schema import Settings
from objective.trial.corpus import fingerprint
from search_spaces.recipes import load_recipes
from search_spaces.space import Space
from storage.leases import owner


def identity_of(settings: Settings, space: Space, corpus: Corpus, pretrained: Pretrained | None) -> dict[str, Any]:
    """What makes the values of two trials comparable."""
    return {
        "space": space.fingerprint(),
        "profile": settings.profile,
        "score": settings.objective.score,
        "budget_kframes": settings.budget.kframes,
        "reports": settings.budget.reports,
        "seed": settings.study.seed,
        "corpus": fingerprint(corpus),
        "warm_start": pretrained and pretrained.digest,
        "targets": asdict(settings.health.targets),
        **flat(settings.config()),
    }


def open_study(
    settings: Settings, space: Space, identity: dict[str, Any], storage: optuna.storages.BaseStorage
) -> tuple[optuna.Study, list[str]]:
    """Create the study, or load it. Raises StudyRefused where its values would not be comparable."""
    name = settings.study.name
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _await_identity(study)
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("settings", settings.dump())
        study.set_user_attr("identity", identity)  # last: it says that the study is ready
        return study, _recipe_notes(settings, space)
    in_space, others = differences(known, identity, space)
    if not in_space and not others and study.user_attrs.get("settings") != settings.dump():
        study.set_user_attr("settings", settings.dump())  # of the command that was typed last: who watches wants its --trials
    if in_space or others:
        listed = "\n".join(f"  {sentence}" for sentence in [*in_space, *others])
        along = "" if others else ", or --migrate NEW to take the trials along that the new space still holds"
        raise StudyRefused(
            f"study {settings.study.name} was made with other settings, its values could not be compared:\n{listed}\n"
            f"choose another --study, or type the command it was made with{along}"
        )
    return study, []


def _await_identity(study: optuna.Study) -> None:
    """Give the worker that may have made the study a moment ago two seconds to say what it is for."""
    for _ in range(20):
        if "identity" in study.user_attrs or _migration(study).get("owner") == owner():
            return
        time.sleep(0.1)
    if claim := _migration(study):
        way_out = f"type --study {claim['from']} --migrate {study.study_name}"
        raise StudyRefused(f"study {study.study_name} is being migrated from {claim['from']}: {way_out}")
    if any(trial.state != TrialState.WAITING for trial in study.trials):
        raise StudyRefused(f"study {study.study_name} was made by another program: choose another --study")


def _migration(study: optuna.Study) -> dict[str, Any]:
    """Who copies trials into a study that is not ready, and from where."""
    return dict(study.user_attrs.get("migration", {}))


def _recipe_notes(settings: Settings, space: Space) -> list[str]:
    """What the space changes of the recipes that are tried first (objective/search/enqueue.py)."""
    changed = {name: space.to_trial_params(load_recipes()[name])[1] for name in settings.study.recipes}
    more = "of its settings adapted to the space, see its trial's changes in events.jsonl"
    return [f"recipe {name}: {len(changes)} {more}" for name, changes in changed.items() if changes]
