"""Open an existing study, for the commands that read studies and never create one."""

from pathlib import Path

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from storage.errors import LOCAL, StorageError
from storage.studies import LOCAL_FOLDER, open_storage, read_mostly


def existing_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a database to read from it. Raises StorageError where it does not exist yet and opening would create it."""
    path = local_path(url)
    if path is not None and not path.exists():
        raise StorageError(f"need the database of the study, got {path}, which does not exist: give --storage or --out")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    read_mostly(storage)
    return storage


def existing_study(url: str, name: str) -> optuna.Study:
    """Load the study `name`. Raises StorageError that lists the existing names where there is none."""
    return study_in(existing_storage(url), name)


def study_in(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """The same, from an open database."""
    names = sorted(optuna.get_all_study_names(storage))
    if name not in names:
        way_out = f"choose one of {', '.join(names)}" if names else "its database holds none"
        raise StorageError(f"need the name of a study, got {name}: {way_out}")
    return optuna.load_study(storage=storage, study_name=name)


def local_path(url: str) -> Path | None:
    """The path of a database on this machine, which opening would create. None for a server's URL and for an invalid one."""
    kind, _, rest = url.partition(":")
    if kind == LOCAL:
        return Path(rest or LOCAL_FOLDER)
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        return None
    return Path(parsed.database) if parsed.database and parsed.get_backend_name() == "sqlite" else None
