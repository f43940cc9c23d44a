"""Create a study, or load an existing one whose values are comparable with those of new trials."""

import time
import warnings
from dataclasses import asdict
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from model.data.corpus import Corpus
from model.warmstart import Pretrained
from objective.search.migrate import LETTERS, StudyRefused, differences, flat
from objective.settings.schema import Settings
from objective.trial.corpus import fingerprint
from search_spaces.recipes import load_recipes
from search_spaces.space import Space
from storage.leases import owner

OBJECTIVES = {
    "speech": "what is not understood",
    "loss": "validation loss",
    "mcd": "mel-cepstral distortion, dB",
    "composite": "composite score",
}
IDENTITY_S = 2.0  # for another process to store the identity of a study that it has created


def identity_of(settings: Settings, space: Space, corpus: Corpus, pretrained: Pretrained | None) -> dict[str, Any]:
    """Return the settings that two trials must share for their values to be comparable."""
    return {
        "space": space.fingerprint(),
        "profile": settings.profile,
        "score": settings.objective.score,
        "listener_kframes": settings.listener.kframes,
        "budget_kframes": settings.budget.total_kframes,
        "reports": settings.budget.reports,
        "seed": settings.study.seed,
        "corpus": fingerprint(corpus),
        **{f"data.{name}": getattr(settings.data, name) for name in LETTERS},
        "warm_start": pretrained and pretrained.digest,
        "targets": asdict(settings.health.targets),
        **flat(settings.config()),
    }


def open_study(
    settings: Settings, space: Space, identity: dict[str, Any], storage: optuna.storages.BaseStorage
) -> tuple[optuna.Study, list[str]]:
    """Create the study or load it; return it with notes for the user. Raises StudyRefused where values are not comparable."""
    name = settings.study.name
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _await_identity(study)
    stored = study.user_attrs.get("identity")
    if stored is None:
        _name_objective(study, settings.objective.score)
        study.set_user_attr("settings", settings.dump())
        study.set_user_attr("identity", identity)  # last: it marks the study as ready
        return study, _recipe_notes(settings, space)
    in_space, others = differences(stored, identity, space)
    if not in_space and not others and study.user_attrs.get("settings") != settings.dump():
        study.set_user_attr("settings", settings.dump())  # views show the --trials of the last command
    if in_space or others:
        listed = "\n".join(f"  {sentence}" for sentence in [*in_space, *others])
        migration = "" if others else ", or --migrate NEW to copy the trials that fit the new space into the study NEW"
        raise StudyRefused(
            f"study {settings.study.name} was made with other settings, so values would not be comparable:\n{listed}\n"
            f"choose another --study, or use the settings it was made with{migration}"
        )
    _name_objective(study, settings.objective.score)  # of one made before this was written
    return study, []


def _name_objective(study: optuna.Study, score: str) -> None:
    """Name what the study minimises: optuna-dashboard writes it on its axes."""
    name = OBJECTIVES[score]
    if study.metric_names != [name]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([name])


def _await_identity(study: optuna.Study) -> None:
    """Wait for the process that may have just created the study to store its identity."""
    deadline = time.monotonic() + IDENTITY_S
    while time.monotonic() < deadline:
        if "identity" in study.user_attrs or _migration(study).get("owner") == owner():
            return
        time.sleep(0.1)
    if claim := _migration(study):
        way_out = f"type --study {claim['from']} --migrate {study.study_name}"
        raise StudyRefused(f"study {study.study_name} is being migrated from {claim['from']}: {way_out}")
    if any(trial.state != TrialState.WAITING for trial in study.trials):
        raise StudyRefused(f"study {study.study_name} was made by another program: choose another --study")


def _migration(study: optuna.Study) -> dict[str, Any]:
    """The claim of the process that copies trials into a study that is not ready; empty where there is none."""
    return dict(study.user_attrs.get("migration", {}))


def _recipe_notes(settings: Settings, space: Space) -> list[str]:
    """Notes on how the space changes the recipes that are tried first (objective/search/enqueue.py)."""
    changed = {name: space.to_trial_params(load_recipes()[name])[1] for name in settings.study.recipes}
    more = "of its settings adapted to the space, see its trial's changes in events.jsonl"
    return [f"recipe {name}: {len(changes)} {more}" for name, changes in changed.items() if changes]
