"""Write what a voice predicts for its recordings, to fine-tune a vocoder on: a program of `export` (objective/export.py).

The prediction is teacher-forced: its frames are those of the recording. The files are laid out as HiFi-GAN's train.py reads
them with --fine_tuning: NAME.npy, wavs/NAME.wav, and lists with lines `NAME|text`.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from model.audio import Floats, decode, save
from model.config import Audio
from model.data.corpus import Corpus, Utterance
from model.data.loading import Example, collate
from model.data.mels import cut_frames
from model.errors import BadInput
from model.files import atomic_write
from model.sound_files import read
from model.synthesis import SYNTHESIS_SEED
from model.tacotron2 import Tacotron2
from model.voice import Voice
from objective.settings.device import device_of
from objective.settings.schema import Settings
from objective.speech.find import find
from objective.speech.recordings import corpus_of, settings_of
from objective.trial.corpus import Bar, Recordings, fingerprint, progress

BATCH = 16  # recordings of similar length at once
ORIGIN = "origin.json"  # says which voice and which recordings the files belong to


def run(parsed: argparse.Namespace) -> int:
    """Write the mels, recordings and lists; what exists is kept. Raises BadInput and OSError."""
    found = find(parsed.voice, parsed.trial, parsed.out, parsed.storage)
    voice = Voice.load(found.path, device_of(parsed.device))
    settings = settings_of(found, voice, parsed.data, parsed.out)
    print(f"{found.note}, {voice.language.code}", file=sys.stderr)
    corpus = corpus_of(settings, voice)
    utterances = (*corpus.train, *corpus.validation)
    folder: Path = parsed.mels
    named = names([utterance.id for utterance in utterances])
    _claim(folder, voice, corpus)
    left = [utterance for utterance in utterances if not all(path.exists() for path in _files(folder, named[utterance.id]))]
    with progress(settings.quiet) as bars:
        _write(folder, voice, left, named, settings.data.margin_s, Bar(bars, "predicting the mels"))
    for name, part in (("train.txt", corpus.train), ("validation.txt", corpus.validation)):
        with atomic_write(folder / name) as file:
            file.write_text("".join(f"{named[one.id]}|{one.text}\n" for one in part), encoding="utf-8")
    _report(folder, settings, corpus, len(utterances) - len(left))
    return 0


@torch.no_grad()
def forced(network: Tacotron2, examples: Sequence[Example]) -> list[Floats]:
    """Return the mel (F, M), natural log, that a network predicts for each example from the recording's frames before.

    The prenet's dropout is on, with the masks of synthesis, so that the mels are as sharp as those that it says on its own.
    """
    batch = collate(examples).to(network.mel_mean.device)
    steps = -(-batch.mels.shape[1] // network.network.reduction)
    masks = network.prenet.draw(steps, torch.Generator().manual_seed(SYNTHESIS_SEED)).transpose(0, 1)[:, :, None]
    mels = network.eval()(batch, masks.to(batch.mels.device)).mel_after.cpu().numpy()
    return [mel[: len(example.mel)] for mel, example in zip(mels, examples, strict=True)]


def wave_of(utterance: Utterance, audio: Audio, trim_margin_s: float | None) -> Floats:
    """Return the recording (F * hop,) with the middle of each of its mel's F frames in the middle of a hop.

    HiFi-GAN takes frame i for the samples from i hops to i + 1, ours is centred at i hops: the wave begins half a hop before
    the first frame. Raises SoundError for a file that cannot be read.
    """
    wave, _ = decode(read(utterance.recording), audio)
    hop = audio.hop_samples
    before = hop // 2
    start = cut_frames(utterance.sound, audio, trim_margin_s) * hop  # in the padded wave, half a hop before the frame's centre
    samples = utterance.sound.frames * hop
    return np.pad(wave, (before, hop))[start : start + samples]


def names(ids: Sequence[str]) -> dict[str, str]:
    """Return a file's name for each id: HiFi-GAN looks for mels in one folder. Raises BadInput where two would be the same."""
    last, whole = [PurePosixPath(one).name for one in ids], [one.strip("/").replace("/", "_") for one in ids]
    for candidates in (last, whole):
        if len(set(candidates)) == len(ids):
            return dict(zip(ids, candidates, strict=True))
    same = next(name for name in whole if whole.count(name) > 1)
    raise BadInput(f"need recordings with different names, two would be {same}.npy: rename one")


def _claim(folder: Path, voice: Voice, corpus: Corpus) -> None:
    """Write into the folder what its files belong to. Raises BadInput where it holds those of another voice or corpus."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in voice.network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    origin = {"voice": digest.hexdigest(), "recordings": fingerprint(corpus), "audio": asdict(voice.config.audio)}
    path = folder / ORIGIN
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != origin:
            raise BadInput(f"{folder} holds the mels of another voice, or of other recordings: choose another folder")
    elif any(folder.glob("*.npy")):
        raise BadInput(f"need a folder without other mels, got {folder}: choose another")
    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(origin), encoding="utf-8")


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.npy", folder / "wavs" / f"{name}.wav"


def _write(folder: Path, voice: Voice, left: list[Utterance], named: dict[str, str], margin_s: float | None, told: Bar) -> None:
    """Write the mels and waves that are missing, the shortest first."""
    network, audio = voice.network, voice.config.audio
    network.network = replace(network.network, recurrence="auto")  # a voice that was trained on a GPU may be here on a CPU
    left = sorted(left, key=lambda utterance: utterance.sound.frames)
    for start in range(0, len(left), BATCH):
        part = left[start : start + BATCH]
        for utterance, mel in zip(part, forced(network, list(Recordings(part))), strict=True):
            mel_path, wave_path = _files(folder, named[utterance.id])
            save(wave_path, wave_of(utterance, audio, margin_s), audio)
            content = BytesIO()
            np.save(content, np.ascontiguousarray(mel.T))
            with atomic_write(mel_path) as file:
                file.write_bytes(content.getbuffer())
        told(start + len(part), len(left))


def _report(folder: Path, settings: Settings, corpus: Corpus, kept: int) -> None:
    """Print what was written, and which sounds belong to it."""
    already = f", {kept} of them already there" if kept else ""
    parts = f"{len(corpus.train)} recordings to train on and {len(corpus.validation)} to validate"
    print(f"wrote {folder}: mels of {parts}{already}")
    cut = "without the silence that was cut (data.trim), " if settings.data.trim else ""
    print(f"they belong to {folder / 'wavs'}, not to the recordings themselves: {cut}at {settings.audio.rate_hz} Hz, each")
    print(f"of {settings.audio.hop_samples} samples a frame, so that HiFi-GAN's train.py --fine_tuning True can pair them")
