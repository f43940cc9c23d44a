"""The front door: `tacotune COMMAND ...`, also as `python -m objective COMMAND ...`."""

import sys
from importlib import import_module
from importlib.metadata import version

from objective.runtime.cli import FRONT_DOOR, Command, add_view, did_you_mean
from objective.settings.views import VIEWS

COMMANDS = {
    "study": "search for the hyperparameters of a voice, or continue a search",
    **{view.name: view.about for view in VIEWS.values()},
    "check": "look at a corpus before anything is trained on it",
    "train": "train the best configuration of a study for long, into one file: a voice",
    "speak": "say a text with a voice",
    "quality": "measure a voice on sentences that it was not trained on",
    "compare": "tell whether two configurations, with several seeds of each, or two voices differ",
    "segment": "cut long recordings with their transcripts into a corpus",
    "serve": "serve a voice over HTTP",
    "registry": "keep the versions of a voice in MLflow, and choose the one that is served",
    "steer": "pause or resume a study, or stop one of its trials",
    "export": "write a study as a table or a page, or a voice for other programs",
    "cleanup": "delete snapshots that a study no longer needs",
    "proxy": "serve a database to many workers",
    "record": "record whole learning curves of random configurations",
    "replay": "judge pruners on recorded learning curves",
}


def main(arguments: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"{FRONT_DOOR} {version(FRONT_DOOR)}")
        return 0
    if name not in COMMANDS:
        print(f"{FRONT_DOOR}: unknown command {name}{did_you_mean(name, COMMANDS)}; see {FRONT_DOOR} --help", file=sys.stderr)
        return 2
    view = VIEWS.get(name)
    if view is not None and not view.command:
        return Command(name, view.program, view.about, add_view).main(rest)
    return int(import_module(f"objective.{name}" if view is None else view.command).main(rest))


def usage() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {about}" for name, about in COMMANDS.items())
    return (
        f"usage: {FRONT_DOOR} COMMAND ...\n\n"
        f"Search for the hyperparameters of a Tacotron 2 voice.\n\n{rows}\n\n"
        f"`{FRONT_DOOR} COMMAND --help` describes a command, `{FRONT_DOOR} --version` prints the version."
    )


if __name__ == "__main__":
    sys.exit(main())
