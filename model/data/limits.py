"""The limits that an utterance, and a corpus, must keep to be trained on, and how a text or a recording breaks them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from model.data.mels import Sound
from model.data.remarks import shown_counts
from model.text.frontend import Encoded

Fault = tuple[str, str]  # a Problem's reason and detail

FOREIGN = "characters without a symbol"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that an utterance, and a corpus, must keep to be trained on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    min_seconds: float = 0.4
    max_seconds: float = 20.0
    min_seconds_per_symbol: float = 0.02  # speech takes 0.05 to 0.1; outside, text and sound do not belong together
    max_seconds_per_symbol: float = 0.5
    max_symbols: int = 400  # of a text in letters, so that letters and phonemes keep the same lines
    min_rms: float = 1e-3  # 1 = full scale: below -60 dB there is no sound
    max_clipped: float = 0.005  # share of samples at full scale, in runs of three or more
    max_line_dropped_share: float = 0.1  # share of a line's signs without a symbol: above, or with a letter, it is left out
    max_dropped_share: float = 0.01  # the same over all lines that are kept: above, the corpus is refused
    max_bad_share: float = 0.05  # share of the lines that may be left out
    min_train: int = 8  # utterances

    def __post_init__(self) -> None:
        for low, high in (("min_seconds", "max_seconds"), ("min_seconds_per_symbol", "max_seconds_per_symbol")):
            least, most = getattr(self, low), getattr(self, high)
            if not 0 <= least < most:
                raise ValueError(f"need 0 <= {low} < {high}, got {least} and {most}")
        for name in ("max_clipped", "max_line_dropped_share", "max_dropped_share", "max_bad_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, need 0 <= {name} <= 1, got {getattr(self, name)}")
        for name in ("max_symbols", "min_train"):
            if getattr(self, name) < 1:
                raise ValueError(f"need {name} >= 1, got {getattr(self, name)}")


def text_fault(encoded: Encoded, limits: Limits) -> Fault | None:
    """Return why a text cannot be trained on, if so."""
    characters = len(encoded.text) + len(encoded.dropped)
    if encoded.lost or len(encoded.dropped) > limits.max_line_dropped_share * characters:
        shown = shown_counts(Counter(encoded.lost or encoded.dropped))
        return FOREIGN, f"{len(encoded.dropped)} of {characters}: {shown}; write out what is said"
    if not encoded.ids or not any(character.isalnum() for character in encoded.text):
        return "empty text", f"nothing in {encoded.text!r} can be spoken"
    if encoded.length > limits.max_symbols:
        return "text too long", f"{encoded.length} symbols, need at most {limits.max_symbols} (max_symbols)"
    return None


def sound_fault(sound: Sound, symbols: int, limits: Limits) -> Fault | None:
    """Return why a recording of a text of `symbols` letters cannot be trained on, if so."""
    if sound.seconds < limits.min_seconds:
        return "too short", f"{sound.seconds:.2f} s, need at least {limits.min_seconds:g} s (min_seconds)"
    if sound.seconds > limits.max_seconds:
        return "too long", f"{sound.seconds:.2f} s, need at most {limits.max_seconds:g} s (max_seconds)"
    if sound.rms < limits.min_rms:
        return "no sound", f"RMS {sound.rms:.1e} of full scale, need at least {limits.min_rms:.1e} (min_rms)"
    if sound.clipped > limits.max_clipped:
        shares = f"{sound.clipped:.1%} of the samples, need at most {limits.max_clipped:.1%} (max_clipped)"
        return "clipping", f"{shares}; the peak is {sound.peak:.3g} of full scale"
    least, most = limits.min_seconds_per_symbol, limits.max_seconds_per_symbol
    if not least <= sound.seconds / symbols <= most:
        found = f"{sound.seconds:.2f} s for {symbols} symbols are {sound.seconds / symbols:.3f} s each"
        return "text and length do not belong together", f"{found}, need {least:g} to {most:g} (seconds_per_symbol)"
    return None
