"""The front door: `tacotune COMMAND ...`, also as `python -m objective COMMAND ...`."""

import sys
from importlib import import_module
from importlib.metadata import version

from objective.runtime.cli import FRONT_DOOR, did_you_mean

COMMANDS = {
    "study": "search for the hyperparameters of a voice, or continue a search",
    "dashboard": "look at studies in a browser",
    "telegram": "report a study to Telegram",
    "steer": "pause or resume a study, or stop one of its trials",
    "export": "write a study as CSV, Parquet or one HTML page",
    "mlflow": "show a study in MLflow",
    "tensorboard": "show a study in TensorBoard",
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
    return int(import_module(f"objective.{name}" if name not in FOLDERS else f"objective.{name}.__main__").main(rest))


FOLDERS = {"dashboard", "telegram"}  # commands with a folder of their own


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
