"""Turn measures into findings: a sentence that says what is wrong, one that says what to do, and the lines it is about."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from objective.checking.measures import Row, columns
from objective.checking.network import FALLS_TO, PROBE_UPDATES, Step
from objective.checking.statistics import deviation, distances, rate_distances, verdict
from objective.checking.texts import on_both_sides, repeated

RATE = 4.5  # deviations of the speaking rate; 620 recordings of one reader have one line above 4, texts cut in half 6 to 9
RATE_FLOOR = 0.08  # of the deviation of its log
LEVEL, LEVEL_FLOOR_DB = 5.0, 1.0
TELLS_APART = 4.0  # median fit from which on a listener knows which text belongs to a sound
FIT, FIT_SHARE = 2.0, 0.25  # a text with a smaller fit, or a smaller share of the corpus's median one, is one of many
MANY, SOME = 0.02, 2  # share of the lines with a wrong text or length, and their number, above which no training should start
NOISY_DB, NOISIER_DB = 30.0, 15.0  # noise floor of a corpus; a line this much above the corpus's
NARROW = 0.6  # share of the band that is to be trained on, or of the corpus's usual band
STEADY_DB = 45.0  # below the loud frames: an offset or a hum in the lowest band that never goes away
LONG_END_S = 1.0  # of silence
NEAR_FULL = 0.999  # of full scale

# From the most harmful one on. Those of the first part stop a training by themselves, the others where many lines have them.
STOPPING = ("refused", "not finite", "out of memory", "shifted", "shuffled", "cut", "crowded", "does not learn")
BY_LINE = ("wrong text", "much text", "little text")
HARMLESS = (
    "listener", "bad lines", "both sides", "narrow band", "narrow lines", "noise", "noisy lines", "offset", "level", "clipping",
    "silence", "same text",
)  # fmt: skip
ORDER = (*STOPPING, *BY_LINE, *HARMLESS)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a corpus."""

    kind: str
    sentence: str
    todo: str
    rows: tuple[Row, ...] = ()
    stops: bool = False  # a training should not start with it


def of_lengths(rows: Sequence[Row]) -> tuple[str, list[Finding]]:
    """Hold the lengths of texts and sounds against each other; set the rows' rates. Return the verdict and the findings."""
    if not rows:
        return "unknown", []
    letters, seconds = np.maximum(columns(rows, "letters"), 1), np.maximum(columns(rows, "sound_s"), 0.01)
    found, shift = verdict(seconds, letters)
    pace = f"half of the lines have less than {np.median(letters / seconds):.1f} letters a second of sound"
    usual = "speech has 9 to 15"
    whole = {
        "shifted": (
            f"texts are shifted by {'one line' if abs(shift) == 1 else f'{abs(shift)} lines'}: each text has the length of the "
            f"sound {abs(shift)} {'below' if shift > 0 else 'above'}, not of its own",
            "a line is missing or doubled in the list: move the texts back",
        ),
        "shuffled": (
            "texts and sounds do not belong together: long texts are not with long sounds",
            "make the list again from its source: one of its columns was sorted or shuffled",
        ),
        "cut": (
            f"texts are too short for their sounds: {pace}, {usual}",
            "is this the complete text? Another column may have it",
        ),
        "crowded": (f"texts are too long for their sounds: {pace}, {usual}", "were the sounds cut? Export them again"),
    }
    if found in whole:
        return found, [Finding(found, *whole[found], stops=True)]
    for row, rate in zip(rows, rate_distances(seconds, letters, RATE_FLOOR), strict=True):
        row.rate = float(rate)
    each = deviation(np.log(seconds / letters))[0]
    fast, slow = [row for row in rows if row.rate < -RATE], [row for row in rows if row.rate > RATE]
    rule = f"the usual {1 / np.exp(each):.1f} letters a second"
    return found, [
        *_by_line(
            "much text", fast, rows, f"more letters than fit into their sound at {rule}", "the text says more than is heard"
        ),
        *_by_line("little text", slow, rows, f"far fewer letters than {rule}", "the sound says more than the text, or pauses"),
    ]


def of_listener(rows: Sequence[Row]) -> list[Finding]:
    """Find the texts that another line's text could replace, in the ears of the listener."""
    fits = np.array([row.fit for row in rows if row.fit is not None])
    if not len(fits):
        return []
    if (usual := float(np.median(fits))) < TELLS_APART:
        what = f"the listener does not know which text belongs to a sound (fit {usual:.1f}, need {TELLS_APART:g})"
        way_out = (
            "it has learnt too little (--listen-kframes, --listen-minutes), or most texts belong to other recordings: listen"
        )
        return [Finding("listener", what, way_out)]
    least = min(FIT, FIT_SHARE * usual)
    wrong = [row for row in rows if row.fit is not None and row.fit < least]
    what = "a text that is no likelier than those of other lines, in the ears of a listener that learnt from the others"
    return list(
        _by_line(
            "wrong text", sorted(wrong, key=lambda row: row.fit or 0.0), rows, what, "the text belongs to another recording"
        )
    )


def of_sounds(rows: Sequence[Row], fmax_hz: float) -> Iterator[Finding]:
    """Find what is unusual in the sounds."""
    if not rows:
        return
    for row, far in zip(rows, distances(columns(rows, "level_db"), LEVEL_FLOOR_DB), strict=True):
        row.loudness = float(far)
    band, floor = np.median(columns(rows, "bandwidth_hz")), np.median(columns(rows, "floor_db"))
    if band < NARROW * fmax_hz:
        what = f"nothing above {band:.0f} Hz in half of the recordings, mels go to {fmax_hz:.0f} Hz: a telephone codec"
        yield Finding("narrow band", what, "use the original recordings; a voice will sound like these")
    if floor < NOISY_DB:
        yield Finding(
            "noise", f"noise is only {floor:.0f} dB below the speech (median)", "denoise the recordings: the voice will hiss"
        )
    narrow = _named(rows, lambda row: row.bandwidth_hz < NARROW * band)
    yield from _some(
        "narrow lines", narrow, f"nothing above {NARROW * band:.0f} Hz, unlike other lines", "another source: leave them out"
    )
    noisy = _named(rows, lambda row: row.floor_db < floor - NOISIER_DB and row.floor_db < NOISY_DB)
    yield from _some(
        "noisy lines", noisy, f"noise {NOISIER_DB:g} dB above that of other lines", "denoise them, or leave them out"
    )
    steady = _named(rows, lambda row: row.low_db < STEADY_DB)
    yield from _some("offset", steady, "a constant offset or a hum below 70 Hz", "filter them with a high-pass at 50 Hz")
    level = _named(rows, lambda row: abs(row.loudness) > LEVEL)
    usual_db = np.median(columns(rows, "level_db"))
    yield from _some("level", level, f"a level far from the usual {usual_db:.0f} dB", "bring all recordings to one level")
    yield from _some(
        "clipping", _named(rows, lambda row: row.clipped > 0), "clipped samples", "record them again, or leave them out"
    )
    ends = _named(rows, lambda row: max(row.lead_s, row.tail_s) > LONG_END_S)
    yield from _some("silence", ends, f"more than {LONG_END_S:g} s of silence at an end", "data.trim cuts it (the default)")


def of_texts(rows: Sequence[Row]) -> Iterator[Finding]:
    """Find sentences that come again."""
    both = on_both_sides(rows)
    if both:
        held, trained, share = max(both, key=lambda pair: pair[2])
        what = f"{len(both)} held-out texts are nearly those of trained lines, such as {held.place} and {trained.place}"
        yield Finding(
            "both sides",
            f"{what} ({share:.0%} of the words)",
            "expect a validation that is a little too good",
            tuple(pair[0] for pair in both),
        )
    groups = repeated(rows)
    again = tuple(row for group in groups for row in group)
    if again:
        what = f"{len(again)} lines have a text that others have, {len(groups)} texts in all"
        yield Finding("same text", what, "fine if they were read several times; the split keeps them on one side", again)


def of_network(step: Step | None, losses: Sequence[float]) -> Iterator[Finding]:
    """Judge the update on the largest batch, and the probe."""
    if step is not None and not step.terms:
        what = f"an update on the largest batch ({step.utterances} utterances, {step.frames} frames) does not fit into memory"
        yield Finding("out of memory", what, "set training.batch_frames or a smaller training.batch_size", stops=True)
    elif step is not None and not step.finite:
        terms = ", ".join(f"{name} {value:.3g}" for name, value in step.terms.items())
        yield Finding("not finite", f"the first update is not finite: {terms}", "try --set training.precision=fp32", stops=True)
    if losses and not losses[-1] < FALLS_TO * losses[0]:
        what = f"the loss of one batch falls from {losses[0]:.3g} to {losses[-1]:.3g} in {PROBE_UPDATES} updates"
        yield Finding("does not learn", f"{what}, need {FALLS_TO:g} of the first", "is the learning rate far off?", stops=True)


def sorted_by_harm(findings: Iterable[Finding]) -> list[Finding]:
    """Put the findings that stop a training first, and the most harmful first among equals; mark the rows that they name."""
    found = sorted(findings, key=lambda finding: (not finding.stops, ORDER.index(finding.kind)))
    for finding in found:
        for row in finding.rows:
            if finding.kind not in row.kinds:
                row.kinds.append(finding.kind)
    return found


def _by_line(kind: str, wrong: Sequence[Row], rows: Sequence[Row], what: str, why: str) -> Iterator[Finding]:
    stops = len(wrong) > max(SOME, MANY * len(rows))
    way_out = f"{why}: listen to them, then correct or delete these lines"
    yield from _some(kind, tuple(wrong), what, way_out, stops)


def _some(kind: str, rows: tuple[Row, ...], what: str, todo: str, stops: bool = False) -> Iterator[Finding]:
    if rows:
        count = f"{len(rows)} lines have" if len(rows) > 1 else f"{rows[0].place} has"
        yield Finding(kind, f"{count} {what}", todo, rows, stops)


def _named(rows: Sequence[Row], named: Callable[[Row], bool]) -> tuple[Row, ...]:
    return tuple(row for row in rows if named(row))
