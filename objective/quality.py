"""Measure a voice on sentences that it was not trained on, beside the recordings of the same sentences.

A voice is a file, or a trial of a study. It says held-out sentences of its recordings; they and the recordings go through the
same vocoder and are heard by the listener of the corpus, by Whisper (--whisper) and by DNSMOS (if speechmos is installed), and
compared in spectrum, pitch and length. Then it says 100 sentences free-running, once each, and what fails is counted.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command
from objective.speak import add_vocoder, add_voice

SENTENCES = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    add_voice(parser)
    add_vocoder(parser)
    parser.add_argument("--data", type=Path, metavar="PATH", help="its recordings (default: those that it or its study names)")
    parser.add_argument(
        "--sentences", type=int, default=SENTENCES, metavar="N", help=f"held-out ones, at most (default {SENTENCES})"
    )
    parser.add_argument("--texts", type=Path, metavar="FILE", help="what it says free-running, a sentence a line")
    parser.add_argument("--whisper", type=Path, metavar="FOLDER", help="a model of faster-whisper, which listens, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page to listen to, the worst sentence first")


COMMAND = Command("quality", "objective.speech.quality.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
