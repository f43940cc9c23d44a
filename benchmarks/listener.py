"""Measure the listener: what it hears in recordings that it was not trained on, and in speech that says something else.

    python -m benchmarks.listener [--data FOLDER --language ru] [--kframes 1000]

Without --data, the built-in corpora. Prints a table in Markdown. `mumbled` is a mel smeared over 0.14 s, about two letters.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.loading import Example
from model.listener import train_listener
from objective.settings.resolve import resolve
from objective.trial.corpus import load_data, speech_of
from objective.trial.ears import SEED, errors_of

Mel = NDArray[np.float32]
SMEARED = 12  # frames
CPU = torch.device("cpu")
KINDS: dict[str, Callable[[Mel], Mel]] = {
    "recordings": lambda mel: mel,
    "half missing": lambda mel: mel[: len(mel) // 2],
    "said twice": lambda mel: np.concatenate([mel, mel]),
    "reversed": lambda mel: mel[::-1].copy(),
    "mumbled": lambda mel: _smeared(mel),
}


def _smeared(mel: Mel) -> Mel:
    window = np.ones(SMEARED, np.float32) / SMEARED
    return np.stack([np.convolve(band, window, "same") for band in mel.T], 1).astype(np.float32)


def row(name: str, given: dict[str, object], kframes: float) -> str:
    """Train a listener and return its row of the table."""
    settings = resolve(None, [], {"profile": "demo", "device": "cpu", "quiet": True, **given}, gpu=False)
    corpus = load_data(settings)
    speech = speech_of(corpus)
    began = time.process_time()
    listener = train_listener(corpus, speech.train, kframes, CPU, SEED)
    seconds = time.process_time() - began
    rates = []
    for change in KINDS.values():
        changed = [Example(one.ids, change(np.array(one.mel))) for one in speech.validation]
        rates.append(errors_of(listener, corpus, replace(speech, validation=changed), CPU))
    minutes = sum(utterance.sound.seconds for utterance in corpus.train) / 60
    return f"| {name} | {minutes:.0f} | {kframes:g} | {seconds:.0f} | {' | '.join(f'{rate:.3f}' for rate in rates)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of recordings instead of the built-in corpora")
    parser.add_argument("--language", default="en")
    parser.add_argument("--kframes", type=float, default=1_000)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| corpus | minutes of speech | kframes | CPU seconds | {' | '.join(KINDS)} |")
    print("|---|---|---|---|" + "---|" * len(KINDS))
    if parsed.data:
        given: dict[str, object] = {"data.path": parsed.data, "data.language": parsed.language, "out": parsed.out}
        print(row(Path(parsed.data).name, given, parsed.kframes), flush=True)
        return
    for kind in ("matrix", "general"):
        for code in ("en", "ru"):
            utterances = 360 if kind == "matrix" else 288
            given = {"data.demo": kind, "data.language": code, "data.demo_utterances": utterances, "out": parsed.out}
            print(row(f"{kind} {code}", given, parsed.kframes), flush=True)


if __name__ == "__main__":
    main()
