"""Text ids -> mel, free running: the network hears only itself.

An utterance ends after the first step whose gate says stop; or after its attention has rested on the end of the text for so
long that the gate must have missed it; or at a limit from the text's length.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model.decoder import Block, Decoder
from model.layers import valid_mask
from model.tacotron2 import Tacotron2

SYNTHESIS_SEED = 20_170_713
FRAMES_PER_SYMBOL = 20  # 0.23 s at 11.6 ms a frame: more than twice a slow reader's pace
FRAMES_BESIDES = 40
# 1 s. The last letter and the full stop hold the attention for as long as the last sound and the silence after it last: of the
# first 32 clips of LJSpeech the longest silence is 0.14 s. Past a second nothing is left to say.
COMPLETED_FRAMES = 86
END_SYMBOLS = 2
STEPS_PER_LOOK, STEPS_PER_LOOK_CUDA = 4, 32  # decoder steps between two looks at what has ended: a look stalls a GPU

TrialResult = Literal["gate", "alignment", "limit"]
ENDINGS: tuple[TrialResult, ...] = ("gate", "alignment", "limit")


@dataclass(frozen=True, slots=True)
class Synthesis:
    """B utterances, padded with zeros."""

    mel: Tensor  # (B, F, M) natural log
    gate: Tensor  # (B, T) probabilities of stopping
    alignment: Tensor  # (B, T, N)
    step_lengths: Tensor  # (B,) decoder steps, the one that says stop included
    frame_lengths: Tensor  # (B,)
    ended: tuple[TrialResult, ...]  # B times what ended it


@torch.no_grad()
def synthesise(
    network: Tacotron2,
    ids: Tensor,
    lengths: Tensor,
    *,
    threshold: float = 0.5,
    completed_frames: int | None = COMPLETED_FRAMES,
    window: int | None = None,
) -> Synthesis:
    """ids (B, N), lengths (B,). The prenet's dropout is on, as the paper has it, with the same masks in every utterance and on
    every device: a text sounds the same each time, alone or in any batch.

    An utterance ends after the first step whose gate exceeds `threshold`; whose attention had its maximum in the last
    END_SYMBOLS symbols for `completed_frames` frames on end (None: the attention ends nothing); or at its own limit of
    FRAMES_PER_SYMBOL frames a symbol and FRAMES_BESIDES more. `window` is the decoder's. ValueError for an empty text, and for
    a window or `completed_frames` below 1.
    """
    if int(lengths.min()) < 1:
        raise ValueError(f"need at least 1 symbol in every text, got lengths {lengths.tolist()}: leave the empty ones out")
    if completed_frames is not None and completed_frames < 1:
        raise ValueError(f"need completed_frames >= 1, got {completed_frames}: None leaves the attention out")
    network.eval()
    r = network.network.reduction
    limits = torch.div(lengths * FRAMES_PER_SYMBOL + FRAMES_BESIDES, r, rounding_mode="floor").clamp(min=1)  # (B,)
    rest = None if completed_frames is None else -(-completed_frames // r)
    generator = torch.Generator().manual_seed(SYNTHESIS_SEED)
    block = Block(Decoder(network, ids, lengths, window), STEPS_PER_LOOK_CUDA if ids.is_cuda else STEPS_PER_LOOK)
    said: list[tuple[Tensor, ...]] = []
    running = True
    while running:
        frames, logits, alignments = block(network.prenet.draw(len(block.masks), generator))
        said.append((frames, logits.sigmoid(), alignments, alignments.argmax(2)))
        gate, position = (torch.cat([part[index] for part in said], 1) for index in (1, 3))  # (B, T)
        steps, cause = ends(gate > threshold, position >= lengths[:, None] - END_SYMBOLS, limits, rest)
        running = bool((steps > gate.shape[1]).any())
    frames, gate, alignment = (torch.cat([part[index] for part in said], 1) for index in range(3))
    inside = valid_mask(steps)  # (B, T)
    T = inside.shape[1]
    before = frames[:, :T].masked_fill(~inside[:, :, None, None], 0).flatten(1, 2)  # (B, F, M) standardised
    frame_lengths = steps * r
    heard = valid_mask(frame_lengths)  # (B, F)
    after = before + network.postnet(before, heard)
    return Synthesis(
        mel=(after * network.mel_std + network.mel_mean).masked_fill(~heard[:, :, None], 0),
        gate=gate[:, :T].masked_fill(~inside, 0),
        alignment=alignment[:, :T].masked_fill(~inside[:, :, None], 0),
        step_lengths=steps,
        frame_lengths=frame_lengths,
        ended=tuple(ENDINGS[index] for index in cause.tolist()),
    )


def ends(stop: Tensor, resting: Tensor, limits: Tensor, rest: int | None) -> tuple[Tensor, Tensor]:
    """The step after which each utterance ends (B,), beyond T where it still runs, and its cause's place in ENDINGS (B,).

    stop and resting (B, T) bool: the gate says stop, the attention is at the end of the text; `rest` such steps on end are
    one too many. limits (B,).
    """
    never = torch.full_like(limits, torch.iinfo(limits.dtype).max)
    completed = never
    if rest is not None:
        rested = F.pad(resting.cumsum(1), (rest, 0))  # steps at the end until then
        completed = _first(rested[:, rest:] - rested[:, :-rest] == rest, never)
    steps, cause = torch.stack([_first(stop, never), completed, limits]).min(0)  # of equal ones the first
    return steps, cause


def _first(holds: Tensor, never: Tensor) -> Tensor:
    """(B, T) bool -> (B,) the first step, from 1, that holds."""
    return torch.where(holds.any(1), holds.int().argmax(1) + 1, never)
