"""The data and services that all trials of a worker share, made from the settings."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import optuna
import torch

from model import selftest
from model.data.corpus import Corpus
from model.distributed import Group
from model.recurrence import implementation
from model.selftest import Abilities
from model.trainer import Speech, precision
from model.warmstart import Pretrained
from objective.events.fanout import Sinks
from objective.events.types import Warned
from objective.runtime.signals import Interruption
from objective.settings.device import device_of
from objective.settings.schema import Settings, SettingsError
from objective.trial.corpus import load_data, load_listener, load_pretrained, speech_of
from objective.trial.ears import Ears
from objective.trial.judge import Judge
from pruners.decision import Rule
from pruners.factory import make_pruner
from pruners.rules import shipped_rules
from search_spaces.space import Space
from storage.leases import Watch
from storage.paths import trial_folder

DRAWN = 64  # configurations of the space whose sizes the self-test of a GPU checks


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The search space, the corpus, the device, and the checkpoint to start from."""

    space: Space
    corpus: Corpus
    device: torch.device
    abilities: Abilities  # how updates run on it
    pretrained: Pretrained | None  # every trial starts from it
    speech: Speech
    ears: Ears  # the listener that judges every trial

    @classmethod
    def of(cls, settings: Settings, space: Space) -> "TrainingData":
        """Load all of it. Raises SettingsError for what cannot be trained here, CorpusError for the recordings."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = device_of(settings.device)
        if device.type == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun starts a rank for each GPU
            device, count = torch.device("cuda", int(os.environ["LOCAL_RANK"])), torch.cuda.device_count()
            if device.index >= count:
                rule = f"need at most one process of torchrun for each GPU, got process {device.index + 1} with {count} GPUs"
                raise SettingsError([f"{rule}: start it with --nproc-per-node {count}"])
        try:
            dtype = precision(settings.config(), device)
            implementation(settings.network.recurrence, device)
            drawn = [settings.config(space.sample(Random(seed))) for seed in range(DRAWN)]
            able = selftest.abilities([settings.config(), *drawn], dtype, device)
        except ValueError as why:
            raise SettingsError([str(why)]) from why
        pretrained, corpus = load_pretrained(settings), load_data(settings)
        speech = speech_of(corpus)
        return cls(space, corpus, device, able, pretrained, speech, load_listener(settings, corpus, speech, device))


def judge_of(settings: Settings, data: TrainingData) -> Judge:
    """Return the judge of all trials of these settings."""
    hop_s = settings.audio.hop_samples / settings.audio.rate_hz
    return Judge(data.corpus, data.speech, data.ears, hop_s, settings.health.targets.mumbled, data.device)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The settings, data and services that all trials of a worker share."""

    settings: Settings
    data: TrainingData
    judge: Judge
    rules: tuple[Rule, ...]
    watch: Watch
    sinks: Sinks
    interruption: Interruption
    identity: str = ""  # a hash of the study's identity: snapshots of another study are not used
    group: Group | None = None  # the other ranks that train along
    warned: set[str] = field(default_factory=set)  # sentences that were shown already

    @classmethod
    def of(
        cls, settings: Settings, data: TrainingData, study: optuna.Study, sinks: Sinks, interruption: Interruption,
        group: Group | None = None,
    ) -> "WorkerContext":  # fmt: skip
        """Create the context, and give the study its pruner."""
        watch = Watch(settings.study.grace_s)
        identity = hashlib.blake2b(json.dumps(study.user_attrs["identity"], sort_keys=True).encode(), digest_size=8).hexdigest()
        rules = shipped_rules(settings.health)
        context = cls(settings, data, judge_of(settings, data), rules, watch, sinks, interruption, identity, group)
        budget, score = settings.budget.total_kframes, settings.objective.score
        study.pruner = make_pruner(budget, settings.pruner, settings.health, context.warn, score)
        return context

    @property
    def space(self) -> Space:
        return self.data.space

    @property
    def corpus(self) -> Corpus:
        return self.data.corpus

    @property
    def speech(self) -> Speech:
        return self.data.speech

    @property
    def device(self) -> torch.device:
        return self.data.device

    def folder(self, number: int) -> Path:
        return trial_folder(self.settings.folder, number)

    def warn(self, sentence: str) -> None:
        self.warned.add(sentence)
        self.sinks.emit(Warned(sentence))

    def warn_once(self, sentence: str) -> None:
        if sentence not in self.warned:
            self.warn(sentence)
