"""Find the speech in a recording, and so its pauses, by silero-vad: a small network whose weights come with its package."""

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np
import torch

from model.errors import BadInput
from objective.segmenting.recording import Recording

RATE_HZ, WINDOW = 16_000, 512  # samples that silero-vad judges at once
PAUSE_S = 0.15  # the shortest pause that may be cut: the silence before a p or t is shorter
STRETCH_S = 20.0  # of neighbouring speech that is heard at once: a recogniser needs context, and memory for it


class Span(NamedTuple):
    """Speech without a pause, in seconds of its recording."""

    start_s: float
    end_s: float


def find_speech(recording: Recording, progress: Callable[[float, float], None]) -> list[Span]:
    """Return the speech of a recording, in order. `progress` is called with (seconds done, in total). Raises BadInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit's, which is deprecated
            silero = import_module("silero_vad")
            network = silero.load_silero_vad()
    except ImportError as why:
        raise BadInput("need silero-vad to find pauses, which is not installed: pip install 'tacotune[segment]'") from why
    speech: list[float] = []
    rest = np.zeros(0, np.float32)
    network.reset_states()
    with torch.no_grad():
        for block in recording.blocks(RATE_HZ):
            rest = np.concatenate([rest, block])
            whole = len(rest) // WINDOW
            for window in torch.from_numpy(rest[: whole * WINDOW]).reshape(-1, WINDOW):
                speech.append(float(network(window, RATE_HZ)))
            rest = rest[whole * WINDOW :]
            progress(min(len(speech) * WINDOW / RATE_HZ, recording.seconds), recording.seconds)
    found = import_module("silero_vad.utils_vad").get_speech_timestamps_from_probs(
        speech, sampling_rate=RATE_HZ, min_silence_duration_ms=int(1_000 * PAUSE_S), speech_pad_ms=0
    )
    return [Span(one["start"] / RATE_HZ, min(one["end"] / RATE_HZ, recording.seconds)) for one in found]


def stretches(spans: Sequence[Span], longest_s: float = STRETCH_S) -> list[range]:
    """Divide spans, by their indices, into runs of at most `longest_s` with their pauses; a longer span is alone."""
    found: list[range] = []
    for index, span in enumerate(spans):
        if found and span.end_s - spans[found[-1].start].start_s <= longest_s:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found
