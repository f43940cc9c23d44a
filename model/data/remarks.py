"""Describe a corpus, in a sentence each: characters without a symbol, rates, channels, silence at the ends."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from model.config import Audio
from model.data.mels import Sound
from model.data.problems import CorpusError
from model.data.split import sentence
from model.text.frontend import Encoded
from model.text.languages import Language

OFTEN = 0.03  # share of the recordings whose text comes again, above which it is said
MOST_ALIKE = 0.5  # share of the recordings that may have one and the same text
LONG_SILENCE_S = 0.3  # at an end, median over the recordings: attention has nothing to read there


def dropped(texts: Sequence[Encoded], language: Language, most: float) -> list[str]:
    """Say which characters have no symbol. Raises CorpusError for more than the share `most` of all."""
    lost = Counter(character for encoded in texts for character in encoded.dropped)
    count = sum(lost.values())
    total = sum(len(encoded.text) for encoded in texts) + count
    found = f"{count} of {total} characters have no symbol in {language.code!r} and are dropped: {shown_counts(lost)}"
    if count > most * total:
        rule = f"at most {most:.0%} may be (max_dropped_share)"
        raise CorpusError(f"{found}; {rule}: write them out, or choose the language of the texts")
    return [found] if count else []


def corrected(texts: Sequence[Encoded]) -> list[str]:
    """Say which words had letters of another alphabet that look alike."""
    words = Counter(word for encoded in texts for word in encoded.corrected)
    if not words:
        return []
    count = sum(words.values())
    found = f"in {count} word{'s' * (count > 1)}: {shown_counts(words)}"
    return [f"letters of another alphabet that look alike are corrected {found}"]


def repeated(texts: Sequence[str], path: Path) -> list[str]:
    """Say how many texts are not the only ones of their kind. Raises CorpusError where most recordings have one text."""
    counts = Counter(map(sentence, texts))
    again = sum(count for count in counts.values() if count > 1)
    for text, count in counts.most_common(1):
        if count > MOST_ALIKE * len(texts) and len(texts) > 1:
            rule = f"need recordings of different texts, {count} of {len(texts)} of {path} have the same text, {text[:60]!r}"
            raise CorpusError(f"{rule}: is this the column of the texts? data.columns names another")
    if again <= OFTEN * len(texts):
        return []
    return [f"{again} of {len(texts)} recordings have the same text as another one: equal texts are on one side of the split"]


def converted(sounds: Sequence[Sound], audio: Audio) -> list[str]:
    """Say how many recordings have another rate or several channels."""
    remarks = []
    rates = Counter(sound.rate_hz for sound in sounds if sound.rate_hz != audio.rate_hz)
    if rates:
        shown = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(rates.items()))
        remarks.append(f"{sum(rates.values())} of {len(sounds)} recordings are resampled to {audio.rate_hz} Hz, from {shown}")
    if mixed := sum(sound.channels > 1 for sound in sounds):
        remarks.append(f"{mixed} of {len(sounds)} recordings are mixed down to one channel")
    return remarks


def silence(sounds: Sequence[Sound], trim_margin_s: float | None) -> list[str]:
    """Say how much silence the files have at their ends, if it is trimmed or long."""
    if not sounds:
        return []
    leads, tails = [sound.lead_s for sound in sounds], [sound.tail_s for sound in sounds]
    usual = median(leads), median(tails)
    lengths = f"{usual[0]:.2f} s before and {usual[1]:.2f} s after the speech"
    found = f"silence at the ends: {lengths} (medians; at most {max(leads):.1f} and {max(tails):.1f} s)"
    if trim_margin_s is not None:
        return [f"{found}, trimmed to {trim_margin_s:.2f} s (data.trim)"] if max(*leads, *tails) > trim_margin_s else []
    if max(usual) <= LONG_SILENCE_S:
        return []
    share = sum((*leads, *tails)) / sum(sound.seconds for sound in sounds)
    return [f"{found}: in {share:.0%} of the frames there is no text to read, so attention forms late; data.trim=true cuts it"]


def shown_counts(characters: Counter[str]) -> str:
    """List characters or words with their counts, the most frequent first: `'п' 12, 'р' 3, ...`."""
    shown = ", ".join(f"{character!r} {count}" for character, count in characters.most_common(12))
    return shown + (", ..." if len(characters) > 12 else "")
