"""Write a study as a table or one HTML page, or a voice in the form that other programs read. Needs no network to look at.

A table has one row for each report: the trial, every field of the report by its dotted name, how the trial ended, and its
parameters as `param.NAME`. The page holds all trials with their sounds and pictures. Both need the study's folder alone.

A voice is the best trial of a study, or a file: as mels on which a vocoder can be fine-tuned, as ONNX, or as a checkpoint for
NVIDIA's code.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from model.errors import BadInput
from objective.runtime.cli import Command, add_study
from objective.speak import add_voice

TABLES = "objective.views.table_export"
KINDS = {  # by flag: its value, the program, what that does
    "csv": ("FILE", TABLES, "write a row for each report"),
    "parquet": ("FILE", TABLES, "the same, with types"),
    "html": ("FILE", TABLES, "write one page to look at and to listen to"),
    "mels": ("DIR", "objective.speech.export_mels", "write what a voice predicts for each of its recordings, for HiFi-GAN"),
    "onnx": ("DIR", "objective.speech.export_onnx", "write a voice as three ONNX graphs"),
    "nvidia": ("FILE", "objective.speech.export_nvidia", "write a voice as a checkpoint for NVIDIA's Tacotron 2"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind, (value, _, about) in KINDS.items():
        kinds.add_argument(f"--{kind}", type=Path, metavar=value, help=about)
    add_study(parser)
    add_voice(parser)
    parser.add_argument("--data", type=Path, metavar="PATH", help="recordings for --mels (default: those of the voice's study)")


def run(parsed: argparse.Namespace) -> int:
    """Run the program of the kind that was chosen. Raises BadInput for arguments of another kind, and what it raises."""
    kind = next(kind for kind in KINDS if getattr(parsed, kind) is not None)
    value, program, _ = KINDS[kind]
    path: Path = getattr(parsed, kind)
    if program == TABLES and (parsed.voice is not None or parsed.trial is not None):
        raise BadInput(f"--{kind} writes a whole study, got --voice or --trial: name the study with --study")
    if kind != "mels" and parsed.data is not None:
        raise BadInput(f"--{kind} needs no recordings, got --data {parsed.data}: leave it out")
    if value == "DIR" and path.exists() and not path.is_dir():
        raise BadInput(f"--{kind}: need a folder, got {path.absolute()}, which is a file: choose another name")
    parsed.voice = parsed.voice or parsed.study
    return int(import_module(program).run(parsed))


COMMAND = Command("export", "objective.export", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
