"""A list of recordings with texts -> checked utterances for training and validation, or an error that says what is wrong.

Each line is used completely or left out, with its number and the reason: neither text nor speech is ever cut.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from model.config import Audio
from model.data.limits import FOREIGN, Fault, Limits, sound_fault, text_fault
from model.data.manifests import Line, Manifest, read
from model.data.mels import Sound, prepare
from model.data.problems import CorpusError, Problem, counted
from model.data.remarks import converted, corrected, dropped, repeated, silence
from model.data.split import split
from model.sound_files import SoundError
from model.text import stress
from model.text.frontend import Encoded, encode
from model.text.languages import LANGUAGES, Language

Progress = Callable[[int, int], None]  # (recordings done, recordings in total)
EncodedLine = tuple[Line, Encoded]

MIN_DEVIATION = 0.01  # of log-mels, whose standard deviation is 2 to 3 in speech: below, the network would see rounding noise
WORKERS = 4  # threads at most: decoding and the Fourier transform run outside the interpreter's lock


@dataclass(frozen=True, slots=True)
class Utterance:
    id: str
    text: str  # cleaned
    ids: tuple[int, ...]  # of the symbols of the corpus's language
    sound: Sound
    recording: Path  # the sound's file


@dataclass(frozen=True, slots=True)
class Texts:
    """The lines of a list as a network would read them, and those that cannot be used."""

    manifest: Manifest
    lines: tuple[EncodedLine, ...]
    problems: tuple[Problem, ...]

    @property
    def total(self) -> int:  # lines, good and bad
        return len(self.manifest.lines) + len(self.manifest.problems)


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is known of texts and recordings before they are accepted as a corpus, or refused."""

    texts: Texts
    kept: tuple[tuple[EncodedLine, Sound], ...]
    problems: tuple[Problem, ...]  # lines left out, by number
    remarks: tuple[str, ...]  # on the sounds


@dataclass(frozen=True, slots=True)
class Corpus:
    language: Language
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    problems: tuple[Problem, ...]  # lines left out, by number
    remarks: tuple[str, ...]  # a sentence each
    mel_mean: float  # over all frames and bands of `train`
    mel_std: float


def load_corpus(
    path: Path,
    language: Language,
    audio: Audio,
    cache: Path,
    limits: Limits,
    validation: int,
    seed: int,
    progress: Progress | None = None,
    trim_margin_s: float | None = None, columns: str | None = None, reading: Progress | None = None,
) -> Corpus:  # fmt: skip
    """Read, check, analyse and split the corpus at `path`, a folder or a list (see `manifests`).

    `validation`: utterances to validate on. Silence at the ends is cut to `trim_margin_s` seconds; None leaves it. `columns`:
    those of sound and text, see `manifests.read`. `progress` counts recordings, `reading` texts. The result depends only on the
    files, the settings and `seed`.
    Raises CorpusError where too many lines are bad, too few are left, or too many characters have no symbol.
    """
    texts = read_texts(path, language, limits, columns, cache.parent / "stress", reading)
    refuse_texts(texts, language, limits)  # before the recordings, which may take minutes
    return corpus_of(read_sounds(texts, audio, cache, limits, progress, trim_margin_s), language, limits, validation, seed)


def read_texts(
    path: Path, language: Language, limits: Limits, columns: str | None = None, marks: Path | None = None,
    progress: Progress | None = None,
) -> Texts:  # fmt: skip
    """Read the list at `path`, with stress marks kept in the folder `marks`. Raises CorpusError where there is no list."""
    manifest = read(path, columns)
    lines, problems = [], [*manifest.problems]
    with stress.remembered(marks) if marks and language.stress == "silero" else nullcontext():
        for done, line in enumerate(manifest.lines, start=1):
            encoded = encode(line.text, language)
            if fault := text_fault(encoded, limits):
                problems.append(Problem(line.number, line.id, *fault, line.list))
            else:
                lines.append((line, encoded))
            if progress:
                progress(done, len(manifest.lines))
    return Texts(manifest, tuple(lines), tuple(problems))


def refuse_texts(texts: Texts, language: Language, limits: Limits) -> None:
    """Raise CorpusError for texts that cannot be trained on, whatever their recordings are."""
    _refuse_language(texts.manifest.lines, texts.problems, language, limits)
    _refuse_bad(texts.manifest.path, texts.problems, texts.total, limits)


def read_sounds(
    texts: Texts, audio: Audio, cache: Path, limits: Limits, progress: Progress | None, trim_margin_s: float | None
) -> Reading:
    """Analyse the recordings of the texts; a bad one costs its line."""
    sounds = _analyse([line.audio for line, _ in texts.lines], audio, cache, progress, trim_margin_s)
    kept, bad_sounds = _match(texts.lines, sounds, limits)
    problems = tuple(sorted((*texts.problems, *bad_sounds), key=lambda problem: (problem.list, problem.line)))
    heard = [sound for _, sound in kept]
    return Reading(texts, kept, problems, (*converted(heard, audio), *silence(heard, trim_margin_s)))


def corpus_of(reading: Reading, language: Language, limits: Limits, validation: int, seed: int) -> Corpus:
    """Split what was read into training and validation. Raises CorpusError where it cannot be trained on."""
    manifest, kept, problems, total = reading.texts.manifest, reading.kept, reading.problems, reading.texts.total
    _refuse_bad(manifest.path, problems, total, limits)
    remarks = [*manifest.remarks]
    if problems:
        remarks.append(f"{len(problems)} of {total} lines are left out: {counted(problems)}")
    remarks += dropped([encoded for (_, encoded), _ in kept], language, limits.max_dropped_share)
    remarks += corrected([encoded for (_, encoded), _ in kept])
    remarks += reading.remarks

    utterances = [
        Utterance(line.id, encoded.text, encoded.ids, sound, line.audio.absolute()) for (line, encoded), sound in kept
    ]
    texts = [utterance.text for utterance in utterances]
    remarks += repeated(texts, manifest.path)
    chosen, how = split([utterance.id for utterance in utterances], validation, seed, texts)
    train = tuple(utterance for position, utterance in enumerate(utterances) if position not in chosen)
    if len(train) < limits.min_train:
        rule = f"need at least {limits.min_train} utterances to train on (min_train), {manifest.path} leaves {len(train)}"
        raise CorpusError(f"{rule} of {total} lines: add recordings", problems)
    mean, deviation = _mel_statistics([utterance.sound for utterance in train])
    if deviation < MIN_DEVIATION:
        rule = f"need mels that differ by at least {MIN_DEVIATION} (standard deviation), got {deviation:.1e} in {manifest.path}"
        raise CorpusError(f"{rule}: check fmin_hz, fmax_hz and window_samples of audio")
    return Corpus(
        language=language,
        train=train,
        validation=tuple(utterances[position] for position in sorted(chosen)),
        problems=problems,
        remarks=(*remarks, *how),
        mel_mean=mean,
        mel_std=deviation,
    )


def _analyse(
    paths: Sequence[Path], audio: Audio, cache: Path, progress: Progress | None, trim_margin_s: float | None
) -> Iterator[Sound | SoundError]:
    """Yield the sounds in the order of `paths`; a file that cannot be read yields its error."""

    def sound_or_error(path: Path) -> Sound | SoundError:
        try:
            return prepare(path, audio, cache, trim_margin_s)
        except SoundError as error:
            return error

    pool = ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1))
    try:
        for done, sound in enumerate(pool.map(sound_or_error, paths), start=1):
            yield sound
            if progress:
                progress(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the complete corpus


def _match(
    texts: Sequence[EncodedLine], sounds: Iterator[Sound | SoundError], limits: Limits
) -> tuple[tuple[tuple[EncodedLine, Sound], ...], list[Problem]]:
    kept: list[tuple[EncodedLine, Sound]] = []
    problems = []
    lines: dict[Path, str] = {}  # the lines of the sounds so far, by content
    for (line, encoded), sound in zip(texts, sounds, strict=True):
        if isinstance(sound, SoundError):
            fault: Fault | None = ("unreadable sound", f"{line.audio}: {sound}")
        elif sound.mel_path in lines:
            fault = ("same sound twice", f"{lines[sound.mel_path]} has the same recording")
        else:
            lines[sound.mel_path] = line.place
            fault = sound_fault(sound, encoded.length, limits)
        if fault:
            problems.append(Problem(line.number, line.id, *fault, line.list))
        elif isinstance(sound, Sound):
            kept.append(((line, encoded), sound))
    return tuple(kept), problems


def _refuse_language(lines: Sequence[Line], problems: Sequence[Problem], language: Language, limits: Limits) -> None:
    """Refuse texts of another language with its name: the cause of all problems is one setting."""
    foreign = [problem for problem in problems if problem.reason == FOREIGN]
    if 2 * len(foreign) <= len(lines):
        return
    sample = lines[:: max(1, len(lines) // 20)]

    def fits(known: Language) -> bool:
        return 2 * sum(text_fault(encode(line.text, known), limits) is None for line in sample) > len(sample)

    better = next((code for code, known in LANGUAGES.items() if fits(known)), None)
    known = f"need one of {', '.join(LANGUAGES)}, or another column (data.columns)"
    way_out = f"set data.language={better}" if better else known
    rule = f"{len(foreign)} of {len(lines)} texts are not in {language.code!r}, such as {lines[0].text[:60]!r}"
    raise CorpusError(f"{rule}: {way_out}", foreign)


def _refuse_bad(path: Path, problems: Sequence[Problem], total: int, limits: Limits) -> None:
    if len(problems) > limits.max_bad_share * total:
        rule = f"{len(problems)} of {total} lines of {path} are bad, at most {limits.max_bad_share:.0%} may be (max_bad_share)"
        raise CorpusError(
            f"{rule}: correct them or delete their lines", sorted(problems, key=lambda problem: (problem.list, problem.line))
        )


def _mel_statistics(sounds: Sequence[Sound]) -> tuple[float, float]:
    """Return the mean and the standard deviation over all frames and bands."""
    frames = sum(sound.frames for sound in sounds)
    mean = sum(sound.frames * sound.mel_mean for sound in sounds) / frames
    square = sum(sound.frames * sound.mel_square for sound in sounds) / frames
    return mean, math.sqrt(max(0.0, square - mean**2))
