"""Synthesise a corpus with espeak-ng: `python -I espeak.py LIBRARY VOICE CORPUS`, started by `model.data.demo`.

espeak-ng carries state from one utterance into the next, so each corpus is synthesised in order by a fresh process. This script
runs isolated and imports only the standard library.
"""

import array
import ctypes
import sys
import wave
from pathlib import Path

DISK_FAILED = 74  # exit code, EX_IOERR of sysexits.h

_LEAD, _TAIL = 551, 1_102  # samples of silence around the speech: 25 and 50 ms at 22,050 Hz
_SILENCE = 100  # of 32,768: -50 dB
_VOLUME = 80  # at espeak's default of 100 the peaks touch full scale, which counts as clipping
# Constants of espeak-ng/speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS, _INITIALIZE_DONT_EXIT, _PARAMETER_VOLUME, _CHARS_UTF8 = 2, 0x8000, 2, 1


def synthesise(library: str, voice: str, corpus: Path) -> None:
    """Synthesise the texts of metadata.csv in order, one WAV file each, and print how many are done after each."""
    try:
        espeak = ctypes.CDLL(library)
    except OSError as error:
        sys.exit(str(error))
    sound = bytearray()

    def collect(samples: int | None, count: int, _events: int | None) -> int:
        if samples:
            sound.extend(ctypes.string_at(samples, 2 * count))
        return 0  # continue

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(collect)
    rate_hz = espeak.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, b".", _INITIALIZE_DONT_EXIT)
    if rate_hz <= 0:
        sys.exit(f"no espeak-ng-data for {library}")
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.encode()):
        sys.exit(f"no voice {voice!r} in espeak-ng")
    espeak.espeak_SetParameter(_PARAMETER_VOLUME, _VOLUME, 0)
    size, number, pointer = ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p
    espeak.espeak_Synth.argtypes = (ctypes.c_char_p, size, number, number, number, number, pointer, pointer)
    for done, row in enumerate((corpus / "metadata.csv").read_text(encoding="utf-8").splitlines(), 1):
        name, text, _ = row.split("|")
        sound.clear()
        content = text.encode() + b"\0"
        if espeak.espeak_Synth(content, len(content), 0, 0, 0, _CHARS_UTF8, None, None):
            sys.exit(f"espeak-ng cannot synthesise {text!r}")
        with wave.open(str(corpus / "wavs" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, rate_hz, 0, "NONE", ""))
            file.writeframes(_with_margins(bytes(sound)))
        print(done, flush=True)


def _with_margins(sound: bytes) -> bytes:
    """Cut or fill PCM16 up to _LEAD samples before its first loud sample and _TAIL after its last. ValueError for silence."""
    samples = array.array("h", bytes(2 * _LEAD) + sound + bytes(2 * _TAIL))
    loud = [place for place, sample in enumerate(samples) if abs(sample) > _SILENCE]
    if not loud:
        raise ValueError(f"need a sample above {_SILENCE}, got silence")
    return samples[loud[0] - _LEAD : loud[-1] + 1 + _TAIL].tobytes()


if __name__ == "__main__":
    try:
        synthesise(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    except OSError as why:
        print(why.strerror or why, file=sys.stderr)
        sys.exit(DISK_FAILED)
