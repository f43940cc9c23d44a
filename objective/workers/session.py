"""Run one `study` command: open the study, work on it, and print the closing page."""

import argparse
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence

import optuna
import torch

from model.data.corpus import Corpus
from model.distributed import Group
from model.files import remove_stale_parts
from model.tacotron2 import Tacotron2
from model.warmstart import table_lines, warm_start
from objective.display import notes
from objective.display.live_console import console
from objective.display.summary import as_event, ended
from objective.events.fanout import Sinks
from objective.events.log_writer import JsonLines, complete
from objective.events.types import StudyStarted, Warned
from objective.runtime.cli import as_typed, in_this_environment
from objective.runtime.errors import MACHINE, machine_failure
from objective.runtime.signals import Interruption, StopNotice
from objective.search.migrate import migrate
from objective.search.open_study import identity_of, open_study
from objective.search.stopping import StopReason
from objective.search.worker import work
from objective.settings.budget import described, settled
from objective.settings.device import obstacle, probe
from objective.settings.flags import given_flags
from objective.settings.resolve import absent, resolve
from objective.settings.schema import Settings, mask_url
from objective.trial.context import TrainingData, WorkerContext
from objective.trial.torchrun import follow, process_group
from objective.views.launcher import Views, how_to_open
from objective.workers.processes import gpus, how_many, sharing, supervise
from objective.workers.ray_cluster import check_cluster, place_workers
from search_spaces.space import load
from storage.outcome import best_of, best_trial, finished
from storage.paths import ARTIFACTS
from storage.studies import open_storage, stop_retrying


def run(parsed: argparse.Namespace) -> int:
    """Run the study of the arguments; return the exit code. Raises BadInput, KeyboardInterrupt and the machine's errors."""
    return run_session(lambda: _settings(parsed), parsed.typed)


def run_session(
    settings_of: Callable[[], Settings],
    typed: list[str],
    command: str = "study",
    finish: Callable[["Session"], tuple[str, ...]] = lambda session: (),
) -> int:
    """Run a command that works on a study; return its exit code.

    typed: its arguments. finish: called once the work is done, before the closing page; returns the commands to type next,
    or none for those of a study.
    """
    with Interruption() as interruption:
        settings = settings_of()
        space = load(settings.study.space, settings.config())
        if settings.study.ray is not None:
            check_cluster(settings.head)
        data = TrainingData.of(
            settings if settings.study.ray is None else settings.model_copy(update={"device": "auto"}), space
        )
        settings = settled(settings, data.corpus)
        with process_group(data) as group:
            if group is not None and group.rank > 0:
                return follow(data, group)
            return Session(settings, data, group, typed, interruption, command, finish).run()


class Session:
    """The study of one command, with its database, displays and workers."""

    def __init__(
        self, settings: Settings, data: TrainingData, group: Group | None, typed: list[str], interruption: Interruption,
        command: str, finish: Callable[["Session"], tuple[str, ...]],
    ) -> None:  # fmt: skip
        """group: all ranks, where torchrun started several processes. command, typed, finish: see `run_session`."""
        self.began = time.monotonic()
        self.command, self.finish = command, finish
        self.settings, self.data, self.group, self.typed, self.interruption = settings, data, group, typed, interruption
        self.devices = gpus() if data.device.type == "cuda" else []
        self.workers = 1 if group else how_many(settings, self.devices)

    def run(self) -> int:
        """Open the study, work on it, and close it; return the exit code."""
        study, storage, opening = self._open()
        self.study = study
        settings = self.settings
        for folder in ("cache", ARTIFACTS):
            remove_stale_parts(settings.out / folder)
        with Sinks([JsonLines(settings.folder), console(settings.quiet)]) as sinks:
            self._start(study, how_to_open(settings, storage.get_study_id_from_name(study.study_name)), opening, sinks)
            self.interruption.graceful = True
            self.interruption.on_request = lambda: stop_retrying(storage)
            self.interruption.stop_after(settings.study.timeout_s)
            with Views(settings, lambda sentence: sinks.emit(Warned(sentence))) as views:
                with StopNotice(self.interruption):
                    end = self._work(study, sinks)
                views.why = end.reason
                _complete_notes(study, settings, end.early, sinks)
                commands = (() if end.early else self.finish(self)) or self._next_commands(end.early)
                seconds, wanted, kframes = time.monotonic() - self.began, settings.study.trials, settings.budget.total_kframes
                sinks.emit(ended(study, end.reason, wanted, kframes, seconds, commands, settings.study.unaligned))
        return end.code

    def _open(self) -> tuple[optuna.Study, optuna.storages.BaseStorage, list[str]]:
        """Create, load or migrate the study; return it, its storage, and remarks for the user."""
        settings, data = self.settings, self.data
        storage = open_storage(settings.storage_url, settings.study.database_s)
        identity, remarks = identity_of(settings, data.space, data.corpus, data.pretrained), []
        if settings.study.migrate is not None:
            _, migration = migrate(storage, settings.study.name, settings.study.migrate, data.space, identity)
            self.settings, remarks = settings.migrated(), migration.summary()
        study, more_remarks = open_study(self.settings, data.space, identity, storage)
        return study, storage, [*remarks, *more_remarks]

    def _start(self, study: optuna.Study, views: tuple[str, ...], opening: Sequence[str], sinks: Sinks) -> None:
        """Complete the log of earlier commands, and show the study with notes on corpus, space and device."""
        settings = self.settings
        done = finished(study)
        own = [trial for trial in done if "migrated_from" not in trial.user_attrs]
        complete(settings.folder, [as_event(trial, settings.folder, settings.budget.total_kframes) for trial in own])
        best = best_of(done)
        sinks.emit(
            StudyStarted(
                name=settings.study.name,
                storage=mask_url(settings.storage_url),
                folder=settings.folder,
                wanted=settings.study.trials,
                finished=len(done),
                notes=(
                    *_corpus_notes(self.data.corpus),
                    self.data.ears.note,
                    f"space {self.data.space.name}: {self.data.space.about}",
                    *opening,
                    *_pretrained_notes(self.data, settings),
                    *_gpu_notes(settings, self.workers, self.devices),
                    self._device_note(),
                    *self.data.abilities.notes,
                    described(settings, self.data.corpus),
                ),
                best=None if best is None or best.value is None else (best.value, best.number),
                views=views,
                workers=settings.study.workers or 1 if settings.study.ray else self.workers,
            )
        )

    def _work(self, study: optuna.Study, sinks: Sinks) -> StopReason:
        """Run the workers: on a Ray cluster, in this process, or in processes of their own."""
        settings, interruption = self.settings, self.interruption
        if settings.study.ray is not None:
            return place_workers(settings, settings.study.workers, settings.head, sinks, interruption)
        if self.group is not None or (settings.study.workers is None and self.workers == 1):
            return work(study, WorkerContext.of(settings, self.data, study, sinks, interruption, self.group))
        return supervise(settings, self.workers, self.devices, sinks, interruption)

    def _device_note(self) -> str:
        settings, device = self.settings, self.data.device
        if settings.study.ray is not None:
            return f"workers placed by Ray, profile {settings.profile}"
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        ranks = f"{self.group.size} ranks for each trial, " if self.group else ""
        workers = f"{self.workers} workers, " if self.workers > 1 else ""
        return f"{ranks}{workers}{name}, profile {settings.profile}"

    def _next_commands(self, early: bool) -> tuple[str, ...]:
        """The commands to type next: the same if it was stopped, more trials where none is healthy, else those for a voice."""
        typed, settings = [mask_url(argument) for argument in self.typed], self.settings
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        command = as_typed(self.command)
        if ranks > 1:
            command = f"{in_this_environment('torchrun')} --nproc-per-node {ranks} -m objective.{self.command}"
        if early or self.command != "study":
            return (f"{command} {shlex.join(typed)}".rstrip(),)
        best = best_trial(self.study)
        if best is None:
            more = [*_without(typed, "--trials"), "--trials", str(settings.study.trials * 2)]
            return (f"{command} {shlex.join(more)}",)
        where = ["--out", str(settings.out)]
        if settings.study.storage is not None:
            where += ["--storage", mask_url(settings.storage_url)]
        name, text = self.study.study_name, best.user_attrs.get("free_text", "...")
        return (
            f"{as_typed('speak')} {shlex.join(['--voice', name, *where, text])}",
            f"{as_typed('train')} {shlex.join(['--study', name, *where])}",
        )


def _settings(parsed: argparse.Namespace) -> Settings:
    flags = given_flags(parsed)
    gpu = flags.get("device") != "cpu" and bool(probe().usable)
    return resolve(parsed.settings, parsed.set, flags, gpu=gpu, check=absent)


def _complete_notes(study: optuna.Study, settings: Settings, early: bool, sinks: Sinks) -> None:
    """Write the dashboard's missing notes. Where the machine prevents it, the next command writes them."""
    try:
        notes.complete(study, settings.study.trials, settings.budget.total_kframes, study_only=early)
    except MACHINE as why:
        if (sentence := machine_failure(why)) is None:
            raise
        sinks.emit(Warned(f"some notes are missing: {sentence}: the next command writes them"))


def _corpus_notes(corpus: Corpus) -> list[str]:
    count = f"{len(corpus.train)} utterances to train on, {len(corpus.validation)} to validate"
    return [f"{count}, language {corpus.language.code}", *corpus.remarks, *(str(problem) for problem in corpus.problems)]


def _pretrained_notes(data: TrainingData, settings: Settings) -> tuple[str, ...]:
    """Notes on what a network of these settings copies from the checkpoint of --warm-start."""
    if data.pretrained is None:
        return ()
    symbols = data.corpus.language.symbols
    config = settings.config(data.space.fixed)
    with torch.device("meta"):
        network = Tacotron2(config.network, len(symbols), config.audio.mel_bands)
    return tuple(table_lines(data.pretrained, warm_start(network, symbols, data.pretrained)))


def _gpu_notes(settings: Settings, workers: int, devices: Sequence[str]) -> Iterator[str]:
    """Say why a GPU that is there is not used, or how several workers use one better. Ray's workers have other machines."""
    if settings.study.ray is None:
        if settings.device == "auto" and (unused := obstacle(probe())):
            yield f"training on the CPU: {unused}"
        if shared := sharing(workers, devices):
            yield shared


def _without(arguments: list[str], flag: str) -> list[str]:
    """The arguments without a flag and its value, written `--flag VALUE` or `--flag=VALUE`."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] != flag:
            kept.append(argument)
        skip = not skip and argument == flag
    return kept
