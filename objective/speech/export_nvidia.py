"""Write a voice as a checkpoint that NVIDIA's Tacotron 2 reads: a program of `export` (objective/export.py)."""

import argparse
import sys
from pathlib import Path

from model import nvidia
from model.errors import BadInput
from model.voice import Voice
from objective.speech.find import load

PRENET_DROPOUT = 0.5  # in NVIDIA's code, whatever a checkpoint was trained with


def run(parsed: argparse.Namespace) -> int:
    """Write the checkpoint, and print what it holds. Raises BadInput for a voice that NVIDIA's code cannot say, and OSError."""
    path: Path = parsed.nvidia
    if not path.absolute().parent.is_dir() or path.is_dir():
        rule = "need a file that can be written, in a folder that exists"
        raise BadInput(f"--nvidia: {rule}, got {path}: make the folder, or choose another file")
    voice, note = load(parsed)
    if voice.language.input != "letters":
        rule = "NVIDIA's program numbers letters, this voice reads phonemes"
        raise BadInput(f"--nvidia: {rule}: export it with --onnx, or train with data.input=letters")
    try:
        nvidia.save(voice.network, path)
    except ValueError as why:
        raise BadInput(f"--nvidia: {why}") from why
    print(f"wrote {path}: {note}")
    for remark in _remarks(voice):
        print(remark, file=sys.stderr)
    return 0


def _remarks(voice: Voice) -> list[str]:
    """Return in what NVIDIA's program would differ, a sentence each."""
    remarks, dropout = [], voice.config.network.prenet_dropout
    if voice.language.code != "en":
        remarks.append(f"its symbols are those of {voice.language.code}: NVIDIA's program cleans and numbers English ones only")
    if dropout != PRENET_DROPOUT:
        remarks.append(f"NVIDIA's prenet drops {PRENET_DROPOUT:.0%} of its features, this voice was trained with {dropout:.0%}")
    return remarks
