"""Split a corpus into training and validation. No sentence is on both sides, nor a source recording where the ids show them."""

import random
import re
from collections.abc import Sequence

LARGEST_SHARE = 1 / 4  # of a corpus that complete recordings may take for validation
MOVED_SHARE = 1 / 4  # of complete recordings that may go back to training because others have the same sentences
USUAL_SHARE = 1 / 8  # of a corpus that is too small for the wanted number of utterances


def recording(id: str) -> str:
    """Return the source recording that an id names: `LJ001-0001` -> `LJ001`, `book/017` -> `book`; else the id itself."""
    return re.sub(r"[-_/]\d+$", "", id)


def sentence(text: str) -> str:
    """Return the words of a text, by which it is the same sentence as another: without case and punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def split(ids: Sequence[str], wanted: int, seed: int, texts: Sequence[str] = ()) -> tuple[frozenset[int], tuple[str, ...]]:
    """Choose about `wanted` positions in `ids` for validation. Return them, and remarks on how they were chosen.

    Equal `texts`, one for each id, stay on one side. The choice depends on the arguments only.
    Raises ValueError for `wanted` < 1.
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
    mixed = f"none of the {len(groups)} recordings has the size to be held out completely: one may be on both sides"
    why = mixed if several else "the ids do not show several recordings"
    sentences = [sentence(text) for text in texts]
    if names:
        whole = frozenset(position for name in names for position in groups[name])
        chosen = whole - _on_both_sides(whole, sentences)
        if len(whole) - len(chosen) <= MOVED_SHARE * len(whole):
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            moved = f"; {len(whole) - len(chosen)} more are trained on, as others say the same" if chosen != whole else ""
            remarks.append(
                f"validation: {len(chosen)} utterances, {len(names)} complete recordings of {len(groups)} ({shown}){moved}"
            )
            return chosen, tuple(remarks)
        why = "recordings share their sentences: one may be on both sides"
    chosen = frozenset(draw.sample(range(len(ids)), min(size, len(ids))))
    if _on_both_sides(chosen, sentences):
        chosen = _complete_sentences(sentences, size, draw)
    remarks.append(f"validation: {len(chosen)} utterances drawn at random with seed {seed}, as {why}")
    return chosen, tuple(remarks)


def _on_both_sides(chosen: frozenset[int], sentences: Sequence[str]) -> frozenset[int]:
    """Return the chosen positions whose sentence is also at one that is not chosen."""
    trained = {text for position, text in enumerate(sentences) if position not in chosen}
    return frozenset(position for position in chosen if sentences and sentences[position] in trained)


def _complete_sentences(sentences: Sequence[str], size: int, draw: random.Random) -> frozenset[int]:
    """Choose sentences with all their utterances, at most `size` together; one alone if all have more."""
    groups: dict[str, list[int]] = {}
    for position, text in enumerate(sentences):
        groups.setdefault(text, []).append(position)
    names = sorted(groups)
    draw.shuffle(names)
    chosen: list[int] = []
    for name in names:
        if len(chosen) + len(groups[name]) <= size:
            chosen += groups[name]
    return frozenset(chosen or groups[min(names, key=lambda name: len(groups[name]))])


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
