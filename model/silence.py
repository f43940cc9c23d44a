"""Find where the speech begins and ends in log-mels, of a recording or of a synthesis.

B utterances, F mel frames, M mel bands. The level of a frame is its mean magnitude over the bands, in dB. Numbers of frames are
for hops of 9 to 13 ms.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from model.layers import valid_mask

SILENCE_DB = 35.0  # below the loud frames (95th percentile). LJSpeech's room lies 38 to 45 dB below, its endings fade out at 30
NOISE_DB = 20.0  # below the loud frames: a steady sound at an end of the utterance that is weaker than this is noise
STEADY_DB = 6.0  # between the strongest and the weakest frame of a steady sound; white noise has 1 to 3, brown noise up to 5
NOISE_FRAMES = 12  # that a steady sound lasts at least: consonants rise and fall
CLICK_FRAMES = 6  # the analysis windows that a click of under 20 ms reaches into
NEAR_FRAMES = 17  # 0.2 s: a click farther from all other sound is not part of the speech, a final t is nearer


def sounding(mels: Tensor, frame_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last frame (B,) of the speech in mels (B, F, M), natural-log magnitudes of lengths (B,).

    A frame is silent if it is more than SILENCE_DB weaker than the utterance's loud frames, or as weak as the steady noise at
    that end of the utterance. Isolated clicks do not count. An utterance of one level is all speech, and so is one that is not
    finite.
    """
    level, loud = levels(mels, frame_lengths)
    last = frame_lengths[:, None] - 1
    outermost = torch.arange(NOISE_FRAMES, device=mels.device).minimum(last)  # (B, NOISE_FRAMES)
    from_start = _speech(level, loud, level.gather(1, outermost))
    from_end = _speech(level, loud, level.gather(1, last - outermost))
    behind = from_end.flip(1).float().argmax(1)
    return from_start.float().argmax(1), (mels.shape[1] - 1 - behind).minimum(last[:, 0])


def silent_share(mels: Tensor, frame_lengths: Tensor) -> Tensor:
    """Return the share (B,) of the frames from the first sound to the last that are SILENCE_DB weaker than the loud ones."""
    first, last = sounding(mels, frame_lengths)
    level, loud = levels(mels, frame_lengths)
    place = torch.arange(mels.shape[1], device=mels.device)
    within = (place >= first[:, None]) & (place <= last[:, None])
    return (within & (level < loud - SILENCE_DB)).sum(1) / within.sum(1)


def longest_pause(mels: Tensor, frame_lengths: Tensor) -> Tensor:
    """Return the most consecutive frames (B,) between two sounds that are SILENCE_DB weaker than the loud ones."""
    first, last = sounding(mels, frame_lengths)
    level, loud = levels(mels, frame_lengths)
    place = torch.arange(mels.shape[1], device=mels.device)
    silent = (level < loud - SILENCE_DB) & (place > first[:, None]) & (place < last[:, None])
    heard = torch.where(silent, 0, place).cummax(1).values  # the place of the newest sound
    return ((place - heard) * silent).amax(1)


def levels(mels: Tensor, frame_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the level in dB of each frame (B, F), minus infinity on padding, and that of the loud ones (B, 1)."""
    level = mels.float().logsumexp(2) * (20 / math.log(10))  # of the sum: the number of bands is a constant
    level = level.masked_fill(~valid_mask(frame_lengths, mels.shape[1]), -torch.inf)
    return level, level.sort(1, descending=True).values.gather(1, (frame_lengths[:, None] - 1) // 20)


def _speech(level: Tensor, loud: Tensor, outermost: Tensor) -> Tensor:
    """Find speech in levels (B, F) whose loud frames have the level `loud` (B, 1), given the `outermost` levels of one end."""
    strongest, weakest = outermost.amax(1, keepdim=True), outermost.amin(1, keepdim=True)
    noise = (strongest < loud - NOISE_DB) & (strongest - weakest < STEADY_DB)
    sound = level > torch.where(noise, strongest + STEADY_DB / 2, -torch.inf).maximum(loud - SILENCE_DB)
    window = 2 * NEAR_FRAMES + 1
    near = avg_pool1d(sound.float(), window, stride=1, padding=NEAR_FRAMES) * window  # frames of sound within 0.2 s
    speech = sound & (near > CLICK_FRAMES + 0.5)
    return torch.where(speech.any(1, keepdim=True), speech, sound)
