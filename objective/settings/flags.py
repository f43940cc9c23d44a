"""Flags of the study command, and the setting that each of them fills. Values are checked together with the settings."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model.text.languages import LANGUAGES
from objective.settings.views import VIEWS


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: the dotted name of its setting, its metavar and help, and its value where none is given (`bare`)."""

    key: str
    metavar: str
    help: str
    bare: str | None = None


FLAGS = {
    "--trials": Flag("study.trials", "N", "finished trials in the study, those of earlier commands included (default 50)"),
    "--study": Flag("study.name", "NAME", "name of the study and of its folder (default tacotron2)"),
    "--storage": Flag(
        "study.storage",
        "URL",
        "sqlite:///FILE, postgresql://..., postgres-local[:DIR] or grpc://HOST:PORT (default: a SQLite file under --out)",
    ),
    "--data": Flag("data.path", "PATH", "folder or list of recordings with texts (default: the built-in corpus)"),
    "--language": Flag("data.language", "|".join(LANGUAGES), "language of the texts (default en)"),
    "--space": Flag(
        "study.space", "NAME|FILE", "search space: default, demo, safe, seed, record, none, or a YAML file (default by profile)"
    ),
    "--profile": Flag("profile", "demo|full", "demo or full (default: full with a GPU and --data, else demo)"),
    "--budget-kframes": Flag("budget.kframes", "N", "mel frames, in thousands (kframes), that one trial may train on"),
    "--device": Flag("device", "auto|cpu|cuda", "auto, cpu or cuda (default auto)"),
    "--warm-start": Flag(
        "study.warm_start", "FILE", "checkpoint from which every trial starts: NVIDIA's, NGC's, or best.pt of a trial"
    ),
    "--sampler": Flag("study.sampler", "tpe|gp|random", "tpe, gp or random (default tpe)"),
    "--pruner": Flag("pruner.name", "health|peers|both|none", "health, peers, both or none (default health: the rules alone)"),
    "--workers": Flag("study.workers", "N", "worker processes (default: one for each GPU, times --trials-per-gpu)"),
    "--ray": Flag(
        "study.ray", "HOST:PORT", "place the workers on a Ray cluster; without a value, on the one that runs here", bare="auto"
    ),
    "--trials-per-gpu": Flag("study.trials_per_gpu", "N", "trials that run side by side on one device (default 1)"),
    "--seed": Flag("study.seed", "N", "seed from which every trial's seed follows (default 0)"),
    "--timeout": Flag("study.timeout_s", "SECONDS", "stop the study after this time; the same command continues it"),
    "--until": Flag("study.until", "VALUE", "stop the study once a healthy trial reaches this value"),
    "--migrate": Flag(
        "study.migrate", "NAME", "copy the trials of --study that fit the current space into this new study, and continue there"
    ),
    **{view.flag: Flag(f"watch.{view.name}", view.metavar, view.help, view.bare) for view in VIEWS.values()},
    "--out": Flag("out", "DIR", "folder for everything that is written (default runs)"),
}


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] = FLAGS) -> None:
    """Add these flags to a command's parser."""
    for name in names:
        flag = FLAGS[name]
        bare: dict[str, Any] = {} if flag.bare is None else {"nargs": "?", "const": flag.bare}
        parser.add_argument(name, dest=flag.key, metavar=flag.metavar, help=flag.help, **bare)


def given_flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were typed as flags, --quiet among them, by dotted name."""
    typed = {flag.key: getattr(parsed, flag.key, None) for flag in FLAGS.values()} | {"quiet": parsed.quiet or None}
    return {key: value for key, value in typed.items() if value is not None}
