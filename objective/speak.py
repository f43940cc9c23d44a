"""Say a text with a voice: the best trial of a study, one of its other trials, or the file of a voice.

The text is an argument, a file, or what is typed, line by line. Long texts are said sentence by sentence, and a sentence with a
fault is said again. `-o -` writes the sound to the standard output while it is made: tacotune speak -o - "..." | aplay
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_out, add_storage


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say (default: the lines of the standard input)")
    parser.add_argument("--file", type=Path, metavar="FILE", help="say the text of this file")
    add_voice(parser)
    add_vocoder(parser)
    parser.add_argument(
        "-o", "--output", default="speech.wav", metavar="FILE", help="sound file to write, - for the standard output"
    )
    parser.add_argument("--mel", type=Path, metavar="FILE", help="write the log-mel as well: float32 (frames, bands), .npy")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="of a sentence with a fault (default 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another one says the same a little differently")
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P", help="probability at which a sentence stops (default 0.5)"
    )
    parser.add_argument("--window", type=int, metavar="N", help="attention moves at most N symbols a step (default: no limit)")


def add_voice(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which voice, and on what it computes."""
    parser.add_argument(
        "--voice",
        metavar="FILE|STUDY",
        help="a voice file, a study (default: the study tacotron2), or registry:NAME, the champion of MLflow's registry",
    )
    parser.add_argument("--trial", type=int, metavar="N", help="a trial of the study (default: the best)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default auto: a GPU if there is one)"
    )
    add_out(parser)
    add_storage(parser)
    add_mlflow(parser)


def add_mlflow(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the registry of voices is."""
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="tracking URI of the registry (default: MLFLOW_TRACKING_URI, else the SQLite file OUT/mlflow.db)",
    )


def add_vocoder(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says what turns its mels into sound."""
    parser.add_argument(
        "--vocoder", default="griffin-lim", metavar="NAME|FILE", help="griffin-lim, or the files of HiFi-GAN or TorchScript"
    )


COMMAND = Command("speak", "objective.speech.say", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
