"""The built-in corpora: espeak-ng reads sentences of a language into an LJSpeech folder, the same bytes for the same seed.

`general` sentences are ordinary: a few minutes of them are too little for words that are in no recording. `matrix` sentences
are a limited domain: one word from each column of a table, as in the matrix sentence tests of audiology (Hagerman 1982,
Scandinavian Audiology 11). A small voice that has learnt it says sentences that nobody recorded, of words that somebody did.
"""

import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from model.data import espeak
from model.errors import SpeakingError
from model.text.languages import Language

Kind = Literal["matrix", "general"]
VERSION = 3  # part of a corpus's name: raise it when the sentences or the way they are synthesised change


def speak_corpus(
    folder: Path, language: Language, seed: int, utterances: int, kind: Kind = "matrix",
    progress: Callable[[int, int], None] | None = None,
) -> Path:  # fmt: skip
    """Return the folder `demo-{code}-{kind}-{seed}-{utterances}-v3`: metadata.csv (id|text|text) and mono PCM16 wavs/ID.wav.

    The seed chooses and orders the sentences. A complete folder is returned as it is. Otherwise it is written under a temporary
    name and renamed into place, so that several workers may call this at once. `progress` is called with (done, utterances)
    after each utterance. Raises ValueError for more utterances than sentences, SpeakingError where espeak-ng cannot be run.
    """
    sentences = choose(language, seed, utterances, kind)
    corpus = folder / f"demo-{language.code}-{kind}-{seed}-{utterances}-v{VERSION}"
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


def choose(language: Language, seed: int, utterances: int, kind: Kind) -> list[str]:
    """Draw different sentences. Raises ValueError for more than there are."""
    draw = random.Random(seed)
    general = language.sentences.read_text(encoding="utf-8").splitlines()
    columns = [row.split() for row in language.matrix.read_text(encoding="utf-8").splitlines()]
    most = len(general) if kind == "general" else math.prod(map(len, columns)) // 10  # so that drawing finds new ones
    if not 1 <= utterances <= most:
        rule = f"need 1 to {most} {kind} utterances of {language.code!r}, got {utterances}"
        raise ValueError(f"{rule}: choose a number in this range")
    if kind == "general":
        return sorted(general, key=lambda _: draw.random())[:utterances]
    decks: list[list[str]] = [[] for _ in columns]
    rows: list[tuple[str, ...]] = []
    for _ in range(utterances):
        for deck, words in zip(decks, columns, strict=True):  # each word once before any comes again
            deck += [] if deck else draw.sample(words, len(words))
        rows.append(tuple(deck.pop() for deck in decks))
    known = Counter(rows)
    for place in range(utterances):
        while (
            known[rows[place]] > 1
        ):  # drawn twice: its first word changes places with another's, so none becomes more frequent
            other = draw.randrange(utterances)
            before = rows[place], rows[other]
            after = (before[1][0], *before[0][1:]), (before[0][0], *before[1][1:])
            if not any(known[row] for row in after):
                known.subtract(before)
                known.update(after)
                rows[place], rows[other] = after
    return [f"{' '.join(row)}." for row in rows]


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
