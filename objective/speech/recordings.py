"""The recordings that a voice was trained on, read as in its training."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.data.corpus import Corpus
from model.errors import BadInput
from model.voice import Voice
from objective.settings.resolve import flattened, resolve
from objective.settings.schema import Settings
from objective.speech.find import Found
from objective.trial.corpus import load_data


def settings_of(found: Found, voice: Voice, path: Path | None, out: Path) -> Settings:
    """Return the settings with which the recordings of a voice are read, and judged by its study.

    path: of the recordings; None: those that the study, or a voice of the built-in corpus, names. Raises BadInput without them.
    """
    data: dict[str, Any] = {**(found.settings.get("data") or voice.about.get("data") or {})}
    if path is not None:
        data["path"] = str(path)
    if "path" not in data:
        raise BadInput(f"need the recordings on which {found.path} was trained, which it does not name: give --data PATH")
    if data["path"] is not None and not Path(data["path"]).exists():
        rule = f"need the recordings on which {found.path} was trained, got {Path(data['path']).absolute()}"
        raise BadInput(f"{rule}, which does not exist: give --data PATH")
    known = {group: found.settings[group] for group in ("listener", "health") if group in found.settings}
    tree = known | {"data": data | _reading(voice), "audio": asdict(voice.config.audio)}
    return resolve(None, [], {"out": str(out)}, gpu=False, start=flattened(tree))


def _reading(voice: Voice) -> dict[str, str]:
    return {"language": voice.language.code, "input": voice.language.input, "stress": voice.language.stress}


def corpus_of(settings: Settings, voice: Voice) -> Corpus:
    """Read the recordings with the symbols of the voice; print a sentence where it was trained on another number of them."""
    corpus = load_data(settings, voice.language)
    count = len(corpus.train) + len(corpus.validation)
    if (known := voice.about.get("corpus", {}).get("utterances", count)) != count:
        print(f"the voice was trained with {known} recordings, here are {count}: are they the same?", file=sys.stderr)
    return corpus
