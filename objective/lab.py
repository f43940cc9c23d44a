"""What all trials of a worker share, and how it comes from the settings."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import torch

from model.data.corpus import Corpus
from model.distributed import Group
from model.recurrence import implementation
from model.trainer import Speech, precision
from model.warmstart import Donor
from objective.data import device_of, donor_of, load_data, speech_of
from objective.events import Warned
from objective.interruption import Interruption
from objective.settings import Settings, SettingsError
from objective.sinks.fan import Sinks
from pruners.compose import rules
from pruners.rules import Rule
from pruners.shipped import shipped
from search_spaces.space import Space
from storage.folders import trial_folder
from storage.leases import Watch


@dataclass(frozen=True, slots=True)
class Material:
    """What is trained on, where, and from what."""

    space: Space
    corpus: Corpus
    device: torch.device
    donor: Donor | None  # every trial starts from it

    @classmethod
    def of(cls, settings: Settings, space: Space) -> "Material":
        """Raises SettingsError for what cannot be trained here, CorpusError for the recordings."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = device_of(settings.device)
        if device.type == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun's: a GPU for each rank
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        try:
            precision(settings.config(), device)
            implementation(settings.network.recurrence, device)
        except ValueError as why:
            raise SettingsError([str(why)]) from why
        donor = donor_of(settings)
        return cls(space, load_data(settings), device, donor)


@dataclass(frozen=True, slots=True)
class Lab:
    """What all trials of a worker share."""

    settings: Settings
    known: Material
    speech: Speech
    judges: tuple[Rule, ...]
    watch: Watch
    sinks: Sinks
    interruption: Interruption
    identity: str = ""  # of the study, as a hash: a snapshot of another one is of no use
    group: Group | None = None  # the other ranks that train along
    warned: set[str] = field(default_factory=set)  # what was said already

    @classmethod
    def of(
        cls, settings: Settings, known: Material, study: optuna.Study, sinks: Sinks, interruption: Interruption,
        group: Group | None = None,
    ) -> "Lab":  # fmt: skip
        """Gives the study its pruner, too."""
        watch = Watch(settings.study.grace_s)
        identity = hashlib.blake2b(json.dumps(study.user_attrs["identity"], sort_keys=True).encode(), digest_size=8).hexdigest()
        judges = rules(settings.health)
        lab = cls(settings, known, speech_of(known.corpus), judges, watch, sinks, interruption, identity, group)
        study.pruner = shipped(settings.budget.kframes, settings.pruner, settings.health, lab.warn)
        return lab

    @property
    def space(self) -> Space:
        return self.known.space

    @property
    def corpus(self) -> Corpus:
        return self.known.corpus

    @property
    def device(self) -> torch.device:
        return self.known.device

    def folder(self, number: int) -> Path:
        return trial_folder(self.settings.folder, number)

    def warn(self, sentence: str) -> None:
        self.warned.add(sentence)
        self.sinks.emit(Warned(sentence))

    def warn_once(self, sentence: str) -> None:
        if sentence not in self.warned:
            self.warn(sentence)
