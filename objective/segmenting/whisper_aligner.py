"""Place words by the times that Whisper gives to what it hears (faster-whisper, with weights that the user has)."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from model.errors import BadInput
from model.listener import spelled
from model.text.frontend import encode
from model.text.languages import Language
from objective.segmenting.aligning import Word
from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording

RATE_HZ = 16_000


class Whisper:
    """The seam's aligner for any language that Whisper knows."""

    def __init__(self, folder: Path, language: Language, threads: int = 1) -> None:
        try:
            faster_whisper = import_module("faster_whisper")
        except ImportError as why:
            raise BadInput("need faster-whisper for --whisper, which is not installed: pip install faster-whisper") from why
        if not (folder / "model.bin").is_file():
            raise BadInput(f"need the folder of a model of faster-whisper, got {folder}, without model.bin: choose another")
        self.language = language
        self.name = f"whisper {folder.name}"
        self._model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=threads)

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        segments, _ = self._model.transcribe(
            recording.read(part.start_s, part.end_s, RATE_HZ),
            language=self.language.code,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        return [
            Word(
                self._letters(word.word),
                part.start_s + word.start,
                part.start_s + word.end,
            )
            for segment in segments
            for word in segment.words
        ]

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        return None  # it cannot be told a text: its own words are matched with it

    def _letters(self, word: str) -> str:
        return spelled(encode(word, self.language).text, self.language)
