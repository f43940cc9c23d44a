"""Names by which the columns of a table are recognised, in the order in which they are preferred."""

import re
from collections.abc import Sequence

SOUND = (
    "path", "file", "audio", "wav", "audio_path", "audio_file", "audio_filepath", "audio_filename", "file_name", "filename",
    "file_path", "filepath", "wav_filename", "wav_path", "wav_file", "wav_filepath", "sound", "sound_file", "recording",
    "clip", "fname", "id", "utt_id", "utterance_id", "audio_id", "file_id", "clip_id", "key", "файл", "имя_файла", "путь",
    "аудио",
)  # fmt: skip
TEXT = (
    "normalized_text", "normalised_text", "text_normalized", "normalized_transcription", "normalized_transcript",
    "normalized_sentence", "normalized", "text", "transcript", "transcription", "sentence", "raw_text", "text_raw",
    "raw_transcription", "raw_transcript", "utterance", "original_text", "label_text", "текст", "предложение",
    "расшифровка",
)  # fmt: skip


def sound_column(header: Sequence[str]) -> int | None:
    """Return the column that a header names as the sound; None if it names none."""
    return next(iter(_columns(header, SOUND)), None)


def text_columns(header: Sequence[str]) -> tuple[int, ...]:
    """Return the columns that a header names as texts, the normalised one first."""
    return _columns(header, TEXT)


def _columns(header: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    simple = [re.sub(r"[\s-]+", "_", cell.strip().strip('"').lower()) for cell in header]
    return tuple(simple.index(name) for name in names if name in simple)
