"""A voice: a trained network with all that is needed to say a text with it, in one file.

voice = Voice.load("voice.pt")
wave, rate_hz = voice.speak("Shall we share one kitchen?")
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model import checkpoints, nvidia
from model.config import Audio, Config
from model.data.corpus import Corpus
from model.errors import BadInput
from model.listener import Listener, error_rate, spelled
from model.spoken import Fault, misheard, misread
from model.synthesis import SYNTHESIS_SEED, Synthesis, synthesise
from model.tacotron2 import Tacotron2
from model.text.frontend import Encoded, encode
from model.text.languages import Language, find_language
from model.text.sentences import Piece, pieces
from model.vocoders.loading import GRIFFIN_LIM, Vocoder, load_vocoder

Floats = NDArray[np.float32]

FORMAT = "tacotune voice 1"
KNOWN = (  # entries of a file besides weights and listener; a trial's snapshot has others
    "format", "version", "config", "language", "symbols", "corpus", "data", "study", "trial", "licence", "source", "kframes",
    "figures",
    "input", "stress",
)  # fmt: skip
TRIES = 3  # of a sentence with a fault, each with another seed
LONGEST = 150  # symbols of a sentence, where the voice does not know those of its recordings
PAUSE_S = 0.5  # the longest inside a sentence, where the voice does not know its recordings
MUMBLED = 0.3  # share of the letters heard wrong from which a sentence is not understood


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence as it was said."""

    text: str  # as it was written
    mel: Floats  # (F, M) natural log
    pause_s: float  # of silence after it
    faults: tuple[Fault, ...]
    heard: str | None  # the letters that the voice's own listener heard; None without one
    dropped: str  # characters that no symbol stands for
    tries: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A network that speaks one language. `about`: what is known of it (`card`), as plain values."""

    network: Tacotron2
    config: Config
    language: Language
    about: Mapping[str, Any]
    listener: Listener | None = None

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "Voice":
        """Read voice.pt, or best.pt or last.pt of a trial, or a checkpoint of NVIDIA's Tacotron 2. No code in it is run.

        Raises BadInput for another file, OSError where it cannot be read.
        """
        path, device = Path(path), torch.device(device)
        try:
            values = checkpoints.load(path)
        except ValueError:
            return _nvidia(path, device)  # whose files before PyTorch 1.6 are no zip archives
        if "weights" not in values:
            return _nvidia(path, device)
        about = values if "config" in values else values | _beside(path)
        return _restored(about, path, device)

    def values(self) -> dict[str, Any]:
        """Return the tensors and plain values from which `load` rebuilds the voice."""
        listener = {} if self.listener is None else {"listener": self.listener.state()}
        return {**self.about, "weights": self.network.state_dict(), **listener}

    def save(self, path: Path) -> Path:
        """Write the voice as one file."""
        return checkpoints.save(path, self.values())

    @property
    def rate_hz(self) -> int:
        return self.config.audio.rate_hz

    def speak(self, text: str, vocoder: Vocoder | None = None, **how: Any) -> tuple[Floats, int]:
        """Say a text of any length; return the wave (S,) in [-1, 1] and its rate in Hz.

        vocoder: None is Griffin-Lim. how: as in `utterances`. Raises BadInput for a text without anything to say.
        """
        waves = [self.wave(utterance, vocoder) for utterance in self.utterances(text, **how)]
        return np.concatenate(waves), self.rate_hz

    def wave(self, utterance: Utterance, vocoder: Vocoder | None = None) -> Floats:
        """Return the wave (S,) of an utterance with the pause behind it."""
        vocoder = vocoder or load_vocoder(GRIFFIN_LIM, self.config.audio)
        sound = vocoder(utterance.mel)
        return np.concatenate([sound, np.zeros(round(utterance.pause_s * self.rate_hz), np.float32)])

    def utterances(
        self, text: str, *, threshold: float = 0.5, window: int | None = None, seed: int = SYNTHESIS_SEED, tries: int = TRIES
    ) -> Iterator[Utterance]:
        """Say a text sentence by sentence: each is yielded once it is said.

        A sentence with a fault (endless, cut, stuck, repeated, skipped; with a listener also mumbled) is said again with
        another seed, up to `tries` times, and the try with the fewest faults is taken. threshold, window: as in `synthesise`.
        Raises BadInput for a text without anything to say.
        """
        for piece in self.pieces(text):
            yield from self.say_batch([piece], threshold=threshold, window=window, seed=seed, tries=tries)

    def pieces(self, text: str) -> list[Piece]:
        """Divide a text into what is said at once. Raises BadInput for a text without anything to say."""
        found = [piece for piece in pieces(text, self.language.code, self.longest) if encode(piece.text, self.language).ids]
        if not found:
            raise BadInput(f"need a text with something to say, got {text.strip()[:40]!r}: write words of {self.language.code}")
        return found

    def say_batch(
        self,
        batch: Sequence[Piece],
        *,
        threshold: float = 0.5,
        window: int | None = None,
        seed: int = SYNTHESIS_SEED,
        tries: int = TRIES,
    ) -> list[Utterance]:
        """Say pieces of texts in one batch, and those with a fault again in another, as `utterances` does one by one.

        A piece sounds as it does alone, up to rounding. Raises BadInput for tries < 1.
        """
        if tries < 1:
            raise BadInput(f"need tries >= 1, got {tries}: 1 says each sentence once")
        best = self._say(batch, threshold, window, seed)
        for count in range(1, tries):
            again = [row for row, said in enumerate(best) if said.faults]
            if not again:
                break
            said_again = self._say([batch[row] for row in again], threshold, window, seed + count)
            for row, said in zip(again, said_again, strict=True):
                fewest = min(best[row], said, key=lambda one: len(one.faults))
                best[row] = replace(fewest, tries=count + 1)
        return best

    @property
    def longest(self) -> int:
        """The symbols of the longest sentence among its recordings: attention does not carry further."""
        return int(self._corpus.get("longest", LONGEST))

    @property
    def _corpus(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.about.get("corpus", {})
        return found

    def _say(self, batch: Sequence[Piece], threshold: float, window: int | None, seed: int) -> list[Utterance]:
        """Say pieces once."""
        texts = [encode(self._ended(piece.text), self.language) for piece in batch]
        device = self.network.mel_mean.device
        ids = pad_sequence([torch.tensor(text.ids, device=device) for text in texts], batch_first=True)
        lengths = torch.tensor([len(text.ids) for text in texts], device=device)
        output = synthesise(self.network, ids, lengths, threshold=threshold, window=window, seed=seed)
        if not output.mel.isfinite().all():
            rule = f"need a voice whose speech is finite, got values that are not for {texts[0].text[:40]!r}"
            raise BadInput(f"{rule}: choose another trial")
        return [self._utterance(output, row, *said) for row, said in enumerate(zip(batch, texts, strict=True))]

    def _utterance(self, output: Synthesis, row: int, piece: Piece, encoded: Encoded) -> Utterance:
        mel = output.mel[row, : int(output.frame_lengths[row])]
        heard, misheard_as = self._heard(mel, encoded.text)
        faults = [*self._misread(output, row, len(encoded.ids)), *misheard_as]
        found = tuple(dict.fromkeys(faults))
        return Utterance(piece.text, mel.float().cpu().numpy(), piece.pause_s, found, heard, encoded.dropped, 1)

    def _ended(self, text: str) -> str:
        """Return the text with the punctuation that its recordings end with: without it a voice may not stop."""
        return text if text[-1:] in ".!?…,;:" else text + self._corpus.get("ending", ".")

    def _misread(self, output: Synthesis, row: int, symbols: int) -> list[Fault]:
        """Return what is wrong with the attention and the stop of one utterance."""
        if output.ended[row] == "limit":
            return ["endless"]
        audio, r = self.config.audio, self.config.network.reduction
        pause_s = float(self._corpus.get("pause_s", PAUSE_S))
        positions = output.alignment[row, : int(output.step_lengths[row]), :symbols].argmax(1).cpu().numpy()
        return misread(positions, symbols, r * audio.hop_samples / audio.rate_hz, pause_s)

    def _heard(self, mel: Tensor, text: str) -> tuple[str | None, list[Fault]]:
        """Return the letters that the listener hears in a mel (F, M), and what is wrong with them."""
        if self.listener is None:
            return None, []
        letters = spelled(text, self.language)
        heard = self.listener.hear(mel[None], torch.tensor([len(mel)], device=mel.device), [text])[0].text
        return heard, misheard(letters, heard, understood=error_rate([letters], [heard]) <= MUMBLED)


def card(config: Config, corpus: Corpus, pause_s: float, **origin: Any) -> dict[str, Any]:
    """Return what a voice file holds besides its weights, as plain values.

    pause_s: the longest pause inside a recording. origin: the study, the trial, a licence, how the recordings were read (data).
    """
    utterances = (*corpus.train, *corpus.validation)
    last, count = Counter(utterance.text[-1:] for utterance in utterances).most_common(1)[0]
    return {
        "format": FORMAT,
        "version": version("tacotune"),
        "config": asdict(config),
        "language": corpus.language.code,
        "input": corpus.language.input,
        "stress": corpus.language.stress,
        "symbols": list(corpus.language.symbols),
        "corpus": {
            "utterances": len(utterances),
            "hours": sum(utterance.sound.frames for utterance in utterances)
            * config.audio.hop_samples / config.audio.rate_hz / 3600,
            "longest": max(len(utterance.text) for utterance in utterances),
            "ending": last if last in (".", "!", "?") and 2 * count > len(utterances) else "",
            "pause_s": pause_s,
        },
        **origin,
    }  # fmt: skip


def configuration(values: Mapping[str, Any]) -> Config:
    """Return the configuration of `asdict`'s values. Settings that an older version did not have take their defaults.

    Raises ValueError for settings that this version does not know.
    """
    groups = {}
    for group in fields(Config):
        given = dict(values.get(group.name, {}))
        kind: Any = group.type
        unknown = sorted(set(given) - {setting.name for setting in fields(kind)})
        if unknown:
            raise ValueError(f"{group.name} has the unknown settings {', '.join(unknown)}: a newer version wrote it, update")
        groups[group.name] = kind(**given)
    return Config(**groups)


def _restored(values: Mapping[str, Any], path: Path, device: torch.device) -> Voice:
    """Build the voice of a file's values. Raises BadInput where they do not fit together."""
    try:
        config, language = configuration(values["config"]), _language(values)
        language = replace(language, symbols=tuple(values["symbols"]))  # older than a table that has grown since
        with torch.device("meta"):
            network = Tacotron2(config.network, len(language.symbols), config.audio.mel_bands)
        network.load_state_dict(values["weights"], assign=True)
        listener = Listener.restored(values["listener"], language, device) if "listener" in values else None
    except (KeyError, TypeError, ValueError, RuntimeError) as why:
        shown = str(why).partition("\n")[0]
        raise BadInput(f"{path}: need a voice whose weights fit its configuration, got {shown}: choose another file") from why
    about = {name: values[name] for name in KNOWN if name in values}
    return Voice(network.to(device).eval(), config, language, about, listener)


def _language(values: Mapping[str, Any]) -> Language:
    """Return the language of a voice, read as in its training. Voices of older versions read letters."""
    return find_language(values["language"], values.get("input", "letters"), values.get("stress", "none"))


def _beside(path: Path) -> dict[str, Any]:
    """Return the configuration of a trial's weights by an older version, which lies next to them. Raises BadInput without."""
    import yaml

    try:
        values = yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8"))
        groups = {group.name: values[group.name] for group in fields(Config)}
        return {"config": groups, "language": values["language"]}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as why:
        rule = "need a voice, or the weights of a trial with their config.yaml next to them, got weights alone"
        raise BadInput(f"{path}: {rule}: put config.yaml of the trial there, or choose another file") from why


def _nvidia(path: Path, device: torch.device) -> Voice:
    """Read a checkpoint of NVIDIA's Tacotron 2, whose symbols are our English ones. Raises BadInput for another file."""
    language = find_language("en")
    try:
        network = nvidia.load(path)
    except ValueError as why:
        shown = str(why).removeprefix(f"{path}: ")
        raise BadInput(f"{path}: need voice.pt, best.pt of a trial, or a checkpoint of NVIDIA's Tacotron 2: {shown}") from why
    symbols = len(network.encoder.embedding.weight)
    if symbols != len(language.symbols):
        rule = f"need NVIDIA's {len(language.symbols)} English symbols, got {symbols}"
        raise BadInput(f"{path}: {rule}: --warm-start a study with it instead")
    config = Config(audio=Audio(mel_bands=network.bands), network=network.network)
    about = {"format": FORMAT, "config": asdict(config), "language": language.code, "symbols": list(language.symbols)}
    return Voice(network.to(device).eval(), config, language, about | {"source": "NVIDIA/tacotron2"})
