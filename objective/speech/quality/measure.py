"""Measure a voice: held-out sentences as it says them, and as they were recorded, through the same vocoder and judges.

S samples, F mel frames, M mel bands.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import decode, log_mel, resampled
from model.checkpoints import digest
from model.config import Audio
from model.data.corpus import Corpus, Utterance
from model.data.loading import Example, collate
from model.data.mels import cut_frames
from model.distortion import warped
from model.errors import BadInput
from model.listener import error_rate, spelled
from model.loudness import loudness_db
from model.pitch import pitch, pitch_errors
from model.silence import silent_share
from model.sound_files import read
from model.spoken import Fault
from model.text.languages import Language
from model.text.sentences import Piece
from model.vocoders.loading import GRIFFIN_LIM, Vocoder
from model.voice import Voice
from objective.speech.quality.figures import NOTHING, Floats, FreeRun, Impression, Quality, Sentence, Take
from objective.speech.quality.judges import RATE_HZ, Dnsmos, Whisper, misheard_share
from objective.trial.corpus import Told
from objective.trial.ears import Ears
from objective.trial.judge import Judge, mel_of

FREE_RUNNING = 100  # sentences: a share of 5 % is then known to within 4 %
BATCH = 16  # sentences that are said at once
Share = Callable[[int, int], None]  # how much is done, of how much


class Texts(NamedTuple):
    """Sentences to say free-running, without recordings, and which they are."""

    which: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instruments:
    """All that a sentence goes through, whether a voice says it or a person has. None: is not there."""

    audio: Audio
    language: Language
    vocoder: Vocoder
    ears: Ears
    whisper: Whisper | None = None
    dnsmos: Dnsmos | None = None
    vocoder_name: str = GRIFFIN_LIM
    listener_name: str = "of the corpus"

    @property
    def judges(self) -> dict[str, str | None]:
        """The names of the judges; None for one that is missing."""
        whisper, dnsmos = (None if one is None else one.name for one in (self.whisper, self.dnsmos))
        return {"listener": self.listener_name if self.ears.hears else None, "whisper": whisper, "dnsmos": dnsmos}


@dataclass(frozen=True, slots=True)
class Recording:
    """A held-out sentence as it was recorded, before any vocoder."""

    text: str
    mel: Floats  # (F, M) natural log
    wave: Floats  # (hop_samples * (F - 1),)
    pitch_hz: NDArray[np.float64]  # (F,), NaN: not voiced


def measure(
    voice: Voice, name: str, judge: Judge, recordings: Sequence[Recording], instruments: Instruments, texts: Texts,
    margin: float, told: Told,
) -> Quality:  # fmt: skip
    """Return what is found out about a voice.

    name: a sentence that names it. judge, recordings: of the held-out sentences. texts: those that are said free-running.
    margin: character errors beyond the recordings' up to which it is understood. Raises BadInput for speech that is not finite.
    """
    told("saying the held-out sentences", 0, 1)
    mels, faults = said(voice, judge)
    told("saying the held-out sentences", 1, 1)
    spoken = takes(mels, recordings, instruments, partial(told, "measuring the voice"))
    own = takes([one.mel for one in recordings], recordings, instruments, partial(told, "measuring the recordings"))
    rows = zip(recordings, faults, spoken, own, strict=True)
    sentences = [Sentence(one.text, wrong, take, other) for one, wrong, take, other in rows]
    listener = instruments.ears.listener if instruments.ears.hears else None
    failed = free_running(replace(voice, listener=listener), texts.sentences, partial(told, "saying more sentences"))
    return Quality(
        voice=name,
        weights=digest(voice.network.state_dict()),
        language=voice.language.code,
        vocoder=instruments.vocoder_name,
        sentences=tuple(sorted(sentences, key=lambda one: one.severity, reverse=True)),
        free_running=FreeRun(texts.which, tuple(failed)),
        margin=margin,
        judges=instruments.judges,
    )


def said(voice: Voice, judge: Judge) -> tuple[list[Floats], list[tuple[Fault, ...]]]:
    """Return the mel of each held-out sentence by a voice, and its faults, as the judge of trials finds them."""
    output, spoken = judge(voice.network)
    if spoken is None:
        raise BadInput("need a voice whose speech is finite, got values that are not: choose another trial")
    return [mel_of(output, row) for row in range(len(judge.rows))], [one.faults for one in spoken.sentences]


def recorded(corpus: Corpus, judge: Judge, audio: Audio, margin_s: float | None, told: Share) -> list[Recording]:
    """Read the recordings of the judge's sentences.

    margin_s: silence that was left at their ends; None: all. Raises SoundError for a file that cannot be read.
    """
    found = []
    for row, sentence in zip(judge.rows, judge.sentences, strict=True):
        wave = _wave(corpus.validation[row], audio, margin_s)
        found.append(Recording(sentence.text, sentence.mel, wave, pitch(wave, audio, len(sentence.mel))))
        told(len(found), len(judge.rows))
    return found


def _wave(utterance: Utterance, audio: Audio, margin_s: float | None) -> Floats:
    """Return the part of a recording that its mel is of: frame i is centred at i hops."""
    sound, hop = utterance.sound, audio.hop_samples
    wave, _ = decode(read(utterance.recording), audio)
    start, samples = cut_frames(sound, audio, margin_s) * hop, max(1, sound.frames - 1) * hop
    return np.pad(wave[start:], (0, samples))[:samples]


def takes(mels: Sequence[Floats], recordings: Sequence[Recording], instruments: Instruments, told: Share) -> list[Take]:
    """Measure one mel (F, M) for each recording: what is heard of it, and how it differs from the recording itself."""
    found = []
    impressions = heard(mels, [one.text for one in recordings], instruments.ears)
    for mel, one, impression in zip(mels, recordings, impressions, strict=True):
        wave = instruments.vocoder(mel)
        mcd_db, cents, unlike = _differences(wave, len(mel), one, instruments.audio)
        written, score = _judged(wave, instruments)
        found.append(
            Take(
                seconds=len(mel) * instruments.audio.hop_samples / instruments.audio.rate_hz,
                silence=float(silent_share(torch.from_numpy(mel)[None], torch.tensor([len(mel)]))[0]),
                mcd_db=mcd_db,
                f0_rmse_cents=cents,
                voicing_errors=unlike,
                impression=impression,
                whisper=written,
                whisper_cer=None if written is None else misheard_share(one.text, written, instruments.language),
                dnsmos=score,
                wave=wave,
            )
        )
        told(len(found), len(mels))
    return found


def _judged(wave: Floats, instruments: Instruments) -> tuple[str | None, float | None]:
    """Return what Whisper writes of a wave, and its score by DNSMOS."""
    whisper, dnsmos = instruments.whisper, instruments.dnsmos
    if whisper is None and dnsmos is None:
        return None, None
    audible = resampled(wave, instruments.audio, RATE_HZ)
    return None if whisper is None else whisper.write(audible), None if dnsmos is None else dnsmos.score(audible)


def heard(mels: Sequence[Floats], texts: Sequence[str], ears: Ears) -> list[Impression]:
    """Return what the listener hears of mels (F, M) that are to say `texts`."""
    if ears.listener is None or not ears.hears:
        return [NOTHING] * len(mels)
    language = ears.listener.language
    batch = collate([Example((1,), mel) for mel in mels]).to(next(ears.listener.network.parameters()).device)
    return [
        Impression(one.text, min(1.0, error_rate([spelled(text, language)], [one.text])), one.surprise)
        for text, one in zip(texts, ears.listener.hear(batch.mels, batch.frame_lengths, texts), strict=True)
    ]


def _differences(wave: Floats, frames: int, recording: Recording, audio: Audio) -> tuple[float, float | None, float]:
    """Return how far a wave is from a recording: distortion in dB, pitch in cents, and the share of unlike voicing."""
    gain_db = loudness_db(recording.wave, audio.rate_hz) - loudness_db(wave, audio.rate_hz)
    level = 10 ** (gain_db / 20) if np.isfinite(gain_db) else 1.0  # at one level, what is below the floor is so in both
    warping = warped(log_mel(np.clip(wave * np.float32(level), -1, 1), audio)[:frames], recording.mel)
    return warping.mcd_db, *pitch_errors(pitch(wave, audio, frames), recording.pitch_hz, warping.path)


def free_running(voice: Voice, texts: Sequence[str], told: Share) -> Iterator[tuple[Fault, ...]]:
    """Say texts once each, as `speak --tries 1` does, and yield their faults."""
    for start in range(0, len(texts), BATCH):
        batch = [Piece(text, 0.0) for text in texts[start : start + BATCH]]
        yield from (utterance.faults for utterance in voice.say_batch(batch, tries=1))
        told(start + len(batch), len(texts))


def chosen(corpus: Corpus) -> Texts:
    """Choose FREE_RUNNING sentences of a corpus: the held-out ones, then others by chance, which are always the same."""
    held_out = [utterance.text for utterance in corpus.validation][:FREE_RUNNING]
    train = [utterance.text for utterance in corpus.train]
    more = Random(0).sample(train, min(len(train), FREE_RUNNING - len(held_out)))
    return Texts(f"{len(held_out)} held out and {len(more)} to train on", (*held_out, *more))
