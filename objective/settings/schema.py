"""The one typed tree of every knob, with its unit and its default. The profile, a YAML file, `--set` and the flags fill it.

A knob is named by its dotted path, such as `training.learning_rate`. Nothing here imports torch, Optuna or an audio library.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from model.config import PROFILES as MODEL_PROFILES
from model.config import Audio, Config, Loss, Network, Training
from model.data.corpus import Limits
from model.text.languages import find_language
from pruners.thresholds import Levels, Pruner
from search_spaces.knobs import apply
from search_spaces.recipes import load_recipes
from search_spaces.yaml_reader import way_out
from storage.paths import url_of

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class SettingsError(ValueError):
    """Every mistake in the settings, one a line."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(mistakes))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.mistakes,)  # or a copy in another process would take the message for the mistakes


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class Study(_Group):
    """Which study, how long, and who proposes the points."""

    name: str = "tacotron2"  # it names the folder under `out`, too
    trials: Count = 50  # finished ones in the study (complete or pruned)
    storage: Annotated[str | None, Field(repr=False)] = None  # SQLAlchemy URL; None: a SQLite file under `out`
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0
    migrate: str | None = None  # the study to copy the trials to that the present space still holds, and to go on with
    workers: Count | None = None  # processes, each with a trial; None: one for each GPU, times `trials_per_gpu`
    ray: str | None = None  # HOST:PORT of the head of a Ray cluster, or `auto`: the workers are placed there; None: here
    trials_per_gpu: Count = 1  # side by side on one device, a process each
    timeout_s: Seconds | None = None  # after so many seconds the running trials are released; None: no limit
    until: float | None = None  # a healthy trial of this value or less ends the study; None: no such value
    dead_in_a_row: Annotated[int, Field(ge=0)] = 3  # trials stopped at their first report; one more ends the study; 0: never
    on_failure: Literal["stop", "wait"] = "stop"  # what a worker does when its machine fails: full disk, database gone
    database_s: Seconds = 60.0  # for how long an operation is tried again where the database does not answer
    grace_s: Seconds = 120.0  # after so long without a beat a worker elsewhere is dead
    hang_s: Seconds = 1_800.0  # after so long without progress in frames a trial is released and its worker ends
    space: str = "default"  # a shipped search space or a YAML file
    warm_start: Path | None = None  # checkpoint from which every trial starts; None: from nothing
    recipes: tuple[str, ...] = ("tacotune", "nvidia", "espnet", "coqui")  # tried before anything is sampled

    @field_validator("name", "migrate")
    @classmethod
    def _name_of_a_folder(cls, name: str | None) -> str | None:
        # A folder's name has at most 255 bytes, a letter up to 4.
        if name is not None and not re.fullmatch(r"\w[\w.-]{0,62}", name):
            rule = f"need a name of letters, digits, '_', '-' and '.', got {name!r}"
            raise ValueError(f"{rule}: a folder is called by it, so 63 signs at most and no '-' or '.' in front")
        return name

    @field_validator("recipes")
    @classmethod
    def _known_recipes(cls, recipes: tuple[str, ...]) -> tuple[str, ...]:
        known = load_recipes()
        unknown = [f"{name!r}: {way_out(name, known)}" for name in recipes if name not in known]
        if unknown:
            raise ValueError(f"need names of recipes, got {', '.join(unknown)}")
        return recipes

    @field_serializer("storage")
    def _masked(self, storage: str | None) -> str | None:
        return storage and mask_url(storage)


class Data(_Group):
    """The recordings and their texts."""

    path: Path | None = None  # folder or manifest; None: the built-in corpus
    language: str = "en"  # one of model/text/languages.py
    validation_utterances: Count = 32
    demo_utterances: Count = 288  # of the built-in corpus, those for validation included
    limits: Limits = Limits()

    @field_validator("language")
    @classmethod
    def _known_language(cls, code: str) -> str:
        return find_language(code).code


class Budget(_Group):
    """What one trial may spend."""

    kframes: Count = 20_000  # thousands of valid mel frames that a trial may see
    reports: Count = 24  # validations in a trial, on an even grid of frames
    snapshot_kframes: Annotated[float | None, Field(gt=0)] = None  # from one snapshot to the next; None: one at each report

    @model_validator(mode="after")
    def _a_frame_for_each_report(self) -> Self:
        if self.kframes < self.reports:
            raise ValueError(f"need kframes >= reports, got kframes={self.kframes}, reports={self.reports}: report less often")
        return self


class Objective(_Group):
    """What a trial is judged by."""

    score: Literal["loss", "mcd", "composite"] = "loss"  # the weight-free validation loss; mel-cepstral distortion; both


class Repair(_Group):
    """What is tried after a sick trial (objective/search/repair.py)."""

    max_per_trial: Annotated[int, Field(ge=0)] = 2  # neighbours one after the other, each a trial of its own; 0: none


class Disk(_Group):
    """Whose weights are kept once a trial has ended (storage/retention.py)."""

    top_k: Count | None = None  # of the finished trials, so many best ones; None: all
    quota_gb: Annotated[float | None, Field(gt=0)] = None  # of the study's snapshots together; None: no limit
    keep_pruned: bool = False  # those of pruned trials, too


class Watch(_Group):
    """Who shows the study, each in a process beside it (objective/views/launcher.py)."""

    dashboard: Annotated[int, Field(ge=1, le=65_535)] | None = None  # port of optuna-dashboard on this machine; None: none
    mlflow: Annotated[str | None, Field(repr=False)] = None  # tracking URI, or `auto`: SQLite beside the studies; None: none
    tensorboard: bool = False
    telegram: bool = False  # its token and chat come from the environment

    @field_serializer("mlflow")
    def _masked(self, mlflow: str | None) -> str | None:
        return mlflow and mask_url(mlflow)


class Telegram(_Group):
    """How the reporter speaks."""

    language: Literal["en", "ru"] = "en"


class Settings(_Group):
    """Every knob of a study."""

    profile: Literal["demo", "full"] = "full"
    out: Path = Path("runs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None  # of the CPU; None: torch's choice
    quiet: bool = False
    study: Study = Study()
    data: Data = Data()
    budget: Budget = Budget()
    objective: Objective = Objective()
    pruner: Pruner = Pruner()
    repair: Repair = Repair()
    disk: Disk = Disk()
    watch: Watch = Watch()
    telegram: Telegram = Telegram()
    health: Levels = Levels()
    audio: Audio = Audio()
    network: Network = Network()
    loss: Loss = Loss()
    training: Training = Training()

    @model_validator(mode="after")
    def _one_unit_for_gp(self) -> Self:
        # GP is told a pruned trial as complete with its validation loss: next to it a distortion in dB is another unit.
        if self.study.sampler == "gp" and self.objective.score != "loss":
            raise ValueError(
                f"study.sampler gp needs objective.score loss, got {self.objective.score}: "
                "what it is told of a pruned point would be in another unit, use study.sampler tpe"
            )
        return self

    @property
    def folder(self) -> Path:
        """Where the files of the study lie."""
        return self.out / self.study.name

    @property
    def storage_url(self) -> str:
        """Where the studies are kept, password included: for opening, never for showing."""
        return url_of(self.study.storage, self.out)

    @property
    def head(self) -> str | None:
        """HOST:PORT of the head of the Ray cluster, or None for the one that runs here."""
        return None if self.study.ray == "auto" else self.study.ray

    def migrated(self) -> "Settings":
        """The same, to go on with the study that `study.migrate` names."""
        study = self.study.model_copy(update={"name": self.study.migrate, "migrate": None})
        return self.model_copy(update={"study": study})

    def config(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """The configuration of a trial: these settings with the dotted `overrides` of its search space."""
        return apply(Config(self.audio, self.network, self.loss, self.training), overrides or {})

    def dump(self) -> dict[str, Any]:
        """The tree as plain JSON-able values, without the password of a storage."""
        return self.model_dump(mode="json")


# What a profile changes against the defaults of the tree. The demo's products are so small that a second thread gains a fifth
# on an idle machine, and loses a factor of ten where another process wants the core too.
PROFILES: dict[str, dict[str, Any]] = {
    "full": {**MODEL_PROFILES["full"]},
    "demo": {**MODEL_PROFILES["demo"], "budget.kframes": 400, "study.space": "demo", "threads": 1},
}


def mask_url(text: str) -> str:
    """`text` with the passwords of its URLs replaced by ***: `postgresql://user:***@host/db`."""
    text = re.sub(r"(://[^:/?#\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret)=)[^&\s]*", r"\1***", text)
