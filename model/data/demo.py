"""The built-in corpus: espeak-ng speaks the shipped sentences into an LJSpeech folder, the same bytes for the same seed.

espeak-ng carries its state from one utterance into the next, so a fresh process speaks a whole corpus in order: this file run
as a script, alone and isolated, which is why it imports only the standard library at the top.
"""

import array
import ctypes
import random
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

VERSION = 1  # part of a corpus's name: raise it when the sentences or the way they are spoken change
VOICES = {"en": "en-us", "ru": "ru"}

_LEAD, _TAIL = 551, 1_102  # samples of silence around the speech: 25 and 50 ms at 22,050 Hz
_SILENCE = 100  # of 32,768: -50 dB
_VOLUME = 80  # at espeak's default of 100 the peaks touch full scale, which reads as clipping
_DISK_FAILED = 74  # the child's exit code, EX_IOERR of sysexits.h


class SpeakingError(RuntimeError):
    """espeak-ng cannot be run. The message says why, and the way out."""


def speak_corpus(
    folder: Path, language: str, seed: int, utterances: int = 288, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The folder `demo-{language}-{seed}-{utterances}-v1` in `folder`: metadata.csv (id|text|text) and mono PCM16 wavs/ID.wav.

    The seed chooses and orders the sentences. A complete folder is returned as it is; else it is made aside and renamed into
    place, so that several workers may call this at once. `progress` is told (done, utterances) after each utterance.
    ValueError for an unknown language or more utterances than sentences, SpeakingError where espeak-ng cannot be run.
    """
    sentences = _choose(language, seed, utterances)
    corpus = folder / f"demo-{language}-{seed}-{utterances}-v{VERSION}"
    if _complete(corpus, utterances):
        return corpus
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{corpus.name}-", dir=folder) as aside:
        made = Path(aside, "corpus")
        (made / "wavs").mkdir(parents=True)
        rows = (f"demo-{language}-{number:04d}|{text}|{text}\n" for number, text in enumerate(sentences, 1))
        (made / "metadata.csv").write_text("".join(rows), encoding="utf-8", newline="\n")
        _speak(made, VOICES[language], lambda done: progress(done, utterances) if progress else None)
        try:
            if corpus.exists() and not _complete(corpus, utterances):
                corpus.rename(Path(aside, "broken"))
            made.rename(corpus)
        except OSError:
            if not _complete(corpus, utterances):  # else another worker was faster, with the same bytes
                raise
    return corpus


def _choose(language: str, seed: int, utterances: int) -> list[str]:
    if language not in VOICES:
        raise ValueError(f"need a language out of {', '.join(VOICES)}, got {language!r}: choose one of these")
    sentences = Path(__file__).with_name("sentences").joinpath(f"{language}.txt").read_text(encoding="utf-8").splitlines()
    if not 1 <= utterances <= len(sentences):
        raise ValueError(f"need 1 to {len(sentences)} utterances of {language!r}, got {utterances}: ask for fewer")
    draw = random.Random(seed)
    return sorted(sentences, key=lambda _: draw.random())[:utterances]


def _complete(corpus: Path, utterances: int) -> bool:
    manifest = corpus / "metadata.csv"
    if not manifest.is_file():
        return False
    ids = [row.partition("|")[0] for row in manifest.read_text(encoding="utf-8").splitlines()]
    return len(ids) == utterances and all((corpus / "wavs" / f"{name}.wav").is_file() for name in ids)


def _speak(corpus: Path, voice: str, tell: Callable[[int], None]) -> None:
    """Have the child process speak every row of the manifest, and tell how many are done."""
    way_out = "reinstall the package espeakng-loader, or give recordings of your own with --data"
    try:
        import espeakng_loader

        library, data = espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise SpeakingError(f"need espeak-ng for the built-in corpus, got {error}: {way_out}") from error
    command = [sys.executable, "-I", str(Path(__file__).resolve()), library, voice, str(corpus.resolve())]
    # espeak-ng finds no data behind a path of more than about 160 bytes, so the child works beside the data.
    child = subprocess.Popen(command, cwd=data.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            tell(int(line))
        complaint = child.stderr.read().strip()
    if child.returncode:
        last = complaint.splitlines()[-1] if complaint else f"exit code {child.returncode}"
        if child.returncode == _DISK_FAILED:
            raise OSError(last)
        raise SpeakingError(f"need espeak-ng for the built-in corpus, got {last!r}: {way_out}")


def _speak_here(library: str, voice: str, corpus: Path) -> None:
    """The child's work: speak the manifest's texts in order, one WAV each, and print how many are done."""
    try:
        espeak = ctypes.CDLL(library)
    except OSError as error:
        sys.exit(str(error))
    sound = bytearray()

    def hear(samples: int | None, count: int, _events: int | None) -> int:
        if samples:
            sound.extend(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(hear)
    # Numbers from espeak-ng/speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS 2, INITIALIZE_DONT_EXIT 0x8000, VOLUME 2, CHARS_UTF8 1.
    rate_hz = espeak.espeak_Initialize(2, 0, b".", 0x8000)
    if rate_hz <= 0:
        sys.exit(f"no espeak-ng-data for {library}")
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()):
        sys.exit(f"no voice {voice!r} in espeak-ng")
    espeak.espeak_SetParameter(2, _VOLUME, 0)
    size = ctypes.c_size_t
    espeak.espeak_Synth.argtypes = (ctypes.c_char_p, size, *(ctypes.c_uint,) * 4, ctypes.c_void_p, ctypes.c_void_p)
    for done, row in enumerate((corpus / "metadata.csv").read_text(encoding="utf-8").splitlines(), 1):
        name, text, _ = row.split("|")
        sound.clear()
        words = text.encode() + b"\0"
        if espeak.espeak_Synth(words, len(words), 0, 0, 0, 1, None, None):
            sys.exit(f"espeak-ng cannot say {text!r}")
        with wave.open(str(corpus / "wavs" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, rate_hz, 0, "NONE", ""))
            file.writeframes(_with_margins(bytes(sound)))
        print(done, flush=True)


def _with_margins(sound: bytes) -> bytes:
    """PCM16 cut or filled up to _LEAD samples before its first loud sample and _TAIL after its last. ValueError without one."""
    samples = array.array("h", bytes(2 * _LEAD) + sound + bytes(2 * _TAIL))
    loud = [place for place, sample in enumerate(samples) if abs(sample) > _SILENCE]
    if not loud:
        raise ValueError(f"need a sample above {_SILENCE}, got silence")
    return samples[loud[0] - _LEAD : loud[-1] + 1 + _TAIL].tobytes()


if __name__ == "__main__":
    try:
        _speak_here(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    except OSError as why:
        print(why.strerror or why, file=sys.stderr)
        sys.exit(_DISK_FAILED)
