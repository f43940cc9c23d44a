"""A listener: a small recogniser that learns from a corpus's own recordings to write down what it hears, in any language.

It judges a voice by what can be understood of it: the letters that it hears in free-running synthesis against the text's.
Connectionist temporal classification (Graves et al. 2006) over convolutions and a bidirectional LSTM. Noise and masks
(SpecAugment, arXiv:1904.08779) keep it from relying on details that only recordings have.
B utterances, F mel frames, M bands, T = ceil(F / STACK) steps, C outputs: the blank, the space, and the letters.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.data.batching import Batches
from model.data.corpus import Corpus
from model.data.loading import Example, Loader
from model.layers import BidirectionalLSTM, ConvolutionBlock, valid_mask
from model.text.languages import Language

STACK = 2  # mel frames in a step: 23 ms, of which a letter takes two to four
CHANNELS, CONVOLUTIONS, KERNEL = 192, 4, 5
DROPOUT = 0.1
BATCH = 8  # utterances
EPOCHS = 60  # at most
LEARNING_RATE, WARMUP, WEIGHT_DECAY, CLIP_NORM = 3e-3, 0.05, 1e-2, 5.0
NOISE = 0.3  # standard deviation, where 1 is that of the corpus's mels
MASKED_BANDS, MASKED_FRAMES = 0.2, 0.1  # the widest mask, as a share of the bands and of an utterance's frames
BLANK, SPACE = 0, 1


class Recogniser(nn.Module):
    """Mels in units of the corpus -> log-probabilities of letters. Padding has no effect."""

    def __init__(self, bands: int, outputs: int) -> None:
        super().__init__()
        widths = [STACK * bands, *[CHANNELS] * CONVOLUTIONS]
        self.convolutions = nn.ModuleList(ConvolutionBlock(*width, KERNEL, "relu", DROPOUT) for width in pairwise(widths))
        self.lstm = BidirectionalLSTM(CHANNELS, CHANNELS)
        self.output = nn.Linear(CHANNELS, outputs)

    def forward(self, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn mels (B, F, M), zero on padding, with lengths (B,) into log-probabilities (B, T, C) and their lengths (B,)."""
        batch, frames, bands = mels.shape
        steps = (lengths + STACK - 1) // STACK
        x = F.pad(mels, (0, 0, 0, -frames % STACK)).reshape(batch, -1, STACK * bands).transpose(1, 2)
        mask = valid_mask(steps, x.shape[2])[:, None].to(x.dtype)
        for index, block in enumerate(self.convolutions):
            x = x + block(x, mask) if index else block(x, mask)
        return self.output(self.lstm(x.transpose(1, 2), steps)).log_softmax(2), steps


@dataclass(frozen=True, slots=True)
class Heard:
    """A listener's impression of an utterance."""

    text: str  # the letters that it heard
    surprise: float  # -log of the probability of the text that was to be said, per letter; 1 is that of guessing, and the most


@dataclass(frozen=True, slots=True)
class Listener:
    """A trained recogniser of one voice."""

    network: Recogniser
    language: Language
    mel_mean: float  # of the corpus
    mel_std: float

    @torch.no_grad()
    def hear(self, mels: Tensor, lengths: Tensor, texts: Sequence[str]) -> list[Heard]:
        """Listen to natural-log mels (B, F, M) with lengths (B,), which were to say `texts`."""
        likely, steps = self.likely(mels, lengths)
        targets = [outputs(spelled(text, self.language), self.language) for text in texts]
        losses = _ctc(likely, steps, targets, "none", zero_infinity=False)  # infinite where there are fewer steps than letters
        guess = math.log(likely.shape[2])  # nats
        surprise = (losses / torch.tensor([max(1, len(target)) for target in targets]).to(losses) / guess).clamp(max=1)
        return [Heard(text, float(loss)) for text, loss in zip(self._texts(likely, steps), surprise, strict=True)]

    @torch.no_grad()
    def weigh(self, mels: Tensor, lengths: Tensor, texts: Sequence[Sequence[str]]) -> list[tuple[str, list[float]]]:
        """Listen to natural-log mels (B, F, M) with lengths (B,), each of which may say one of its `texts`.

        Return what was heard of each, and for each of its texts -log of the probability, in nats; infinite for too long a text.
        """
        likely, steps = self.likely(mels, lengths)
        spellings = [[outputs(spelled(text, self.language), self.language) for text in row] for row in texts]
        losses = [
            _ctc(likely[place : place + 1].expand(len(row), -1, -1), steps[place].expand(len(row)), row, "none", False).tolist()
            for place, row in enumerate(spellings)
        ]
        return list(zip(self._texts(likely, steps), losses, strict=True))

    def likely(self, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (B, T, C) of natural-log mels (B, F, M) with lengths (B,), and their own lengths (B,)."""
        self.network.eval()
        inside = valid_mask(lengths, mels.shape[1])[:, :, None]
        likely, steps = self.network((mels - self.mel_mean) / self.mel_std * inside, lengths)
        return likely, steps

    def _texts(self, likely: Tensor, steps: Tensor) -> list[str]:
        return [_letters(row[:count], self.language) for row, count in zip(likely.argmax(2).cpu(), steps.tolist(), strict=True)]

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors, from which `restored` rebuilds the listener."""
        return {"weights": self.network.state_dict(), "mel_mean": self.mel_mean, "mel_std": self.mel_std}

    @classmethod
    def restored(cls, state: dict[str, Any], language: Language, device: torch.device) -> "Listener":
        """Rebuild a listener from its `state`. Raises KeyError and RuntimeError for the state of another one."""
        weights = state["weights"]
        bands = weights["convolutions.0.convolution.weight"].shape[1] // STACK
        network = Recogniser(bands, len(language.letters) + 2)
        network.load_state_dict(weights)
        return cls(network.to(device).eval(), language, state["mel_mean"], state["mel_std"])


def train_listener(
    corpus: Corpus,
    examples: Sequence[Example],
    kframes: float,
    device: torch.device,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    seconds: float = math.inf,
) -> Listener:
    """Return a listener that has learnt from a corpus's training recordings, `examples`, for at most EPOCHS and `kframes`.

    On a CPU the same arguments give the same weights, bit for bit, unless the `seconds` end first, and its schedule with them.
    `progress` is called with (frames so far, in total). The state of the random generators is restored afterwards.
    """
    loader, language = Loader(examples, device), corpus.language
    targets = [outputs(spelled(utterance.text, language), language) for utterance in corpus.train]
    lengths = loader.frames
    total = min(1_000 * kframes, EPOCHS * int(lengths.sum()))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        network = Recogniser(examples[0].mel.shape[1], len(language.letters) + 2).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        batches, seen = Batches(lengths.tolist(), BATCH, seed), 0
        began, done = time.monotonic(), 0.0
        while done < 1:
            indices = next(batches)
            batch = loader(indices)
            mels = _disturbed((batch.mels - corpus.mel_mean) / corpus.mel_std, batch.frame_lengths, random)
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * _schedule(done)
            likely, steps = network(mels, batch.frame_lengths)
            loss = _ctc(likely, steps, [targets[index] for index in indices], "mean")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimiser.step()
            seen += int(lengths[indices].sum())
            done = max(seen / total, (time.monotonic() - began) / seconds)
            if progress is not None:
                progress(min(seen, int(total)), int(total))
    return Listener(network.eval(), language, corpus.mel_mean, corpus.mel_std)


def spelled(text: str, language: Language) -> str:
    """Return the letters of a cleaned text, lower case, with single spaces; what is no letter has no sound of its own."""
    kept = (letter if letter in language.letters else "" if letter in "'+" else " " for letter in text.lower())
    return " ".join("".join(kept).split())


def error_rate(texts: Sequence[str], heard: Sequence[str]) -> float:
    """Return the character error rate: edits from what was heard to the `texts`, per letter of these. It may exceed 1."""
    return float(jiwer.cer(list(texts), list(heard)))


def _schedule(progress: float) -> float:
    """Return the share of the learning rate: a linear warm-up, then half a cosine to 0."""
    return min(1.0, (progress + 0.01) / WARMUP) * (1 + math.cos(math.pi * progress)) / 2


def _disturbed(mels: Tensor, lengths: Tensor, random: np.random.Generator) -> Tensor:
    """Add noise to mels (B, F, M), and hide a band and a stretch of time of each utterance behind the corpus's mean."""
    mels = mels + NOISE * torch.randn_like(mels)
    for row, length in enumerate(lengths.tolist()):
        for size, share, axis in ((mels.shape[2], MASKED_BANDS, 1), (length, MASKED_FRAMES, 0)):
            width = int(random.integers(0, int(share * size) + 1))
            first = int(random.integers(0, size - width + 1))
            mels[row].narrow(axis, first, width).zero_()
    return mels * valid_mask(lengths, mels.shape[1])[:, :, None]


def _ctc(likely: Tensor, steps: Tensor, targets: Sequence[Sequence[int]], reduction: str, zero_infinity: bool = True) -> Tensor:
    flat = torch.tensor([output for target in targets for output in target], dtype=torch.int64)
    counts = torch.tensor([len(target) for target in targets])
    return F.ctc_loss(likely.transpose(0, 1), flat.to(likely.device), steps, counts, BLANK, reduction, zero_infinity)


def outputs(spelling: str, language: Language) -> list[int]:
    """Return the outputs that stand for letters and spaces."""
    return [SPACE if letter == " " else SPACE + 1 + language.letters.index(letter) for letter in spelling]


def _letters(outputs: Tensor, language: Language) -> str:
    """Return what the likeliest outputs (T,) spell: repetitions are one letter, blanks are none."""
    spelt = ("" if output == BLANK else " " if output == SPACE else language.letters[output - SPACE - 1]
             for output in torch.unique_consecutive(outputs).tolist())  # fmt: skip
    return " ".join("".join(spelt).split())
