"""Search for the hyperparameters of a Tacotron 2 voice. The same command, typed again, continues a study that was stopped."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from objective.runtime.cli import Command
from objective.settings.flags import add_flags


class TelegramCheck(argparse.Action):
    """Run `telegram --check` instead of the study."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.exit(import_module("objective.telegram.__main__").main(["--check"]))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Every setting can be given with --set, for example --set training.batch_size=64"
    add_flags(parser)
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--telegram-check", action=TelegramCheck, nargs=0, help="test the setup of --telegram with one message")
    parser.add_argument("--quiet", action="store_true", help="finished trials and the closing page only")


COMMAND = Command("study", "objective.workers.session", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
