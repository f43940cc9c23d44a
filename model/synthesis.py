"""Free-running synthesis: text ids -> mel, where the input of each decoder step is the network's own output.

An utterance ends after the first step at which the stop token (gate) fires; or once its attention has stayed on the end of the
text for so long that the gate must have missed it; or at a limit that follows from the length of the text.
"""

from collections.abc import Sequence
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
EXTRA_FRAMES = 40
# 1 s. The attention stays on the last letter and the full stop during the last sound and the silence after it. In the first 32
# clips of LJSpeech the longest silence is 0.14 s, so after a second the utterance is over.
COMPLETED_FRAMES = 86
END_SYMBOLS = 2  # the last letter and the full stop
STEPS_PER_CHECK, STEPS_PER_CHECK_CUDA = 4, 32  # decoder steps between two checks for ended utterances, which stall a GPU

Ending = Literal["gate", "alignment", "limit"]
ENDINGS: tuple[Ending, ...] = ("gate", "alignment", "limit")


@dataclass(frozen=True, slots=True)
class Synthesis:
    """B utterances, padded with zeros."""

    mel: Tensor  # (B, F, M) natural log
    gate: Tensor  # (B, T) probabilities of stopping
    alignment: Tensor  # (B, T, N)
    step_lengths: Tensor  # (B,) decoder steps, the one whose gate fired included
    frame_lengths: Tensor  # (B,)
    ended: tuple[Ending, ...]  # the reason for each utterance's end


@torch.no_grad()
def synthesise(
    network: Tacotron2,
    ids: Tensor,
    lengths: Tensor,
    *,
    threshold: float = 0.5,
    completed_frames: int | None = COMPLETED_FRAMES,
    most_frames: Tensor | None = None,
    window: int | None = None,
    seed: int = SYNTHESIS_SEED,
) -> Synthesis:
    """Synthesise texts, ids (B, N) with lengths (B,).

    The prenet's dropout is on, as in the paper, with the same masks in each utterance and on each device: with one `seed` a
    text sounds the same every time, alone or in any batch.

    An utterance ends after the first step whose gate exceeds `threshold`; or whose attention has had its maximum in the last
    END_SYMBOLS symbols for `completed_frames` consecutive frames (None: no such end); or at its own limit, `most_frames` (B,),
    else FRAMES_PER_SYMBOL frames a symbol and EXTRA_FRAMES more. `window` is the decoder's. Raises ValueError for an empty
    text, and for a window or `completed_frames` below 1.
    """
    if int(lengths.min()) < 1:
        raise ValueError(f"need at least 1 symbol in every text, got lengths {lengths.tolist()}: leave the empty ones out")
    if completed_frames is not None and completed_frames < 1:
        raise ValueError(f"need completed_frames >= 1, got {completed_frames}: None leaves the attention out")
    network.eval()
    r = network.network.reduction
    most_frames = lengths * FRAMES_PER_SYMBOL + EXTRA_FRAMES if most_frames is None else most_frames
    limits = torch.div(most_frames, r, rounding_mode="floor").clamp(min=1)  # (B,)
    completed_steps = None if completed_frames is None else -(-completed_frames // r)
    generator = torch.Generator().manual_seed(seed)
    block = Block(Decoder(network, ids, lengths, window), STEPS_PER_CHECK_CUDA if ids.is_cuda else STEPS_PER_CHECK)
    outputs: list[tuple[Tensor, ...]] = []
    running = True
    while running:
        frames, logits, alignments = block(network.prenet.draw(len(block.masks), generator))
        outputs.append((frames, logits.sigmoid(), alignments, alignments.argmax(2)))
        gate, position = (torch.cat([part[index] for part in outputs], 1) for index in (1, 3))  # (B, T)
        steps, reason = ends(gate > threshold, position >= lengths[:, None] - END_SYMBOLS, limits, completed_steps)
        running = bool((steps > gate.shape[1]).any())
    frames, gate, alignment = (torch.cat([part[index] for part in outputs], 1) for index in range(3))
    inside = valid_mask(steps)  # (B, T)
    T = inside.shape[1]
    before = frames[:, :T].masked_fill(~inside[:, :, None, None], 0).flatten(1, 2)  # (B, F, M) standardised
    frame_lengths = steps * r
    valid = valid_mask(frame_lengths)  # (B, F)
    after = before + network.postnet(before, valid)
    return Synthesis(
        mel=(after * network.mel_std + network.mel_mean).masked_fill(~valid[:, :, None], 0),
        gate=gate[:, :T].masked_fill(~inside, 0),
        alignment=alignment[:, :T].masked_fill(~inside[:, :, None], 0),
        step_lengths=steps,
        frame_lengths=frame_lengths,
        ended=tuple(ENDINGS[index] for index in reason.tolist()),
    )


def joined(parts: Sequence[Synthesis]) -> Synthesis:
    """Return the utterances of several syntheses of the same number of symbols as one, padded to the longest."""
    if len(parts) == 1:
        return parts[0]

    def padded(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        longest = max(tensor.shape[1] for tensor in tensors)
        filled = [F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, longest - tensor.shape[1])) for tensor in tensors]
        return torch.cat(filled)

    return Synthesis(
        mel=padded("mel"),
        gate=padded("gate"),
        alignment=padded("alignment"),
        step_lengths=torch.cat([part.step_lengths for part in parts]),
        frame_lengths=torch.cat([part.frame_lengths for part in parts]),
        ended=tuple(ended for part in parts for ended in part.ended),
    )


def ends(stop: Tensor, at_end: Tensor, limits: Tensor, completed_steps: int | None) -> tuple[Tensor, Tensor]:
    """Return the step after which each utterance ends (B,), beyond T if it still runs, and the index of the reason in ENDINGS.

    stop, at_end (B, T) bool: the gate fires, the attention is at the end of the text. An utterance ends after `completed_steps`
    consecutive steps at the end of the text, or after its limit of steps (B,).
    """
    never = torch.full_like(limits, torch.iinfo(limits.dtype).max)
    completed = never
    if completed_steps is not None:
        total = F.pad(at_end.cumsum(1), (completed_steps, 0))  # steps at the end of the text so far
        completed = _first(total[:, completed_steps:] - total[:, :-completed_steps] == completed_steps, never)
    steps, reason = torch.stack([_first(stop, never), completed, limits]).min(0)  # of several reasons the first in ENDINGS
    return steps, reason


def _first(holds: Tensor, never: Tensor) -> Tensor:
    """Return the first step (B,), counted from 1, for which `holds` (B, T) is True, else `never` (B,)."""
    return torch.where(holds.any(1), holds.int().argmax(1) + 1, never)
