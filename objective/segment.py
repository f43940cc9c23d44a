"""Cut long recordings with their transcripts into a corpus that `tacotune study --data FOLDER` takes.

A transcript is plain text, or subtitles (.srt, .vtt). Recordings are cut in pauses only. Each cut is heard, and kept if
what was heard fits its text; the others are listed in refused.csv with the reason. Words are placed by Whisper (--whisper), by
the listener of a corpus in the same voice (--like), or in English by pocketsphinx.
Needs: pip install 'tacotune[segment]'
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_out

SHORTEST_S, LONGEST_S = 1.0, 12.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help="a sound file, of any length")
    parser.add_argument(
        "--text",
        type=Path,
        nargs="+",
        required=True,
        metavar="TRANSCRIPT",
        help="one for each recording, in the same order",
    )
    parser.add_argument("-o", "--folder", type=Path, required=True, metavar="FOLDER", help="the corpus, a new folder")
    parser.add_argument("--language", default="en", metavar="CODE", help="of the transcripts: en or ru (default en)")
    parser.add_argument(
        "--whisper", type=Path, metavar="MODEL", help="folder of weights for faster-whisper, which places words"
    )
    parser.add_argument("--like", type=Path, metavar="CORPUS", help="recordings of the same voice, whose listener places words")
    parser.add_argument(
        "--kframes", type=int, metavar="N", help="kframes that the listener of --like is trained on (default: those of studies)"
    )
    parser.add_argument("--shortest", type=float, default=SHORTEST_S, metavar="S", help=f"seconds (default {SHORTEST_S:g})")
    parser.add_argument("--longest", type=float, default=LONGEST_S, metavar="S", help=f"seconds (default {LONGEST_S:g})")
    parser.add_argument(
        "--most-errors",
        type=float,
        metavar="RATE",
        help="character errors up to which a cut is kept (default: from the errors of all cuts)",
    )
    add_out(parser)


COMMAND = Command("segment", "objective.segmenting.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
