"""Let other judges hear the voices of an archive that was recorded with `tacotune record --keep-weights`.

    python -m benchmarks.voices --curves runs/curves.curves --judgements heard.jsonl --seed 1 --whisper FOLDER --dnsmos

Each kept snapshot says the same validation sentences as in its study; Griffin-Lim turns them into waves. The judges:

    --whisper FOLDER    faster-whisper with the model in this folder, if faster-whisper is installed: errors of what it writes
    --seed N            our listener, trained with another seed: errors of what it hears in the mels
    --sentences N       judge only N sentences of each voice, spread over their lengths: a recogniser takes a second for each
    --dnsmos            DNSMOS, if speechmos is installed: its overall score, from 1 to 5, of how natural the waves sound

A judgement is a line of JSON: {"k": 12, "judge": "whisper base", "errors": 0.31, "heard": "we share one kitchen"}, with the
mean character error rate, each at most 1, and one sentence as it was heard; or with a "score" instead. The line of k null is
that of the recordings through the same Griffin-Lim. The same command continues where it was stopped.
`tacotune replay --correlations --judgements heard.jsonl` ranks the scores by them.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from model import checkpoints
from model.audio import griffin_lim
from model.config import Audio, Config
from model.data.loading import Example, collate
from model.errors import BadInput
from model.files import atomic_write
from model.listener import Listener
from model.tacotron2 import Tacotron2
from model.text.languages import Language
from objective.settings.schema import Settings
from objective.speech.quality import judges
from objective.speech.quality.judges import RATE_HZ, misheard_share
from objective.trial.context import TrainingData, judge_of
from objective.trial.corpus import fingerprint
from objective.trial.ears import load_ears
from objective.trial.judge import Judge, mel_of
from pruners.thresholds import renamed
from search_spaces.space import load

Floats = NDArray[np.float32]
Judgement = dict[str, Any]
Hear = Callable[["Voice"], Judgement]


@dataclass(frozen=True)
class Voice:
    """All sentences of a voice, or of the recordings."""

    texts: tuple[str, ...]
    mels: tuple[Floats, ...]  # (F, M) natural log
    audio: Audio

    @cached_property
    def waves(self) -> list[Floats]:
        """The sentences as waves at RATE_HZ, made once for all judges."""
        waves = (griffin_lim(mel, self.audio) for mel in self.mels)
        return [librosa.resample(wave, orig_sr=self.audio.rate_hz, target_sr=RATE_HZ) for wave in waves]

    def some(self, count: int) -> "Voice":
        """Return `count` of the sentences, which are ordered by their lengths, spread evenly; all if there are fewer."""
        last, steps = len(self.texts) - 1, max(1, min(count, len(self.texts)) - 1)
        rows = sorted({round(place * last / steps) for place in range(min(count, len(self.texts)))})
        return Voice(tuple(self.texts[row] for row in rows), tuple(self.mels[row] for row in rows), self.audio)


def judged(voice: Voice, heard: Sequence[str], language: Language) -> Judgement:
    """Return the mean character error rate of what was heard, and the sentence of middle length. Both sides as letters only."""
    rates = [misheard_share(text, said, language) for text, said in zip(voice.texts, heard, strict=True)]
    return {"errors": sum(rates) / len(rates), "heard": heard[len(heard) // 2]}


def whisper(folder: Path, language: Language, threads: int) -> tuple[str, Hear]:
    """Return the judge that faster-whisper is. Raises BadInput without it."""
    model = judges.whisper(folder, language, threads)
    print(f"{model.name}: sha256 of its model.bin {model.digest}", flush=True)
    return model.name, lambda voice: judged(voice, [model.write(wave) for wave in voice.waves], language)


def listener(ears: Listener, seed: int) -> tuple[str, Hear]:
    """Return the judge that our own listener is."""

    def hear(voice: Voice) -> Judgement:
        batch = collate([Example((1,), mel) for mel in voice.mels])
        heard = ears.hear(batch.mels, batch.frame_lengths, voice.texts)
        return judged(voice, [one.text for one in heard], ears.language)

    return f"listener {seed}", hear


def dnsmos() -> tuple[str, Hear]:
    """Return the judge that DNSMOS is. Raises BadInput without speechmos."""
    model = judges.dnsmos()
    if model is None:
        raise BadInput(judges.HOW_TO["dnsmos"])
    return "DNSMOS", lambda voice: {"score": float(np.mean([model.score(wave) for wave in voice.waves]))}


def said(weights: Path, judge: Judge) -> Voice | None:
    """Return what a kept snapshot says; None where it is not finite."""
    kept = checkpoints.load(weights)
    config: Config = TypeAdapter(Config).validate_python(kept["config"])
    network = Tacotron2(config.network, len(kept["symbols"]), config.audio.mel_bands)
    network.load_state_dict(kept["weights"])
    output, spoken = judge(network)
    mels = tuple(mel_of(output, row) for row in range(len(judge.sentences)))
    return None if spoken is None else Voice(tuple(sentence.text for sentence in judge.sentences), mels, config.audio)


def judges_of(parsed: argparse.Namespace, settings: Settings, data: TrainingData) -> dict[str, Hear]:
    """Return the judges that the command names. Raises BadInput for one that is not installed."""
    language, found = data.corpus.language, []
    if parsed.whisper is not None:
        found.append(whisper(parsed.whisper, language, parsed.threads))
    if parsed.seed is not None:
        cache, kframes = settings.out / "cache" / "listeners", settings.listener.kframes
        ears = load_ears(data.corpus, fingerprint(data.corpus), data.speech, kframes, cache, data.device, seed=parsed.seed)
        assert ears.listener is not None, "the archive was recorded without a listener"
        found.append(listener(ears.listener, parsed.seed))
    if parsed.dnsmos:
        found.append(dnsmos())
    return dict(found)


def judge_all(folder: Path, file: Path, judge: Judge, judges: dict[str, Hear], audio: Audio, count: int) -> None:
    """Write the judgements that `file` lacks of `count` sentences of the recordings and of each voice in a folder of curves."""
    texts = tuple(sentence.text for sentence in judge.sentences)
    recordings = Voice(texts, tuple(sentence.mel for sentence in judge.sentences), audio)
    lines: list[Judgement] = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    )
    done = {(line["k"], line["judge"]) for line in lines}
    weights = {int(path.stem.removeprefix("curve-")): path for path in sorted(folder.glob("curve-*.pt"))}
    for k in (None, *weights):
        wanted = [name for name in judges if (k, name) not in done]
        voice = recordings if k is None or not wanted else said(weights[k], judge)
        if voice is None:
            print(f"trial {k}: its synthesis is not finite", flush=True)
            continue
        voice = voice.some(count)
        for name in wanted:
            lines.append({"k": k, "judge": name, **judges[name](voice)})
            with atomic_write(file) as part:
                part.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
            print(json.dumps(lines[-1], ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, required=True, help="folder of curves with weights, beside the archive")
    parser.add_argument("--judgements", type=Path, required=True, help="file to write, or to continue")
    parser.add_argument("--whisper", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--sentences", type=int, default=32, metavar="N")
    parser.add_argument("--dnsmos", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the corpora (default runs)")
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    stored = json.loads((parsed.curves / "settings.json").read_text(encoding="utf-8"))["settings"]
    settings = Settings.model_validate(stored | {"out": parsed.out, "health": renamed(stored["health"])})
    data = TrainingData.of(settings, load(settings.study.space, settings.config()))
    judges = judges_of(parsed, settings, data)
    judge_all(parsed.curves, parsed.judgements, judge_of(settings, data), judges, settings.audio, parsed.sentences)


if __name__ == "__main__":
    main()
