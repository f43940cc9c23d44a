"""Train one voice for long: the program of `train` (objective/train.py), a study of one trial that repairs itself."""

import argparse
import hashlib
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.errors import BadInput
from model.files import atomic_write
from model.voice import Voice
from objective.runtime.cli import as_typed
from objective.settings.device import probe
from objective.settings.flags import given_flags
from objective.settings.resolve import absent, flattened, resolve
from objective.settings.schema import Settings, mask_url
from objective.workers.session import Session, run_session
from objective.workers.source import UNSEARCHED, source_of_settings, source_of_trial
from storage.lookup import existing_study
from storage.outcome import finished
from storage.paths import BEST, OUT, trial_folder, url_of

LONGER = 4  # times the budget of a trial
REPORTS = 48  # twice those of a trial: what diverges is found sooner
START = "start.pt"  # the weights that a training started from
VOICE = "voice.pt"

# What makes a study one training, which repairs itself.
ONE_TRIAL: dict[str, Any] = {
    **UNSEARCHED,
    "study.trials": 1,
    "study.workers": None,
    "study.trials_per_gpu": 1,
    "rescue.rollbacks": 3,
    "training.average": 0.999,
    "disk.keep_pruned": True,  # one that ends with a diagnosis keeps its best weights, too
    **{f"health.{rule}.patience_share": 0.03 for rule in ("grad_norm", "progress", "relapse")},
}
SAFE: dict[str, Any] = {
    "training.learning_rate": 1e-4,
    "training.clip_norm": 1.0,
    "training.precision": "fp32",
    "training.batch_size": 8,
    "training.batch_frames": 0,
}

OF_A_COMMAND = ("out", "study.storage", "study.timeout_s", "device", "quiet")  # settings that a continuation does not inherit


def run(parsed: argparse.Namespace) -> int:
    """Train, and write the voice; return the exit code. Raises BadInput, KeyboardInterrupt and the machine's errors."""
    _check(parsed)
    out, storage = Path(parsed.out or OUT), getattr(parsed, "study.storage")
    settings_of = _resumed if parsed.resume else _started
    return run_session(lambda: settings_of(parsed, out, storage), parsed.typed, "train", _write_voice)


def _check(parsed: argparse.Namespace) -> None:
    mistakes = []
    if parsed.resume and parsed.name is None:
        mistakes.append("--continue: need --name, the training to continue, got none")
    if parsed.scratch and parsed.warm_start is not None:
        mistakes.append("need one start, got both --scratch and --warm-start: leave one out")
    if parsed.settings is not None and parsed.trial is not None:
        mistakes.append("need one source, got both --settings and --trial: leave one out")
    if mistakes:
        raise BadInput("\n".join(mistakes))


def _started(parsed: argparse.Namespace, out: Path, storage: str | None) -> Settings:
    """Return the settings of a new training, or of the same one again."""
    file = parsed.settings
    source = source_of_settings(file) if file else source_of_trial(parsed.study, parsed.trial, out, storage)
    name = parsed.name or f"{source.name}-voice"
    weights = None if parsed.scratch else parsed.warm_start or source.weights
    start = source.settings | ONE_TRIAL | (SAFE if parsed.safe else {})
    if source.settings.get("budget.kframes"):
        start["budget.kframes"] = LONGER * source.settings["budget.kframes"]
    budget = str(getattr(parsed, "budget.kframes") or start.get("budget.kframes"))
    start["budget.reports"] = min(REPORTS, int(budget)) if budget.isdecimal() and int(budget) else REPORTS
    kept = out / name / START
    flags = _flags(parsed) | {"study.name": name, "study.warm_start": None if weights is None else str(kept)}
    gpu = flags.get("device") != "cpu" and bool(probe().usable)
    # The weights are copied once all else is known to be right.
    settings = resolve(None, parsed.set, flags, gpu=gpu, start=start, check=lambda found: _absent(found, weights))
    if weights is not None:
        _keep_start(weights, kept, name)
    origin = "random weights" if weights is None else f"the weights of {weights}"
    print(f"training {name}, {source.note}, from {origin}", file=sys.stderr)
    return settings


def _resumed(parsed: argparse.Namespace, out: Path, storage: str | None) -> Settings:
    """Return the settings with which the training --name was started."""
    study = existing_study(url_of(storage, out), parsed.name)
    stored = flattened(study.user_attrs["settings"])
    if not stored.get("rescue.rollbacks"):
        raise BadInput(f"--continue: need a training, got the study {parsed.name}: leave --continue out, or name a training")
    stored = {key: value for key, value in stored.items() if key not in OF_A_COMMAND}
    flags = _flags(parsed) | {"study.name": parsed.name}
    gpu = flags.get("device") != "cpu" and bool(probe().usable)
    return resolve(None, parsed.set, flags, gpu=gpu, start=stored, check=absent)


def _absent(settings: Settings, weights: Path | None) -> Any:
    """Find what is missing on this machine; the weights are looked for where they are, not where they will be kept."""
    study = settings.study.model_copy(update={"warm_start": weights})
    return absent(settings.model_copy(update={"study": study}))


def _keep_start(weights: Path, kept: Path, name: str) -> None:
    """Copy the weights into the training's folder: the trial that they are from may lose them. Raises BadInput for others."""
    digest = _digest(weights)
    if kept.exists():
        if _digest(kept) != digest:
            rule = f"need a new name, got {name}, which was started from other weights"
            raise BadInput(f"{rule}: choose --name, or type --name {name} --continue to continue that one")
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept) as part:
        shutil.copyfile(weights, part)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _flags(parsed: argparse.Namespace) -> dict[str, Any]:
    return given_flags(parsed) | ({"watch.telegram": True} if parsed.notify else {})


def _write_voice(session: Session) -> tuple[str, ...]:
    """Write the voice of a finished training, with its listener; return the command to type next: one that speaks."""
    settings, numbers = session.settings, [trial.number for trial in finished(session.study)]
    best = trial_folder(settings.folder, numbers[-1]) / BEST if numbers else None
    if best is None or not best.exists():  # it diverged before there was anything to keep
        again = [mask_url(argument) for argument in session.typed]
        if not numbers or "--safe" in again or "--continue" in again:
            return ()
        return (f"{as_typed('train')} {shlex.join([*again, '--safe', '--name', f'{settings.study.name}-safe'])}",)
    voice = replace(Voice.load(best), listener=session.data.ears.listener if session.data.ears.hears else None)
    path = voice.save(settings.folder / VOICE)
    text = session.study.trials[numbers[-1]].user_attrs.get("free_text", "...")
    return (f"{as_typed('speak')} {shlex.join(['--voice', str(path), text])}",)
