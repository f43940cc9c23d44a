"""Start a network from another one's checkpoint: embeddings by symbol, of other sizes what both have, and a table of it all.

A tensor is cut where its parts meet: an LSTM's four gates, what stands side by side at an input, the two directions of the
encoder, the frames of a step. The middle of a convolution's kernel stays its middle.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, product
from math import prod
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from model.nvidia import opened, renamed
from model.tacotron2 import Tacotron2
from model.text.symbols import LANGUAGES, symbols

EMBEDDING = "encoder.embedding.weight"
CONTEXT_LAST = (  # what reads the encoder, in its last columns
    *("attention.memory.weight", "attention.rnn.weight_ih", "decoder_rnn.weight_ih_l0", "projection.weight", "gate.weight"),
)
# Alphabets of files that do not name theirs, by size: NVIDIA's, which is our English one, our Russian one, torchaudio's.
ALPHABETS = {len(table): table for table in (*map(symbols, LANGUAGES), tuple("_-!'(),.:;? abcdefghijklmnopqrstuvwxyz"))}

State = Literal["loaded", "resized", "missing", "unused"]
Parts = list[tuple[slice, slice]]  # along one dimension: of the file's tensor, and where it goes


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A checkpoint to start from."""

    path: Path
    digest: str  # of the file's content
    weights: dict[str, Tensor]  # by our names; what no network of ours has, by its own
    symbols: tuple[str, ...]  # of the embeddings, in order; empty where they are not known


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one tensor: loaded whole, resized (loaded in part), missing in the file, unused by the network."""

    name: str
    state: State
    file: tuple[int, ...] | None = None  # shapes
    network: tuple[int, ...] | None = None
    copied: str = ""  # the part that a resized tensor has from the file


def read(path: Path) -> Pretrained:
    """A checkpoint that NVIDIA, NGC or torchaudio made, or best.pt or last.pt of a trial. ValueError for another file."""
    checkpoint = opened(path)
    ours = checkpoint.get("weights")
    weights, foreign = (ours, {}) if isinstance(ours, Mapping) else renamed(checkpoint)
    weights = {str(name): value for name, value in (*weights.items(), *foreign.items()) if isinstance(value, Tensor)}
    if EMBEDDING not in weights or weights[EMBEDDING].dim() != 2:
        rule = "need weights of a Tacotron 2 (NVIDIA's, torchaudio's, best.pt or last.pt of a trial)"
        raise ValueError(f"{path}: {rule}, got a checkpoint of something else: choose another file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    named, count = checkpoint.get("symbols"), len(weights[EMBEDDING])
    table = tuple(named) if isinstance(named, list) else ALPHABETS.get(count, ())
    units = {"mel_mean": torch.tensor(0.0), "mel_std": torch.tensor(1.0)}  # raw log-mels, where the file says nothing
    return Pretrained(path, digest, units | weights, table if len(table) == count else ())


@torch.no_grad()
def warm_start(network: Tacotron2, table: Sequence[str], pretrained: Pretrained) -> list[Row]:
    """Copy into `network`, whose alphabet is `table`, what the pretrained has for it. Returns a row for each tensor of either.

    What is not copied stays as it was, nothing is drawn at random, and no shape is an error. The units of the mels (mel_mean
    and mel_std) come with the weights.
    """
    state, rows, used = network.state_dict(), [], set()
    before, after = _widths(pretrained.weights), _widths(state)
    for name, ours in state.items():
        source = _counterpart(name, state, pretrained.weights)
        theirs = pretrained.weights.get(source)
        if theirs is None:
            rows.append(Row(name, "missing", network=tuple(ours.shape)))
            continue
        used.add(source)
        parts: list[Parts] = [[]]
        if theirs.dim() == ours.dim():
            parts = _parts(_blocks(name, theirs.shape, before), _blocks(name, ours.shape, after))
        if name == EMBEDDING:
            parts[0] = _by_symbol(pretrained.symbols, table)
        for pairs in product(*parts):
            ours[tuple(to for _, to in pairs)] = theirs[tuple(of for of, _ in pairs)].to(ours)
        filled = prod(sum(to.stop - to.start for _, to in part) for part in parts)
        whole = filled == ours.numel() == theirs.numel() and all(of == to for part in parts for of, to in part)
        now: State = "loaded" if whole else "resized" if filled else "missing"
        copied = ", ".join(map(_said, parts)) if now == "resized" else ""
        rows.append(Row(name, now, tuple(theirs.shape), tuple(ours.shape), copied))
    unused = (name for name in pretrained.weights if name not in used)
    return rows + [Row(name, "unused", tuple(pretrained.weights[name].shape)) for name in unused]


def told(pretrained: Pretrained, rows: Sequence[Row]) -> Iterator[str]:
    """The table as lines: counts, what was loaded by part of the network, and each tensor that was not, like ones together."""
    counts = Counter(row.state for row in rows)
    yield f"warm start from {pretrained.path}: {', '.join(f'{counts[state]} {state}' for state in get_args(State))}"
    loaded = Counter(row.name.partition(".")[0] for row in rows if row.state == "loaded")
    if loaded:
        yield f"loaded: {', '.join(f'{part} ({count})' for part, count in loaded.items())}"

    def place(row: Row) -> tuple[str, str]:
        shapes = " -> ".join(str(shape) for shape in (row.file, row.network) if shape is not None)
        return f"{row.state}: {row.name.rpartition('.')[0]}", shapes + (row.copied and f", of it {row.copied}")

    others = [row for state in get_args(State)[1:] for row in rows if row.state == state]
    for (module, shapes), group in groupby(others, place):
        yield f"{module}.{'|'.join(row.name.rpartition('.')[2] for row in group)} {shapes}"


def _counterpart(name: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """The tensor of `theirs` that does what `name` does in `ours`: the last convolution of a postnet is unlike the others."""
    place = re.fullmatch(r"(postnet\.convolutions)\.(\d+)\.(.+)", name)
    if place is None:
        return name
    last, their_last = (
        max((int(known.split(".")[2]) for known in weights if re.match(r"postnet\.convolutions\.\d+\.", known)), default=0)
        for weights in (ours, theirs)
    )
    index = int(place[2])
    if index == last:
        return f"{place[1]}.{their_last}.{place[3]}"
    return name if index < their_last else ""


def _widths(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Features of the encoder, and mel bands; 0 where weights are so foreign that they cannot be told."""
    known = (weights.get(name, torch.empty(0)) for name in ("attention.memory.weight", "prenet.layers.0.weight"))
    encoder, bands = (tensor.shape[1] if tensor.dim() == 2 else 0 for tensor in known)
    return encoder, bands


def _blocks(name: str, shape: Sequence[int], widths: tuple[int, int]) -> list[list[int]]:
    """Along each dimension the sizes of what stands side by side in a tensor."""
    encoder, bands = widths
    blocks = [[size] for size in shape]
    if re.search(r"\.(weight_[ih]h|bias_[ih]h)", name):
        blocks[0] = [shape[0] // 4] * 4
    if name.startswith("projection.") and bands:
        blocks[0] = [bands] * (shape[0] // bands)
    if name in CONTEXT_LAST:
        direction = min(encoder, shape[1]) // 2
        blocks[1] = [shape[1] - 2 * direction, direction, direction]
    return blocks


def _parts(theirs: list[list[int]], ours: list[list[int]]) -> list[Parts]:
    """What both have, along each dimension."""
    parts: list[Parts] = []
    for dimension, (old, new) in enumerate(zip(theirs, ours, strict=True)):
        shared = [min(pair) for pair in zip(old, new, strict=False)]
        starts = list(zip(accumulate(old, initial=0), accumulate(new, initial=0), strict=False))
        if dimension == 2:  # a kernel
            starts = [((old[0] - shared[0]) // 2, (new[0] - shared[0]) // 2)]
        parts.append([(slice(of, of + n), slice(to, to + n)) for (of, to), n in zip(starts, shared, strict=False) if n])
    return parts


def _by_symbol(theirs: Sequence[str], ours: Sequence[str]) -> Parts:
    """The rows of the symbols that both have; neighbours that stay neighbours together."""
    parts: Parts = []
    for to, symbol in enumerate(ours):
        of = theirs.index(symbol) if symbol in theirs else None
        if of is not None and parts and (parts[-1][0].stop, parts[-1][1].stop) == (of, to):
            parts[-1] = slice(parts[-1][0].start, of + 1), slice(parts[-1][1].start, to + 1)
        elif of is not None:
            parts.append((slice(of, of + 1), slice(to, to + 1)))
    return parts


def _said(part: Parts) -> str:
    """Sizes, equal ones together: "4 x 64", "8 + 2 x 16"."""
    runs = [(size, len(list(run))) for size, run in groupby(to.stop - to.start for _, to in part)]
    return " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in runs)
