"""Judges that know nothing of a corpus: Whisper writes down what it hears, DNSMOS says how natural it sounds. Both optional."""

import hashlib
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.errors import BadInput
from model.listener import error_rate, spelled
from model.text.languages import Language

Floats = NDArray[np.float32]

RATE_HZ = 16_000  # of the waves that both take
PAUSE_S = 0.5  # before and after a sentence: Whisper misses words at the very ends of a sound
TOKENS = 224  # at most in a sentence, half of Whisper's context: a voice that never stops would be transcribed for ever
HOW_TO = {
    "whisper": "need faster-whisper for --whisper, which is not installed: pip install faster-whisper, or leave --whisper out",
    "dnsmos": "DNSMOS is not measured: pip install speechmos onnxruntime",
}


class Whisper(NamedTuple):
    """A model of Whisper: what it is called, the SHA-256 of its weights, and what it writes of a wave (S,) at RATE_HZ."""

    name: str
    digest: str
    write: Callable[[Floats], str]


class Dnsmos(NamedTuple):
    """DNSMOS (Reddy et al. 2022): which version, and its overall score from 1 to 5 of a wave (S,) at RATE_HZ."""

    name: str
    score: Callable[[Floats], float]


def whisper(folder: Path, language: Language, threads: int = 1) -> Whisper:
    """Load faster-whisper with the model in a folder. Raises BadInput where one of them is missing."""
    try:
        faster_whisper = import_module("faster_whisper")
    except ImportError as why:
        raise BadInput(HOW_TO["whisper"]) from why
    weights = folder / "model.bin"
    if not weights.is_file():
        raise BadInput(f"need the folder of a model of faster-whisper, got {folder}, without model.bin: choose another folder")
    model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=threads)
    silence = np.zeros(int(PAUSE_S * RATE_HZ), np.float32)

    def write(wave: Floats) -> str:
        segments, _ = model.transcribe(
            np.concatenate([silence, wave, silence]),
            language=language.code,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=TOKENS,
        )
        return " ".join(segment.text.strip() for segment in segments)

    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Whisper(f"whisper {folder.name}", digest, write)


def dnsmos() -> Dnsmos | None:
    """Load DNSMOS; None where speechmos or onnxruntime is not installed."""
    try:
        model = import_module("speechmos.dnsmos")
    except ImportError:
        return None
    return Dnsmos(
        f"speechmos {metadata.version('speechmos')}",
        lambda wave: float(model.run(np.clip(wave, -1, 1), RATE_HZ)["ovrl_mos"]),
    )


def misheard_share(text: str, heard: str, language: Language) -> float:
    """Return the character error rate of what was written down of a cleaned text, at most 1. Both are compared as letters."""
    return min(1.0, error_rate([as_read(text, language)], [as_read(heard, language)]))


def as_read(text: str, language: Language) -> str:
    """Return the letters of a text as they are read: numbers as words, no case, and ё, which few write, as е."""
    return spelled(language.clean(text), language).replace("ё", "е")
