"""Text ids -> mel, free running: the network hears only itself. Stops on its gate, or at a limit from the text's length."""
from dataclasses import dataclass

import torch
from torch import Tensor

from model.layers import valid_mask
from model.tacotron2 import Decoder, Tacotron2

SYNTHESIS_SEED = 20_170_713
FRAMES_PER_SYMBOL = 20  # 0.23 s at 11.6 ms a frame: more than twice a slow reader's pace
FRAMES_BESIDES = 40


@dataclass(frozen=True, slots=True)
class Synthesis:
    """B utterances, padded with zeros."""

    mel: Tensor  # (B, F, M) natural log
    gate: Tensor  # (B, T) probabilities of stopping
    alignment: Tensor  # (B, T, N)
    step_lengths: Tensor  # (B,) decoder steps, the one that says stop included
    frame_lengths: Tensor  # (B,)
    stopped: Tensor  # (B,) bool; False where the limit ended it


@torch.no_grad()
def synthesise(network: Tacotron2, ids: Tensor, lengths: Tensor, threshold: float = 0.5) -> Synthesis:
    """ids (B, N), lengths (B,). The prenet's dropout is on, as the paper has it, and seeded: the same batch sounds the same.

    An utterance stops after the first step whose gate exceeds `threshold`, or at its own limit of FRAMES_PER_SYMBOL frames
    a symbol and FRAMES_BESIDES more.
    """
    network.eval()
    r = network.network.reduction
    limits = torch.div(lengths * FRAMES_PER_SYMBOL + FRAMES_BESIDES, r, rounding_mode="floor").clamp(min=1)  # (B,)
    steps = torch.zeros_like(lengths)
    stopped = torch.zeros_like(lengths, dtype=torch.bool)
    running = torch.ones_like(stopped)
    mels, gates, alignments = [], [], []
    with torch.random.fork_rng([ids.device] if ids.device.type == "cuda" else []):
        torch.manual_seed(SYNTHESIS_SEED)
        decoder = Decoder(network, ids, lengths)
        frame = decoder.memory.new_zeros(len(ids), network.bands)
        while bool(running.any()):
            frames, logits, alignment = decoder.step(frame)
            probability = logits.sigmoid()
            mels.append(frames)
            gates.append(probability)
            alignments.append(alignment)
            frame = frames[:, -1]
            steps += running
            stopped |= running & (probability > threshold)
            running &= ~stopped & (steps < limits)
        before = torch.cat(mels, 1)  # (B, F, M) standardised
        frame_lengths = steps * r
        inside = valid_mask(frame_lengths, before.shape[1])
        before = before * inside[:, :, None]
        after = before + network.postnet(before, inside)
    mel = (after * network.mel_std + network.mel_mean) * inside[:, :, None]
    return Synthesis(mel, torch.stack(gates, 1), torch.stack(alignments, 1), steps, frame_lengths, stopped)
