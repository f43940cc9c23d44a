"""Advice to a study in which nothing is understood yet: what would bring its closest voice nearer, from what was measured."""

from collections.abc import Sequence

from objective.display.formatting import kframes, percent

FALLING = 0.95  # errors below so much of those before are still falling
LATE = 0.75  # of the frames so far: the last quarter shows whether errors fall
ENOUGH_DROPPED = 0.4  # drop-frame rate from which other knobs are tried first


def nearer(errors: Sequence[tuple[float, float]], drop_frame_rate: float | None) -> str:
    """Return what would bring a voice nearer to being understood, in two sentences.

    errors: (kframes, character error rate) of its free-running syntheses on the way. drop_frame_rate: what it was trained with;
    None where that is not known, or where attention has to form first.
    """
    return f"{_frames(errors)} {_knobs(drop_frame_rate)}"


def _frames(errors: Sequence[tuple[float, float]]) -> str:
    earlier = [point for point in errors if point[0] <= LATE * errors[-1][0]]
    if not earlier:
        return "A larger budget may help (--budget-kframes)."
    (start, before), (end, now) = earlier[-1], errors[-1]
    course = f"{percent(before)} at {kframes(start)} kframes, {percent(now)} at {kframes(end)}"
    if now < FALLING * before:
        return f"Its errors were still falling when it ended ({course}): raise --budget-kframes."
    return f"Its errors were no longer falling ({course}): a larger budget alone will not help."


def _knobs(drop_frame_rate: float | None) -> str:
    if drop_frame_rate is not None and drop_frame_rate < ENOUGH_DROPPED:
        reason = "fewer frames to copy make the decoder read its text"
        return f"Raise network.drop_frame_rate, which is {drop_frame_rate:.2g}: {reason}."
    return "Raise loss.guided_weight, or network.reduction if that is at its bound; or add recordings."
