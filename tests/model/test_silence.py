"""Speech is found between silence, noise and clicks, whatever follows it in a batch."""

import numpy as np
import pytest
import torch

from model.audio import log_mel
from model.config import Audio
from model.silence import longest_pause, sounding

AUDIO = Audio()
HOP_S = AUDIO.hop_samples / AUDIO.rate_hz
SPEECH_S = 1.0
RMS = 0.1


def speech(seconds: float = SPEECH_S) -> np.ndarray:
    """Return a buzz that rises and falls four times a second, with a soft sound of 60 ms, 27 dB weaker, at its end."""
    time = np.arange(int(seconds * AUDIO.rate_hz)) / AUDIO.rate_hz
    wave = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 30)) * (0.55 + 0.45 * np.cos(8 * np.pi * time))
    soft = np.random.default_rng(1).normal(size=int(0.06 * AUDIO.rate_hz)) * 10 ** (-27 / 20)
    return RMS * np.concatenate([wave / wave.std(), soft])


def noise(seconds: float, db: float) -> np.ndarray:
    """Return white noise `db` below the speech."""
    return RMS * 10 ** (-db / 20) * np.random.default_rng(0).normal(size=int(seconds * AUDIO.rate_hz))


def click(behind_s: float, seconds: float = 0.015) -> np.ndarray:
    """Return silence of 0.6 s with a click in it."""
    wave = np.zeros(int(0.6 * AUDIO.rate_hz))
    start = int(behind_s * AUDIO.rate_hz)
    wave[start : start + int(seconds * AUDIO.rate_hz)] = RMS
    return wave


def found(*parts: np.ndarray) -> tuple[float, float]:
    """Return where the speech of concatenated waves begins and ends, in seconds."""
    mel = torch.from_numpy(log_mel(np.concatenate(parts).clip(-1, 1).astype(np.float32), AUDIO))
    first, last = sounding(mel[None], torch.tensor([len(mel)]))
    return float(first) * HOP_S, float(last) * HOP_S


BEHIND = {
    "nothing": np.zeros(0),
    "silence": np.zeros(AUDIO.rate_hz),
    "noise 45 dB below": noise(0.6, 45),
    "noise 30 dB below": noise(0.6, 30),
    "a click in silence": click(0.4),
}


@pytest.mark.parametrize("case", BEHIND)
def test_speech_ends_before_what_is_none(case: str) -> None:
    ends = SPEECH_S + 0.06
    assert found(speech(), BEHIND[case])[1] == pytest.approx(ends, abs=0.04)
    first, last = found(BEHIND[case][::-1], speech(), np.zeros(0))
    assert first == pytest.approx(len(BEHIND[case]) / AUDIO.rate_hz, abs=0.04)
    assert last == pytest.approx(first + ends, abs=0.06)


def test_a_burst_soon_after_the_speech_belongs_to_it() -> None:
    """A final t: a closure of 0.1 s, then a release of 15 ms."""
    assert found(speech(), click(0.1))[1] == pytest.approx(SPEECH_S + 0.06 + 0.1 + 0.015, abs=0.04)


@pytest.mark.parametrize("level", [-11.5, -3.0, float("nan")])
def test_an_utterance_of_one_level_is_all_speech(level: float) -> None:
    first, last = sounding(torch.full((1, 30, 80), level), torch.tensor([30]))
    assert (first.tolist(), last.tolist()) == ([0], [29])


def test_padding_and_other_utterances_have_no_effect() -> None:
    waves = [np.concatenate([np.zeros(4_000), speech(), BEHIND[case]]).astype(np.float32) for case in BEHIND]
    mels = [torch.from_numpy(log_mel(wave, AUDIO)) for wave in waves] + [torch.zeros(1, 80)]
    alone = [sounding(mel[None], torch.tensor([len(mel)])) for mel in mels]
    padded = torch.full((len(mels), max(map(len, mels)) + 9, 80), 2.0)  # louder than any speech
    for row, mel in enumerate(mels):
        padded[row, : len(mel)] = mel
    first, last = sounding(padded, torch.tensor([len(mel) for mel in mels]))
    assert first.tolist() == [int(one) for one, _ in alone]
    assert last.tolist() == [int(one) for _, one in alone]


def test_the_longest_pause_lies_between_two_sounds() -> None:
    """Silence before the first and behind the last sound is none."""
    loud, silent = torch.zeros(1, 80), torch.full((1, 80), -11.0)
    plan = [(silent, 30), (loud, 40), (silent, 9), (loud, 40), (silent, 14), (loud, 40), (silent, 50)]
    mel = torch.cat([frame.repeat(count, 1) for frame, count in plan])[None]
    assert longest_pause(mel, torch.tensor([mel.shape[1]])).tolist() == [14]
    assert longest_pause(mel[:, 30:70], torch.tensor([40])).tolist() == [0]
