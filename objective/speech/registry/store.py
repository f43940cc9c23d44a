"""MLflow's model registry as the place of a voice's versions: what there is, what is served, what was served before.

The alias `champion` names the version that is served, `previous` the one before it. MLflow is imported when it is first used.
"""

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sqlalchemy.exc import SQLAlchemyError

from model.errors import BadInput
from model.voice import Voice
from objective.settings.schema import mask_url
from objective.settings.tracking import artifact_location, innermost, prepared_uri
from storage.lookup import local_path

EXPERIMENT = "tacotune voices"  # of the runs that the versions were registered by
CHAMPION, PREVIOUS = "champion", "previous"  # aliases
ROLLED_BACK = "rolled_back"  # tag of a version: when and why it was no longer served
FILE = "voice.pt"
MOST, LONGEST = 1_000, 500  # names and versions that are read; characters of a reason
CODE = Path(__file__).with_name("speaking_model.py")
SCHEME = "registry:"
REFERENCE = re.compile(rf"{SCHEME}(?P<name>[^@/:'\"]+)(@(?P<which>[\w-]+))?")


class BrokenVersion(BadInput):
    """The file of a version is no voice."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A voice as it is typed: `registry:NAME` is the champion, `registry:NAME@2` a version, `registry:NAME@ALIAS` another."""

    name: str
    which: str = CHAMPION  # a number, or an alias

    @classmethod
    def parse(cls, typed: str | None) -> "Reference | None":
        """Return the reference; None for a file or a study. Raises BadInput for one that names no voice."""
        if typed is None or not typed.startswith(SCHEME):
            return None
        found = REFERENCE.fullmatch(typed)
        if found is None:
            raise BadInput(
                f"need {SCHEME}NAME, or {SCHEME}NAME@VERSION, got {typed}: `tacotune registry list NAME` lists versions"
            )
        return cls(found["name"], found["which"] or CHAMPION)

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}@{self.which}"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a voice. `source`: the URI of its files."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    source: str

    def __str__(self) -> str:
        return f"version {self.number} of {self.name}"

    @property
    def reference(self) -> Reference:
        return Reference(self.name, str(self.number))


class Registry:
    """The versions of voices under one tracking URI."""

    def __init__(self, value: str | None, out: Path, *, new: bool = False) -> None:
        """Connect. value, out: as in `tracking_uri`. new: a SQLite file may be created.

        Raises BadInput for a URI that cannot be used, or a file that does not exist, OSError where nothing answers.
        """
        self.uri, self.out = prepared_uri(value, out), out
        file = local_path(self.uri)
        if not new and file is not None and not file.exists():
            rule = f"need MLflow's database with the voices, got {file.absolute()}, which does not exist"
            raise BadInput(f"{rule}: register a voice first, or give --mlflow or --out")
        with self._answers():
            import mlflow.store.db.utils
            from mlflow import MlflowClient

            mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # or it waits for a database for minutes, silently
            self.client = MlflowClient(self.uri)

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a voice, the oldest first. Raises BadInput for an unknown name."""
        with self._answers():
            _require_name(name)
            aliases = self._model(name).aliases
            found = self.client.search_model_versions(f"name = '{name}'", max_results=MOST)
        versions = [
            Version(
                name=name,
                number=int(one.version),
                aliases=tuple(sorted(alias for alias, number in aliases.items() if int(number) == int(one.version))),
                tags=dict(one.tags),
                source=str(one.source),
            )
            for one in found
        ]
        return sorted(versions, key=lambda version: version.number)

    def version(self, reference: Reference) -> Version:
        """Return one version. Raises BadInput where there is none."""
        versions, which = self.versions(reference.name), reference.which
        for version in versions:
            if which == str(version.number) or which in version.aliases:
                return version
        if which == CHAMPION:
            raise BadInput(
                f"need a champion of {reference.name}, it has none: `tacotune registry promote {reference.name} VERSION`"
            )
        numbers = ", ".join(str(version.number) for version in versions) or "none yet"
        raise BadInput(f"need a version of {reference.name}, got {which}: choose one of {numbers}")

    def voice(self, version: Version, device: torch.device) -> Voice:
        """Load a version. Raises BrokenVersion for a damaged file, BadInput without one, OSError where nothing answers."""
        import mlflow.artifacts

        folder = f"{version.source}/artifacts"
        with self._answers(), TemporaryDirectory(prefix="tacotune-") as place:
            there = mlflow.artifacts.list_artifacts(artifact_uri=folder, tracking_uri=self.uri)
            if FILE not in {Path(file.path).name for file in there}:
                way_out = "mount its folder on this machine, or register the voice again"  # no reason for others to go back
                raise BadInput(f"need {FILE} of {version}, got {folder} without one: {way_out}")
            path = mlflow.artifacts.download_artifacts(f"{folder}/{FILE}", dst_path=place, tracking_uri=self.uri)
            try:
                return Voice.load(path, device)
            except BadInput as why:
                sentence = str(why).removeprefix(f"{path}: ")
                raise BrokenVersion(f"{version} cannot be loaded: {sentence}") from why

    def register(self, name: str, voice: Voice, tags: Mapping[str, str]) -> Version:
        """Store a voice as the next version. Raises BadInput for a name that cannot be used."""
        _require_name(name)
        with self._answers(), TemporaryDirectory(prefix="tacotune-") as place:
            try:
                self.client.create_registered_model(name)
            except _mlflow_exception() as why:
                if why.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            run = self.client.create_run(self._experiment(), run_name=name)
            folder = _as_model(voice, Path(place), run.info.run_id)
            self.client.log_artifacts(run.info.run_id, str(folder), "voice")
            self.client.set_terminated(run.info.run_id)
            made = self.client.create_model_version(name, f"{run.info.artifact_uri}/voice", run.info.run_id, dict(tags))
        return Version(name, int(made.version), (), dict(tags), str(made.source))

    def promote(self, version: Version) -> Version | None:
        """Make a version the champion; return the one that was, which becomes `previous`; None where no other was.

        The champion moves last, so that a command that is killed in between leaves the old one.
        """
        champions = [other for other in self.versions(version.name) if CHAMPION in other.aliases]
        before = next((other for other in champions if other.number != version.number), None)
        with self._answers():
            if before is not None:
                self.client.set_registered_model_alias(version.name, PREVIOUS, str(before.number))
            self.client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
        return before

    def roll_back(self, version: Version, why: str) -> Version | None:
        """Make `previous` the champion instead of `version`, and store the reason; return the champion, None without another.

        If another process has already replaced `version`, nothing is changed. A version is rolled back to once: there is no
        `previous` afterwards.
        """
        by_alias = {alias: other for other in self.versions(version.name) for alias in other.aliases}
        champion, previous = by_alias.get(CHAMPION), by_alias.get(PREVIOUS)
        if champion is not None and champion.number != version.number:
            return champion
        if previous is None or previous.number == version.number:
            return None
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        with self._answers():
            self.client.set_model_version_tag(version.name, str(version.number), ROLLED_BACK, f"{at}: {why}"[:LONGEST])
            self.client.set_registered_model_alias(version.name, CHAMPION, str(previous.number))
            self.client.delete_registered_model_alias(version.name, PREVIOUS)
        return previous

    def _model(self, name: str) -> Any:
        """Return MLflow's entry of a voice. Raises BadInput for an unknown name."""
        try:
            return self.client.get_registered_model(name)
        except _mlflow_exception() as why:
            if why.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        known = sorted(model.name for model in self.client.search_registered_models(max_results=MOST))
        way_out = f"choose one of {', '.join(known)}" if known else "it holds none: register one first"
        raise BadInput(f"need the name of a voice in {mask_url(self.uri)}, got {name}: {way_out}")

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(self.client.create_experiment(EXPERIMENT, artifact_location(self.uri, self.out)))
        return str(found.experiment_id)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Raise BadInput for what MLflow refuses, and OSError where its server or database fails."""
        try:
            yield
        except ImportError as why:
            raise BadInput(f"need the driver of {mask_url(self.uri)}, got {why}: install it with pip") from why
        except (OSError, SQLAlchemyError, _mlflow_exception()) as why:
            if getattr(why, "error_code", None) == "INVALID_PARAMETER_VALUE":
                raise BadInput(f"MLflow refuses this: {innermost(why)}") from why
            raise OSError(f"no answer from {mask_url(self.uri)}: {innermost(why)}") from why


def _require_name(name: str) -> None:
    """Raise BadInput for a name that `registry:NAME` could not say."""
    if not REFERENCE.fullmatch(f"{SCHEME}{name}"):
        raise BadInput(f"need a name without @ / : and quotes, got {name!r}: choose another")


def _mlflow_exception() -> Any:
    from mlflow.exceptions import MlflowException

    return MlflowException


def _as_model(voice: Voice, place: Path, run_id: str) -> Path:
    """Write a voice as a model that MLflow loads, with the code that loads it; return the folder."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint")  # of MLflow's own code, while it is imported
        import mlflow.pyfunc
        from mlflow.models import Model

    folder, file = place / "model", voice.save(place / FILE)
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(CODE),
        artifacts={"voice": str(file)},
        pip_requirements=[f"tacotune=={version_of('tacotune')}"],
        mlflow_model=Model(run_id=run_id, artifact_path="voice"),
    )
    return folder
