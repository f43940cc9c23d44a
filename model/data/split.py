"""Which utterances validate. Pieces of one source recording never stand on both sides where the ids tell the recordings."""

import random
import re
from collections.abc import Sequence

LARGEST_SHARE = 1 / 4  # of the corpus that whole recordings may take
USUAL_SHARE = 1 / 8  # of the corpus, where more utterances are asked for than a small one can spare


def recording(id: str) -> str:
    """The source recording that an id names: `LJ001-0001` -> `LJ001`, `book/017` -> `book`; else the id itself."""
    return re.sub(r"[-_/]\d+$", "", id)


def split(ids: Sequence[str], wanted: int, seed: int) -> tuple[frozenset[int], tuple[str, ...]]:
    """Positions in `ids` that validate, about `wanted` of them, and remarks on how they were chosen. `seed` alone decides.

    Raises ValueError for `wanted` < 1.
    """
    if wanted < 1:
        raise ValueError(f"need at least 1 utterance to validate on, got {wanted}")
    size = min(wanted, max(2, int(len(ids) * USUAL_SHARE)))
    remarks = []
    if size < wanted:
        remarks.append(f"{wanted} utterances were asked for validation, a corpus of {len(ids)} can spare {size}")
    draw = random.Random(seed)
    groups: dict[str, list[int]] = {}
    for position, id in enumerate(ids):
        groups.setdefault(recording(id), []).append(position)
    several = 1 < len(groups) < len(ids)
    names = _whole(groups, size, int(len(ids) * LARGEST_SHARE), draw) if several else []
    if names:
        chosen = frozenset(position for name in names for position in groups[name])
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        remarks.append(f"validation: {len(chosen)} utterances, {len(names)} of {len(groups)} recordings, whole ({shown})")
    else:
        mixed = f"none of the {len(groups)} recordings has the size to be held out whole: pieces of one stand on both sides"
        why = mixed if several else "the ids do not show several recordings"
        chosen = frozenset(draw.sample(range(len(ids)), min(size, len(ids))))
        remarks.append(f"validation: {len(chosen)} utterances drawn at random with seed {seed}, as {why}")
    return chosen, tuple(remarks)


def _whole(groups: dict[str, list[int]], size: int, most: int, draw: random.Random) -> list[str]:
    """Recordings that fit into `size` together, or with the smallest other one into `most`; none if that is too few."""
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
