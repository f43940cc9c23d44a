"""Split a corpus into training and validation. Where the ids show the source recordings, none of them is on both sides."""

import random
import re
from collections.abc import Sequence

LARGEST_SHARE = 1 / 4  # of a corpus that complete recordings may take for validation
USUAL_SHARE = 1 / 8  # of a corpus that is too small for the wanted number of utterances


def recording(id: str) -> str:
    """Return the source recording that an id names: `LJ001-0001` -> `LJ001`, `book/017` -> `book`; else the id itself."""
    return re.sub(r"[-_/]\d+$", "", id)


def split(ids: Sequence[str], wanted: int, seed: int) -> tuple[frozenset[int], tuple[str, ...]]:
    """Choose about `wanted` positions in `ids` for validation. Return them, and remarks on how they were chosen.

    The choice depends on the arguments only. Raises ValueError for `wanted` < 1.
    """
    if wanted < 1:
        raise ValueError(f"need at least 1 utterance to validate on, got {wanted}")
    size = min(wanted, max(2, int(len(ids) * USUAL_SHARE)))
    remarks = []
    if size < wanted:
        remarks.append(f"{wanted} utterances were requested for validation, a corpus of {len(ids)} can spare {size}")
    draw = random.Random(seed)
    groups: dict[str, list[int]] = {}
    for position, id in enumerate(ids):
        groups.setdefault(recording(id), []).append(position)
    several = 1 < len(groups) < len(ids)
    names = _complete_recordings(groups, size, int(len(ids) * LARGEST_SHARE), draw) if several else []
    if names:
        chosen = frozenset(position for name in names for position in groups[name])
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        remarks.append(f"validation: {len(chosen)} utterances, {len(names)} complete recordings of {len(groups)} ({shown})")
    else:
        mixed = f"none of the {len(groups)} recordings has the size to be held out completely: one may be on both sides"
        why = mixed if several else "the ids do not show several recordings"
        chosen = frozenset(draw.sample(range(len(ids)), min(size, len(ids))))
        remarks.append(f"validation: {len(chosen)} utterances drawn at random with seed {seed}, as {why}")
    return chosen, tuple(remarks)


def _complete_recordings(groups: dict[str, list[int]], size: int, most: int, draw: random.Random) -> list[str]:
    """Choose recordings that have at most `size` utterances together.

    If they have less than half of that, add the smallest other one, or choose none if that makes more than `most`.
    """
    names = sorted(groups)
    draw.shuffle(names)
    chosen: list[str] = []
    taken = 0
    for name in names:
        if taken + len(groups[name]) <= size:
            chosen.append(name)
            taken += len(groups[name])
    if 2 * taken >= size:
        return chosen
    smallest = min((name for name in names if name not in chosen), key=lambda name: len(groups[name]))
    return [*chosen, smallest] if taken + len(groups[smallest]) <= most else []
