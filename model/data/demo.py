"""The built-in corpus: espeak-ng reads a language's sentences into an LJSpeech folder, the same bytes for the same seed."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from model.data import espeak
from model.errors import SpeakingError
from model.text.languages import Language

VERSION = 1  # part of a corpus's name: raise it when the sentences or the way they are synthesised change


def speak_corpus(
    folder: Path, language: Language, seed: int, utterances: int = 288, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Return the folder `demo-{code}-{seed}-{utterances}-v1`: metadata.csv (id|text|text) and mono PCM16 wavs/ID.wav.

    The seed chooses and orders the sentences. A complete folder is returned as it is. Otherwise it is written under a temporary
    name and renamed into place, so that several workers may call this at once. `progress` is called with (done, utterances)
    after each utterance. Raises ValueError for more utterances than sentences, SpeakingError where espeak-ng cannot be run.
    """
    sentences = _choose(language, seed, utterances)
    corpus = folder / f"demo-{language.code}-{seed}-{utterances}-v{VERSION}"
    if _complete(corpus, utterances):
        return corpus
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{corpus.name}-", dir=folder) as temporary:
        made = Path(temporary, "corpus")
        (made / "wavs").mkdir(parents=True)
        rows = (f"demo-{language.code}-{number:04d}|{text}|{text}\n" for number, text in enumerate(sentences, 1))
        (made / "metadata.csv").write_text("".join(rows), encoding="utf-8", newline="\n")
        _synthesise(made, language.voice, lambda done: progress(done, utterances) if progress else None)
        try:
            if corpus.exists() and not _complete(corpus, utterances):
                corpus.rename(Path(temporary, "broken"))
            made.rename(corpus)
        except OSError:
            if not _complete(corpus, utterances):  # else another worker was faster, with the same bytes
                raise
    return corpus


def _choose(language: Language, seed: int, utterances: int) -> list[str]:
    sentences = language.sentences.read_text(encoding="utf-8").splitlines()
    if not 1 <= utterances <= len(sentences):
        rule = f"need 1 to {len(sentences)} utterances of {language.code!r}, got {utterances}"
        raise ValueError(f"{rule}: choose a number in this range")
    draw = random.Random(seed)
    return sorted(sentences, key=lambda _: draw.random())[:utterances]


def _complete(corpus: Path, utterances: int) -> bool:
    manifest = corpus / "metadata.csv"
    if not manifest.is_file():
        return False
    ids = [row.partition("|")[0] for row in manifest.read_text(encoding="utf-8").splitlines()]
    return len(ids) == utterances and all((corpus / "wavs" / f"{name}.wav").is_file() for name in ids)


def _synthesise(corpus: Path, voice: str, progress: Callable[[int], None]) -> None:
    """Let a child process synthesise every row of the manifest; `progress` is called with how many are done."""
    way_out = "reinstall the package espeakng-loader, or give recordings of your own with --data"
    try:
        import espeakng_loader  # here, so that a study of own recordings runs without it

        library, data = espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise SpeakingError(f"need espeak-ng for the built-in corpus, got {error}: {way_out}") from error
    command = [sys.executable, "-I", str(Path(espeak.__file__).resolve()), library, voice, str(corpus.resolve())]
    # espeak-ng finds no data behind a path of more than about 160 bytes, so the child runs in the data's own folder.
    child = subprocess.Popen(command, cwd=data.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            progress(int(line))
        complaint = child.stderr.read().strip()
    if child.returncode:
        last = complaint.splitlines()[-1] if complaint else f"exit code {child.returncode}"
        if child.returncode == espeak.DISK_FAILED:
            raise OSError(last)
        raise SpeakingError(f"need espeak-ng for the built-in corpus, got {last!r}: {way_out}")
