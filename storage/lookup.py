"""Find a study that is there: for the commands that look at studies and make none."""

from pathlib import Path

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from storage.errors import LOCAL, StorageError
from storage.studies import LOCAL_FOLDER, only_look, open_storage


def existing_storage(url: str) -> optuna.storages.BaseStorage:
    """`open_storage` to look into a database that is there already: StorageError where opening would make it."""
    place = _place(url)
    if place is not None and not place.exists():
        raise StorageError(f"need the database of the study, got {place}, which is not there: say --storage, or --out")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    only_look(storage)
    return storage


def existing_study(url: str, name: str) -> optuna.Study:
    """A study that is there. Raises StorageError, with the names of those that are."""
    return study_in(existing_storage(url), name)


def study_in(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """The study `name` of an open database. Raises StorageError, with the names of those that are there."""
    names = sorted(optuna.get_all_study_names(storage))
    if name not in names:
        there = f"say one of {', '.join(names)}" if names else "its database holds none"
        raise StorageError(f"need the name of a study, got {name}: {there}")
    return optuna.load_study(storage=storage, study_name=name)


def _place(url: str) -> Path | None:
    """Where a database of this machine lies, which opening would make. None for one of a server, or for no URL at all."""
    kind, _, rest = url.partition(":")
    if kind == LOCAL:
        return Path(rest or LOCAL_FOLDER)
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        return None
    return Path(parsed.database) if parsed.database and parsed.get_backend_name() == "sqlite" else None
