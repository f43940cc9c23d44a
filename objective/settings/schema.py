"""All settings of a study as one typed tree, with units and defaults. Profile, YAML file, `--set` and flags fill it.

A setting is named by its dotted path, such as `training.learning_rate`. Nothing here imports torch, Optuna or an audio library.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, field_serializer, field_validator, model_validator

from model.config import PROFILES as MODEL_PROFILES
from model.config import Audio, Config, Loss, Network, Training
from model.data.layouts.columns import told
from model.data.limits import Limits
from model.errors import BadInput
from model.text.languages import Input, Language, Stress, find_language
from objective.settings.views import VIEWS
from pruners.thresholds import PrunerSettings, Thresholds
from search_spaces.knobs import apply
from search_spaces.recipes import load_recipes
from search_spaces.yaml_reader import way_out
from storage.paths import url_of

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class SettingsError(BadInput):
    """All mistakes in the settings, one per line."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(mistakes))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.mistakes,)  # otherwise a copy in another process would take the message for the list


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class Study(_Group):
    """The study: its name and storage, its search, its workers and when it ends."""

    name: str = "tacotron2"  # name of the study and of its folder under `out`
    trials: Count = 50  # number of finished trials (complete or pruned) in the study
    storage: Annotated[str | None, Field(repr=False)] = None  # URL of the database; None: a SQLite file under `out`
    sampler: Literal["tpe", "gp", "random"] = "tpe"  # proposes configurations after the recipes
    seed: Annotated[int, Field(ge=0)] = 0  # the seeds of all trials are derived from it
    migrate: str | None = None  # new study: copy the trials that fit the current space into it, and continue there
    workers: Count | None = None  # worker processes, one trial each; None: `trials_per_gpu` for each GPU, or one on a CPU
    ray: str | None = None  # place the workers on this Ray cluster: HOST:PORT of its head, or `auto`; None: on this machine
    trials_per_gpu: Count = 1  # trials that run concurrently on one device, each in its own process
    timeout_s: Seconds | None = None  # seconds until the study stops and releases its running trials; None: no limit
    until: float | None = None  # the study ends once a healthy trial has this value or a lower one; None: never
    dead_in_a_row: Annotated[int, Field(ge=0)] = 3  # consecutive trials stopped at their first report; one more ends the study
    unaligned: Annotated[int, Field(ge=0)] = 3  # trials that had time to align, after which it says that none did; 0: never
    on_failure: Literal["stop", "wait"] = "stop"  # when the machine fails (disk full, database lost): stop, or wait and retry
    database_s: Seconds = 60.0  # seconds for which an operation is retried while the database does not answer
    grace_s: Seconds = 120.0  # seconds without a heartbeat after which a worker on another machine counts as dead
    hang_s: Seconds = 1_800.0  # seconds without progress after which a trial is released and its worker ends
    space: str = "default"  # search space: the name of a shipped one or the path of a YAML file
    warm_start: Path | None = None  # checkpoint from which every trial starts; None: random weights
    recipes: tuple[str, ...] = ("tacotune", "nvidia", "espnet", "coqui")  # published configurations that are tried first

    @field_validator("name", "migrate")
    @classmethod
    def _valid_folder_name(cls, name: str | None) -> str | None:
        # The name of a folder has at most 255 bytes, and a letter takes up to 4.
        if name is not None and not re.fullmatch(r"\w[\w.-]{0,62}", name):
            rule = f"need a name of letters, digits, '_', '-' and '.', got {name!r}"
            raise ValueError(f"{rule}: it names a folder, so use at most 63 characters and no '-' or '.' in front")
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

    path: Path | None = None  # folder or list of recordings; None: the built-in corpus
    columns: str | None = None  # columns of the list with sound and text, `1,3` or `path,sentence`; None: recognised
    language: str = "en"  # of the texts: one of model/text/languages.py
    input: Input = "letters"  # what the network reads: the letters of a text, or its phonemes by espeak-ng
    stress: Stress = "none"  # what puts stress marks into Russian texts: nothing, or the package silero-stress
    validation_utterances: Count = 32  # utterances held out for validation
    demo: Literal["matrix", "general"] = "matrix"  # the built-in corpus: a limited domain that can be learnt, or any sentences
    demo_utterances: Count = 360  # utterances of the built-in corpus, those for validation included
    trim: bool = True  # cut the silence at the ends of the recordings
    trim_margin_s: Annotated[float, Field(ge=0)] = 0.1  # seconds of silence that are left at either end
    licence: str | None = None  # of the recordings, a note that every voice carries
    limits: Limits = Limits()  # which recordings are left out

    @property
    def margin_s(self) -> float | None:
        """Seconds of silence that are left at either end; None: all."""
        return self.trim_margin_s if self.trim else None

    def spoken(self) -> Language:
        """Return the language of the texts, as the network reads it."""
        return find_language(self.language, self.input, self.stress)

    def of_a_voice(self) -> dict[str, Any]:
        """Return what a voice keeps of these: without the path of recordings, which is private. The built-in ones have none."""
        return self.model_dump(mode="json", exclude={"licence"} if self.path is None else {"licence", "path"})

    @field_validator("language")
    @classmethod
    def _known_language(cls, code: str) -> str:
        return find_language(code).code

    @model_validator(mode="after")
    def _a_language_with_stress(self) -> Self:
        self.spoken()
        return self

    @field_validator("columns")
    @classmethod
    def _two_columns(cls, columns: str | None) -> str | None:
        return columns if columns is None else ",".join(told(columns))


class Budget(_Group):
    """The training budget of one trial, in kframes: thousands of mel frames, padding not counted."""

    kframes: Count | None = None  # kframes that a trial trains on; None: from the corpus (objective/settings/budget.py)
    reports: Count = 24  # validations in a trial, evenly spaced over its frames
    snapshot_kframes: Annotated[float | None, Field(gt=0)] = None  # kframes between two; None: at reports, 5 % of the time

    @property
    def total_kframes(self) -> int:
        """The kframes that a trial trains on, once the corpus has decided them."""
        assert self.kframes is not None, "the budget follows from the corpus: objective.settings.budget.settled"
        return self.kframes

    @model_validator(mode="after")
    def _a_frame_for_each_report(self) -> Self:
        if self.kframes is not None and self.kframes < self.reports:
            raise ValueError(f"need kframes >= reports, got kframes={self.kframes}, reports={self.reports}: report less often")
        return self


class Objective(_Group):
    """The value of a trial, which the study minimises."""

    # speech: how far free-running synthesis is from being understood; loss: unweighted validation loss, teacher-forced; mcd:
    # mel-cepstral distortion in dB; composite: the last two and the share of the sentences with a fault.
    score: Literal["speech", "loss", "mcd", "composite"] = "speech"


class Listener(_Group):
    """The recogniser that is trained once for each corpus, and judges what can be understood (model/listener.py)."""

    kframes: Annotated[int, Field(ge=0)] = 20_000  # kframes that it is trained on, at most 60 epochs; 0: no listener


class Repair(_Group):
    """Repairs of sick trials: those that a health rule stopped or that miss a target (objective/search/repair.py)."""

    max_per_trial: Annotated[int, Field(ge=0)] = 2  # successive repairs of one configuration, each its own trial; 0: none


class Rescue(_Group):
    """Repairs of one long training while it runs (objective/trial/rescue.py). Trials of a search are never changed."""

    rollbacks: Annotated[int, Field(ge=0)] = 0  # after which it ends with a diagnosis; 0: it changes nothing


class Disk(_Group):
    """The trials that keep their weights after their end (storage/retention.py)."""

    top_k: Count | None = None  # how many of the best trials keep their weights; None: all
    quota_gb: Annotated[float | None, Field(gt=0)] = (
        None  # limit for all snapshots of the study, in GB (1e9 bytes); None: no limit
    )
    keep_pruned: bool = False  # keep the weights of pruned trials too


class Pictures(_Group):
    """The drawing of a trial's pictures (objective/trial/plots.py)."""

    dpi: Annotated[int, Field(ge=50, le=300)] = 100  # pixels an inch: 100 makes them 900 to 1,200 pixels wide


class _WatchGroup(_Group):
    @field_serializer("*")
    def _masked(self, value: Any) -> Any:
        return mask_url(value) if isinstance(value, str) else value


_KINDS: dict[str, Any] = {  # of a view's setting: type and default
    "switch": (bool, False),
    "port": (Annotated[int, Field(ge=1, le=65_535)] | None, None),
    "text": (Annotated[str | None, Field(repr=False)], None),  # a URL with a password, perhaps
}


class Watch(create_model("Watch", __base__=_WatchGroup, **{name: _KINDS[view.kind] for name, view in VIEWS.items()})):  # type: ignore[misc]
    """The views that show the study, each in its own process (objective/settings/views.py)."""


class Telegram(_Group):
    """The messages to Telegram."""

    language: Literal["en", "ru"] = "en"  # of the messages


class Settings(_Group):
    """All settings of a study."""

    profile: Literal["demo", "full"] = "full"  # set of defaults: a small study for a CPU, or a full one for a GPU
    out: Path = Path("runs")  # folder for everything that is written
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: CUDA where there is a GPU
    threads: Count | None = None  # CPU threads of each worker; None: torch's default
    quiet: bool = False  # print finished trials and the closing page only
    study: Study = Study()
    data: Data = Data()
    budget: Budget = Budget()
    objective: Objective = Objective()
    listener: Listener = Listener()
    pruner: PrunerSettings = PrunerSettings()
    repair: Repair = Repair()
    rescue: Rescue = Rescue()
    disk: Disk = Disk()
    pictures: Pictures = Pictures()
    watch: Watch = Watch()
    telegram: Telegram = Telegram()
    health: Thresholds = Thresholds()
    audio: Audio = Audio()
    network: Network = Network()
    loss: Loss = Loss()
    training: Training = Training()

    @property
    def folder(self) -> Path:
        """The folder of the study."""
        return self.out / self.study.name

    @property
    def storage_url(self) -> str:
        """The URL of the database, password included: for opening it, never for showing."""
        return url_of(self.study.storage, self.out)

    @property
    def head(self) -> str | None:
        """HOST:PORT of the head of the Ray cluster, or None for the one that runs here."""
        return None if self.study.ray == "auto" else self.study.ray

    def migrated(self) -> "Settings":
        """Return the settings for continuing with the study that `study.migrate` names."""
        study = self.study.model_copy(update={"name": self.study.migrate, "migrate": None})
        return self.model_copy(update={"study": study})

    def config(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """Return the configuration of a trial: these settings with the `overrides` of its search space, by dotted name."""
        return apply(Config(self.audio, self.network, self.loss, self.training), overrides or {})

    def dump(self) -> dict[str, Any]:
        """Return the tree as JSON values, without passwords in URLs."""
        return self.model_dump(mode="json")


# What a trial of the profile `full` needs at least, where budget.kframes does not say it.
FULL_UPDATES, FULL_EPOCHS = 10_000, 20

# What a profile changes in the defaults. The demo's matrix products are so small that a second thread gains a fifth on an idle
# machine, and loses a factor of ten where another process needs the core.
PROFILES: dict[str, dict[str, Any]] = {
    "full": {**MODEL_PROFILES["full"]},
    "demo": {
        **MODEL_PROFILES["demo"],
        "budget.kframes": 2_000,
        "listener.kframes": 1_000,
        "study.space": "demo",
        "study.recipes": ("tacotune",),  # the published ones do not speak within this budget
        "threads": 1,
    },
}


def mask_url(text: str) -> str:
    """Return `text` with the passwords of its URLs replaced by ***: `postgresql://user:***@host/db`."""
    text = re.sub(r"(://[^:/?#\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret)=)[^&\s]*", r"\1***", text)
