"""The seam between segmenting and those who can place words in sound: Whisper, the listener of a corpus, pocketsphinx."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording


class Word(NamedTuple):
    """A word, as letters and spaces, and its place in seconds of the recording."""

    letters: str
    start_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        return (self.start_s + self.end_s) / 2


class Aligner(Protocol):
    """Hears and places words in a part of a recording, which begins and ends in pauses."""

    @property
    def name(self) -> str:
        """Return what the user is told."""
        ...

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        """Return what is said in a part with this `speech`, without knowing any text."""
        ...

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        """Return the place of each of these `texts`, which are said in the part one after the other; None: not possible.

        It succeeds with a wrong text, too: whether the text fits, only `hear` tells.
        """
        ...
