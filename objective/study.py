"""Search for a Tacotron 2 that speaks: `python -m objective.study --trials 50`.

Flags, `--set`, a YAML file and the profile fill one tree of settings (objective/settings.py). Exit codes: 0 done, 1 the machine
failed, 2 bad input, 130 interrupted. Nothing heavy is imported before it is needed.
"""
import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objective.flags import FLAGS
from objective.interruption import Interruption

if TYPE_CHECKING:
    import optuna

    from model.config import Config
    from model.data.corpus import Corpus
    from model.warmstart import Donor
    from objective.settings import Settings
    from objective.trial import Lab
    from search_spaces.space import Space


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(words)
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
            print(sentence, file=sys.stderr)
            return code


def _judged(why: Exception) -> tuple[int, str | None]:
    """Exit code and message of what the person or the machine did; no message for a bug of ours."""
    from model.data.problems import CorpusError
    from objective.settings import SettingsError

    if isinstance(why, SettingsError | CorpusError | Refused):
        return 2, str(why)
    from objective.failures import machine_failure  # imports Optuna
    from storage.studies import StorageError

    if isinstance(why, StorageError):
        return 2, str(why)
    failure = machine_failure(why)
    return 1, failure and f"the machine failed: {failure}: mend that, the same command goes on with what the database holds"


def run(settings: "Settings", words: list[str], interruption: Interruption) -> int:
    """Prepare, work, close. Returns the exit code. Raises what `_judged` knows."""
    began = time.monotonic()
    from search_spaces.space import load

    space = load(settings.study.space, settings.config())
    import optuna
    import torch

    from model.recurrence import implementation
    from model.trainer import precision
    from objective.board import best_trial, ended, finished
    from objective.companions import Companions
    from objective.data import device_of, donor_of, load_data, speech_of
    from objective.events import StudyStarted, Warned
    from objective.settings import SettingsError, mask_url
    from objective.sinks.console import console
    from objective.sinks.fan import Sinks
    from objective.sinks.jsonl import JsonLines
    from objective.trial import Lab
    from objective.worker import work
    from pruners.compose import rules
    from pruners.shipped import shipped
    from storage.studies import open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = device_of(settings.device)
    try:
        precision(settings.config(), device)
        implementation(settings.network.recurrence, device)
    except ValueError as why:
        raise SettingsError([str(why)]) from why
    donor = donor_of(settings)
    corpus = load_data(settings)
    study, notes = open_study(settings, space, corpus, donor, open_storage(settings.storage_url))
    with Sinks([JsonLines(settings.folder), console(settings.quiet)]) as sinks:
        study.pruner = shipped(
            settings.budget.kframes, settings.pruner, settings.health, lambda sentence: sinks.emit(Warned(sentence))
        )
        lab = Lab(settings, space, corpus, speech_of(corpus), device, rules(settings.health), sinks, interruption, donor)
        about = f"space {space.name}: {space.about}"
        started = _donor_notes(donor, settings.config(space.fixed), corpus) if donor else ()
        notes = [*_corpus_notes(corpus), about, *notes, *started, _device_note(device, settings)]
        url = mask_url(settings.storage_url)
        done, wanted = len(finished(study)), settings.study.trials
        best = best_trial(study)
        known = None if best is None or best.value is None else (best.value, best.number)
        sinks.emit(StudyStarted(settings.study.name, url, settings.folder, wanted, done, tuple(notes), known))
        interruption.patient = True
        with Companions(words, settings.study.trials_per_gpu - 1, settings.folder, sinks) as companions:
            reason = work(study, lab)
            if reason == "interrupted":
                companions.stop()
        command = _next_command(words, reason, study, lab)
        sinks.emit(ended(study, reason, wanted, settings.budget.kframes, time.monotonic() - began, command))
    return 130 if reason == "interrupted" else 0


class Refused(ValueError):
    """The study exists and was made for something else."""


def open_study(
    settings: "Settings", space: "Space", corpus: "Corpus", donor: "Donor | None", storage: "optuna.storages.BaseStorage"
) -> tuple["optuna.Study", list[str]]:
    """Create the study with its recipes enqueued, or load it. Raises Refused where its values would not be comparable."""
    import optuna

    from model.config import Config
    from objective.data import fingerprint

    name = settings.study.name
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _await_identity(study)
    identity = {
        "space": space.fingerprint(),
        "profile": settings.profile,
        "score": settings.objective.score,
        "budget_kframes": settings.budget.kframes,
        "reports": settings.budget.reports,
        "seed": settings.study.seed,
        "corpus": fingerprint(corpus),
        "warm_start": donor and donor.digest,
        "targets": asdict(settings.health.targets),
        **_flat(asdict(settings.config())),
    }
    known = study.user_attrs.get("identity")
    if known is None:
        notes = _enqueue_recipes(study, settings, space)
        study.set_user_attr("settings", settings.dump())
        study.set_user_attr("identity", identity)  # last: it says that the study is ready
        return study, notes
    known = _flat(asdict(Config())) | known  # a knob that did not exist when the study was made had the effect of its default
    differences = space.diff(known["space"])
    differences += [
        f"{name} was {known.get(name)}, it is now {new}"
        for name, new in identity.items()
        if name != "space" and known.get(name) != new
    ]
    if differences:
        listed = "\n".join(f"  {sentence}" for sentence in differences)
        raise Refused(
            f"study {settings.study.name} was made with other settings, its values could not be compared:\n{listed}\n"
            "choose another --study, or type the command it was made with"
        )
    return study, []


def _await_identity(study: "optuna.Study") -> None:
    """Give the worker that may have made the study a moment ago two seconds to enqueue its recipes."""
    from optuna.trial import TrialState

    for _ in range(20):
        if "identity" in study.user_attrs:
            return
        time.sleep(0.1)
    if any(trial.state != TrialState.WAITING for trial in study.trials):
        raise Refused(f"study {study.study_name} was made by another program: choose another --study")


def _flat(config: dict[str, dict[str, Any]]) -> dict[str, Any]:
    flat = {f"{group}.{name}": value for group, knobs in config.items() for name, value in knobs.items()}
    del flat["network.recurrence"]  # how fast, with equal results
    return flat


def _enqueue_recipes(study: "optuna.Study", settings: "Settings", space: "Space") -> list[str]:
    from search_spaces.recipes import load_recipes

    notes = []
    recipes = load_recipes()
    for name in settings.study.recipes:
        params, changes = space.to_trial_params(recipes[name])
        known = {"k": len(study.get_trials(deepcopy=False)), "origin": f"recipe {name}", "changes": changes}
        study.enqueue_trial(params, user_attrs=known, skip_if_exists=True)
        if changes:
            notes.append(f"recipe {name} as the space allows it: {'; '.join(changes)}")
    return notes


def _settings(parsed: argparse.Namespace) -> "Settings":
    from objective.resolve import absent, resolve

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
    return [f"{count}, language {corpus.language}", *corpus.remarks, *(str(problem) for problem in corpus.problems)]


def _donor_notes(donor: "Donor", config: "Config", corpus: "Corpus") -> list[str]:
    """What a network of `config` has of the checkpoint."""
    import torch

    from model.tacotron2 import Tacotron2
    from model.text.symbols import symbols
    from model.warmstart import told, warm_start

    table = symbols(corpus.language)
    with torch.device("meta"):
        network = Tacotron2(config.network, len(table), config.audio.mel_bands)
    return list(told(donor, warm_start(network, table, donor)))


def _device_note(device: Any, settings: "Settings") -> str:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, profile {settings.profile}, {settings.budget.kframes} kframes a trial"


def _next_command(words: list[str], why: str, study: "optuna.Study", lab: "Lab") -> str:
    """What to type next: the same again after an interruption, more trials after the end, or a look at the best one."""
    import shlex

    from objective.board import best_trial
    from objective.settings import mask_url

    words = [mask_url(word) for word in words]
    if why != "finished":
        return f"{_typed('python')} -m objective.study {shlex.join(words)}".rstrip()
    if best_trial(study) is None:
        kept = [w for i, w in enumerate(words) if not (w.startswith("--trials") or (i and words[i - 1] == "--trials"))]
        return f"{_typed('python')} -m objective.study {shlex.join([*kept, '--trials', str(lab.settings.study.trials * 2)])}"
    return f"{_typed('optuna-dashboard')} {shlex.quote(mask_url(lab.settings.storage_url))}"


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
        parser.add_argument(flag, dest=key, default=None, help=text, metavar=flag.lstrip("-").upper().replace("-", "_"))
    parser.add_argument("--settings", type=Path, default=None, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="finished trials and the closing table only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
