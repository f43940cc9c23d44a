"""Start a network from the weights of another one's checkpoint: embeddings by symbol, other tensors by their common part.

Where sizes differ, the overlapping part is copied, block by block: a tensor is cut where its blocks meet, which are the four
gates of an LSTM, the parts of a concatenated input, the two directions of the encoder and the frames of a decoder step. A
convolution kernel is aligned at its centre. The result is a table with a row for each tensor.
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

from model.nvidia import read_checkpoint, to_our_names
from model.tacotron2 import Tacotron2
from model.text import english
from model.text.languages import LANGUAGES
from model.text.normalise import PUNCTUATION

EMBEDDING = "encoder.embedding.weight"
# Weights whose last columns read the encoder's output.
CONTEXT_LAST = (
    "attention.memory.weight",
    "attention.rnn.weight_ih",
    "decoder_rnn.weight_ih_l0",
    "projection.weight",
    "gate.weight",
)
# Symbol tables of published checkpoints, which do not name theirs: NVIDIA's, which is our English one, and torchaudio's.
PUBLISHED = (english.SYMBOLS, (*PUNCTUATION, *"abcdefghijklmnopqrstuvwxyz"))

State = Literal["loaded", "resized", "missing", "unused"]
Parts = list[tuple[slice, slice]]  # along one dimension: (of the file's tensor, of the network's)


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A checkpoint to start from."""

    path: Path
    digest: str  # of the file's content
    weights: dict[str, Tensor]  # by our names; a tensor without one by the file's name
    symbols: tuple[str, ...]  # of the embeddings, in order; empty where they are not known


@dataclass(frozen=True, slots=True)
class Row:
    """The fate of one tensor: loaded completely, resized (loaded in part), missing in the file, unused by the network."""

    name: str
    state: State
    file: tuple[int, ...] | None = None  # shapes
    network: tuple[int, ...] | None = None
    copied: str = ""  # the part of a resized tensor that comes from the file


def read(path: Path) -> Pretrained:
    """Read a checkpoint by NVIDIA, NGC or torchaudio, or best.pt or last.pt of a trial. Raises ValueError for another file."""
    checkpoint = read_checkpoint(path)
    ours = checkpoint.get("weights")
    weights, foreign = (ours, {}) if isinstance(ours, Mapping) else to_our_names(checkpoint)
    weights = {str(name): value for name, value in (*weights.items(), *foreign.items()) if isinstance(value, Tensor)}
    if EMBEDDING not in weights or weights[EMBEDDING].dim() != 2:
        rule = "need weights of a Tacotron 2 (NVIDIA's, torchaudio's, best.pt or last.pt of a trial)"
        raise ValueError(f"{path}: {rule}, got a checkpoint of something else: choose another file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    named, count = checkpoint.get("symbols"), len(weights[EMBEDDING])
    table = tuple(named) if isinstance(named, list) else _table_of_size(count)
    units = {"mel_mean": torch.tensor(0.0), "mel_std": torch.tensor(1.0)}  # raw log-mels, where the file has no units
    return Pretrained(path, digest, units | weights, table if len(table) == count else ())


def _table_of_size(count: int) -> tuple[str, ...]:
    """Return the symbol table of a file that does not name its own: a published one, or the only language's of this size."""
    published = [table for table in PUBLISHED if len(table) == count]
    if published:
        return published[0]
    tables = {language.symbols for language in LANGUAGES.values() if len(language.symbols) == count}
    return tables.pop() if len(tables) == 1 else ()


@torch.no_grad()
def warm_start(network: Tacotron2, symbols: Sequence[str], pretrained: Pretrained) -> list[Row]:
    """Copy into `network`, whose symbol table is `symbols`, what the checkpoint has for it. Return a row for each tensor.

    What is not copied stays as it was, nothing is drawn at random, and no shape in the checkpoint is an error. The units of the
    mels (mel_mean and mel_std) are copied with the weights. Raises ValueError for a table that is not the network's.
    """
    if len(symbols) != len(network.encoder.embedding.weight):
        embeddings = len(network.encoder.embedding.weight)
        raise ValueError(f"need a symbol for each of the {embeddings} embeddings, got {len(symbols)}: pass the network's table")
    state, rows, used = network.state_dict(), [], set()
    file_widths, network_widths = _widths(pretrained.weights), _widths(state)
    for name, ours in state.items():
        source = _counterpart(name, state, pretrained.weights)
        theirs = pretrained.weights.get(source)
        if theirs is None:
            rows.append(Row(name, "missing", network=tuple(ours.shape)))
            continue
        used.add(source)
        parts: list[Parts] = [[]]
        if theirs.dim() == ours.dim():
            parts = _parts(_blocks(name, theirs.shape, file_widths), _blocks(name, ours.shape, network_widths))
        if name == EMBEDDING:
            parts[0] = _by_symbol(pretrained.symbols, symbols)
        for pairs in product(*parts):
            ours[tuple(to for _, to in pairs)] = theirs[tuple(of for of, _ in pairs)].to(ours)
        filled = prod(sum(to.stop - to.start for _, to in part) for part in parts)
        complete = filled == ours.numel() == theirs.numel() and all(of == to for part in parts for of, to in part)
        now: State = "loaded" if complete else "resized" if filled else "missing"
        copied = ", ".join(map(_sizes, parts)) if now == "resized" else ""
        rows.append(Row(name, now, tuple(theirs.shape), tuple(ours.shape), copied))
    unused = (name for name in pretrained.weights if name not in used)
    return rows + [Row(name, "unused", tuple(pretrained.weights[name].shape)) for name in unused]


def table_lines(pretrained: Pretrained, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table as lines: counts, loaded tensors by part of the network, and each other tensor, like ones together."""
    counts = Counter(row.state for row in rows)
    yield f"warm start from {pretrained.path}: {', '.join(f'{counts[state]} {state}' for state in get_args(State))}"
    loaded = Counter(row.name.partition(".")[0] for row in rows if row.state == "loaded")
    if loaded:
        yield f"loaded: {', '.join(f'{part} ({count})' for part, count in loaded.items())}"

    def place(row: Row) -> tuple[str, str]:
        shapes = " -> ".join(str(shape) for shape in (row.file, row.network) if shape is not None)
        return f"{row.state}: {row.name.rpartition('.')[0]}", shapes + (row.copied and f", copied {row.copied}")

    others = [row for state in get_args(State)[1:] for row in rows if row.state == state]
    for (module, shapes), group in groupby(others, place):
        yield f"{module}.{'|'.join(row.name.rpartition('.')[2] for row in group)} {shapes}"


def _counterpart(name: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """Return the tensor of `theirs` that has the role of `name` in `ours`: the last postnet convolution maps to the last."""
    place = re.fullmatch(r"(postnet\.convolutions)\.(\d+)\.(.+)", name)
    if place is None:
        return name
    last, their_last = (
        max((int(other.split(".")[2]) for other in weights if re.match(r"postnet\.convolutions\.\d+\.", other)), default=0)
        for weights in (ours, theirs)
    )
    index = int(place[2])
    if index == last:
        return f"{place[1]}.{their_last}.{place[3]}"
    return name if index < their_last else ""


def _widths(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the features of the encoder and the mel bands; 0 where the weights do not show them."""
    tensors = (weights.get(name, torch.empty(0)) for name in ("attention.memory.weight", "prenet.layers.0.weight"))
    encoder, bands = (tensor.shape[1] if tensor.dim() == 2 else 0 for tensor in tensors)
    return encoder, bands


def _blocks(name: str, shape: Sequence[int], widths: tuple[int, int]) -> list[list[int]]:
    """Return the sizes of a tensor's blocks along each dimension."""
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
    """Return the overlapping parts of the blocks along each dimension."""
    parts: list[Parts] = []
    for dimension, (old, new) in enumerate(zip(theirs, ours, strict=True)):
        shared = [min(pair) for pair in zip(old, new, strict=False)]
        starts = list(zip(accumulate(old, initial=0), accumulate(new, initial=0), strict=False))
        if dimension == 2:  # a kernel, aligned at its centre
            starts = [((old[0] - shared[0]) // 2, (new[0] - shared[0]) // 2)]
        parts.append([(slice(of, of + n), slice(to, to + n)) for (of, to), n in zip(starts, shared, strict=False) if n])
    return parts


def _by_symbol(theirs: Sequence[str], ours: Sequence[str]) -> Parts:
    """Return the rows of the symbols that both tables have; rows that are adjacent in both are one part."""
    parts: Parts = []
    for to, symbol in enumerate(ours):
        of = theirs.index(symbol) if symbol in theirs else None
        if of is not None and parts and (parts[-1][0].stop, parts[-1][1].stop) == (of, to):
            parts[-1] = slice(parts[-1][0].start, of + 1), slice(parts[-1][1].start, to + 1)
        elif of is not None:
            parts.append((slice(of, of + 1), slice(to, to + 1)))
    return parts


def _sizes(part: Parts) -> str:
    """Write the sizes of a part's slices, equal ones together: "4 x 64", "8 + 2 x 16"."""
    runs = [(size, len(list(run))) for size, run in groupby(to.stop - to.start for _, to in part)]
    return " + ".join(f"{count} x {size}" if count > 1 else str(size) for size, count in runs)
