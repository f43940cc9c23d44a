"""Search for a Tacotron 2 that speaks: `python -m objective.study --trials 50`.

Flags, `--set`, a YAML file and the profile fill one tree of settings (objective/settings/schema.py). Exit codes: 0 done, 1 the
machine failed, 2 bad input, 130 interrupted. Nothing heavy is imported before it is needed.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objective.runtime.signals import Interruption
from objective.settings.flags import BARE, FLAGS

if TYPE_CHECKING:
    import optuna

    from model.data.corpus import Corpus
    from model.distributed import Group
    from objective.events.fanout import Sinks
    from objective.settings.schema import Settings
    from objective.trial.context import TrainingData

FIRST_S = 20.0  # that the first of torchrun's processes has to say what is wrong


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(words)
    if parsed.telegram_check:
        from objective.telegram.__main__ import main as reporter

        return reporter(["--check"])
    with Interruption() as interruption:
        try:
            return run(_settings(parsed), words, interruption)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as why:  # to tell what the person and the machine did from a bug of ours, which is raised again
            code, sentence = _judged(why)
            if sentence is None:
                raise
            _say(sentence)
            return code


def _say(sentence: str) -> None:
    """Of torchrun's processes, the first one says it: it ends them all as soon as one has ended, so the others wait for that.

    What is wrong with the machine of another one alone, that one says at last.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        try:
            time.sleep(FIRST_S)
        except KeyboardInterrupt:
            return
    print(sentence, file=sys.stderr)


def _judged(why: Exception) -> tuple[int, str | None]:
    """Exit code and message of what the person or the machine did; no message for a bug of ours."""
    from model.data.problems import CorpusError
    from objective.settings.schema import SettingsError

    if isinstance(why, SettingsError | CorpusError):
        return 2, str(why)
    from objective.runtime.errors import machine_failure  # imports Optuna
    from objective.search.migrate import MigrationRefused
    from storage.errors import StorageError

    if isinstance(why, StorageError | MigrationRefused):
        return 2, str(why)
    failure = machine_failure(why)
    return 1, failure and f"the machine failed: {failure}: mend that, the same command goes on with what the database holds"


def run(settings: "Settings", words: list[str], interruption: Interruption) -> int:
    """Prepare, work, close. Returns the exit code. Raises what `_judged` knows."""
    began = time.monotonic()
    from search_spaces.space import load

    space = load(settings.study.space, settings.config())
    from model.files import remove_stale_parts
    from objective.display.live_console import console
    from objective.display.summary import as_event, best_of, ended, finished
    from objective.events.fanout import Sinks
    from objective.events.log_writer import JsonLines, complete
    from objective.events.types import StudyStarted, Warned
    from objective.search.migrate import migrate
    from objective.search.open_study import identity_of, open_study
    from objective.search.worker import work
    from objective.settings.schema import mask_url
    from objective.trial.context import TrainingData, WorkerContext
    from objective.trial.torchrun import follow, joined
    from objective.views.launcher import Views
    from objective.workers.processes import gpus, how_many, supervise
    from objective.workers.ray_cluster import check, place
    from storage.paths import ARTIFACTS
    from storage.studies import open_storage, stop_retrying

    if settings.study.ray is not None:
        check(settings.head)
    known = TrainingData.of(settings if settings.study.ray is None else settings.model_copy(update={"device": "auto"}), space)
    with joined(known) as group:
        if group is not None and group.rank > 0:
            return follow(settings, known, group)
        storage = open_storage(settings.storage_url, settings.study.database_s)
        identity, moved = identity_of(settings, space, known.corpus, known.pretrained), []
        if settings.study.migrate is not None:
            _, migration = migrate(storage, settings.study.name, settings.study.migrate, space, identity)
            settings, moved = settings.migrated(), migration.told()
        study, notes = open_study(settings, space, identity, storage)
        for folder in ("cache", ARTIFACTS):
            remove_stale_parts(settings.out / folder)
        devices = gpus() if known.device.type == "cuda" else []
        count = 1 if group else how_many(settings, devices)
        with Sinks([JsonLines(settings.folder), console(settings.quiet)]) as sinks:
            about, machine = f"space {space.name}: {space.about}", _device_note(known.device, settings, count, group)
            notes = [*_corpus_notes(known.corpus), about, *moved, *notes, *_donor_notes(known, settings), machine]
            ready = finished(study)
            ours = [trial for trial in ready if "migrated_from" not in trial.user_attrs]
            complete(settings.folder, [as_event(trial, settings.folder, settings.budget.kframes) for trial in ours])
            done, wanted = len(ready), settings.study.trials
            best = best_of(ready)
            leader = None if best is None or best.value is None else (best.value, best.number)
            url = mask_url(settings.storage_url)
            sinks.emit(StudyStarted(settings.study.name, url, settings.folder, wanted, done, tuple(notes), leader))
            interruption.patient = True
            interruption.also = lambda: stop_retrying(storage)
            interruption.allow(settings.study.timeout_s)
            with Views(settings, lambda sentence: sinks.emit(Warned(sentence))) as views:
                if settings.study.ray is not None:
                    end = place(settings, settings.study.workers, settings.head, sinks, interruption)
                elif group is not None or (settings.study.workers is None and count == 1):
                    end = work(study, WorkerContext.of(settings, known, study, sinks, interruption, group))
                else:
                    end = supervise(settings, count, devices, sinks, interruption)
                views.why = end.why
                _note(study, settings, end.early, sinks)
            command = _next_command(words, end.early, study, settings)
            sinks.emit(ended(study, end.why, wanted, settings.budget.kframes, time.monotonic() - began, command))
    return end.code


def _note(study: "optuna.Study", settings: "Settings", early: bool, sinks: "Sinks") -> None:
    """The last notes of a command. What the machine does to them, the next one mends."""
    from objective.display.notes import complete
    from objective.events.types import Warned
    from objective.runtime.errors import MACHINE, machine_failure

    try:
        complete(study, settings.study.trials, settings.budget.kframes, in_a_hurry=early)
    except MACHINE as why:
        if (sentence := machine_failure(why)) is None:
            raise
        sinks.emit(Warned(f"not all notes are written: {sentence}: the next command writes them"))


def _settings(parsed: argparse.Namespace) -> "Settings":
    from objective.settings.resolve import absent, resolve

    flags = {key: getattr(parsed, key) for key, _ in FLAGS.values() if getattr(parsed, key) is not None}
    if parsed.quiet:
        flags["quiet"] = True
    return resolve(parsed.settings, parsed.set, flags, gpu=_gpu(parsed.device), check=absent)


def _gpu(device: str | None) -> bool:
    """Whether the profile may count on a GPU. Asks the driver's file before torch, which takes seconds to load."""
    if device == "cpu" or not (Path("/dev/nvidiactl").exists() or sys.platform == "win32" or Path("/dev/dxg").exists()):
        return False
    import torch

    return torch.cuda.is_available()


def _corpus_notes(corpus: "Corpus") -> list[str]:
    count = f"{len(corpus.train)} utterances to train on, {len(corpus.validation)} to validate"
    return [f"{count}, language {corpus.language.code}", *corpus.remarks, *(str(problem) for problem in corpus.problems)]


def _donor_notes(known: "TrainingData", settings: "Settings") -> tuple[str, ...]:
    """What a network of the settings has of the checkpoint."""
    if known.pretrained is None:
        return ()
    import torch

    from model.tacotron2 import Tacotron2
    from model.warmstart import table_lines, warm_start

    symbols = known.corpus.language.symbols
    config = settings.config(known.space.fixed)
    with torch.device("meta"):
        network = Tacotron2(config.network, len(symbols), config.audio.mel_bands)
    return tuple(table_lines(known.pretrained, warm_start(network, symbols, known.pretrained)))


def _device_note(device: Any, settings: "Settings", count: int, group: "Group | None") -> str:
    import torch

    if settings.study.ray is not None:
        return f"workers placed by Ray, profile {settings.profile}, {settings.budget.kframes} kframes a trial"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    workers = f"{group.size} ranks for each trial, " if group else f"{count} workers, " if count > 1 else ""
    return f"{workers}{name}, profile {settings.profile}, {settings.budget.kframes} kframes a trial"


def _next_command(words: list[str], early: bool, study: "optuna.Study", settings: "Settings") -> str:
    """What to type next: the same again where trials were released, more trials after the end, or a look at the best one."""
    import shlex

    from objective.display.summary import best_trial
    from objective.settings.schema import mask_url

    words = [mask_url(word) for word in words]
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    program = f"{_typed('torchrun')} --nproc-per-node {ranks}" if int(ranks) > 1 else _typed("python")
    if early:
        return f"{program} -m objective.study {shlex.join(words)}".rstrip()
    if best_trial(study) is None:
        kept = [w for i, w in enumerate(words) if not (w.partition("=")[0] == "--trials" or (i and words[i - 1] == "--trials"))]
        return f"{program} -m objective.study {shlex.join([*kept, '--trials', str(settings.study.trials * 2)])}"
    where = ["--out", str(settings.out)]
    if settings.study.storage is not None:
        where += ["--storage", mask_url(settings.storage_url)]
    return f"{_typed('python')} -m objective.dashboard {shlex.join(where)}"


def _typed(program: str) -> str:
    """How to type a program of this environment: by its path, unless the shell finds it by its name."""
    import shutil

    path = Path(sys.executable).with_name(program)
    if not path.exists() or shutil.which(program) == str(path):
        return program
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m objective.study",
        description="Search for the hyperparameters of a Tacotron 2 voice. Typed again after a stop, it goes on.",
        epilog="Every setting can be given with --set, for example --set training.batch_size=64",
        allow_abbrev=False,
    )
    for flag, (key, text) in FLAGS.items():
        bare: dict[str, Any] = {"nargs": "?", "const": BARE[flag]} if flag in BARE else {}
        metavar = flag.lstrip("-").upper().replace("-", "_")
        parser.add_argument(flag, dest=key, default=None, help=text, metavar=metavar, **bare)
    parser.add_argument("--settings", type=Path, default=None, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--telegram-check", action="store_true", help="prove the set-up of --telegram with one message")
    parser.add_argument("--quiet", action="store_true", help="finished trials and the closing table only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
