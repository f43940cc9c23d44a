"""The configuration that a command trains: of a file, or of a study's trial."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.voice import Voice
from objective.settings.resolve import flattened, settings_of
from objective.speech.find import find
from storage.lookup import existing_study
from storage.paths import BEST, url_of

# Settings of a study that its trials share; the others belong to the command that ran it.
SHARED = ("profile", "threads", "data.", "objective.", "listener.", "health.", "audio.", "network.", "loss.", "training.")
# What makes a study train one configuration, as often as it has trials, which nothing stops.
UNSEARCHED: dict[str, Any] = {
    "study.space": "none",
    "study.recipes": (),
    "study.migrate": None,
    "pruner.name": "none",
    "repair.max_per_trial": 0,
}


@dataclass(frozen=True, slots=True)
class Source:
    """The settings to train, by dotted name, and the weights that a trial has trained with them."""

    name: str  # of the study, or of the file
    settings: dict[str, Any]
    weights: Path | None
    note: str


def source_of_settings(path: Path) -> Source:
    """Return the settings of a file; of a trial's config.yaml with the weights next to it. Raises SettingsError."""
    settings = settings_of(path)
    if path.name != "config.yaml":
        return Source(path.stem, settings, None, str(path))
    weights = path.parent / BEST
    return Source(path.absolute().parent.parent.name, settings, weights if weights.exists() else None, str(path))


def source_of_trial(study: str, number: int | None, out: Path, storage: str | None) -> Source:
    """Return the settings of a study with those of its best trial, or of trial `number`. Raises BadInput and StorageError."""
    found = find(study, number, out, storage)
    known = existing_study(url_of(storage, out), study).user_attrs
    settings = {key: value for key, value in flattened(known["settings"]).items() if key.startswith(SHARED)}
    settings |= flattened(asdict(Voice.load(found.path).config))
    settings["budget.kframes"] = int(known["identity"]["budget_kframes"])
    return Source(study, settings, found.path, found.note)
