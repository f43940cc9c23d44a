"""Read a text with espeak-ng: its phonemes in the International Phonetic Alphabet (IPA), without punctuation.

The library comes with the package espeakng-loader. It holds its state in global variables, so one thread at a time calls it.
What it read before does not change what it reads (tests/model/text/test_phonemes.py). Loads only the standard library.
"""

import ctypes
import os
import re
import tempfile
import threading
from functools import cache
from pathlib import Path

from model.errors import BadInput

_LOCK = threading.Lock()
_IPA = 2  # phonememode of espeak-ng/speak_lib.h
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_LONGEST_PATH = 120  # bytes: espeak-ng cuts the path of its data at 160, its own folders included
_WAY_OUT = "reinstall the package espeakng-loader, or set data.input=letters"
_FOREIGN = re.compile(r"\([a-z-]+\)")  # espeak-ng names another language whose rules it takes for a word


def phonemes(words: str, voice: str) -> str:
    """Return the phonemes of words without punctuation, a space between words. Raises BadInput without espeak-ng."""
    with _LOCK:
        library = _library()
        if library.espeak_SetVoiceByName(voice.encode()):  # 0.2 ms where it is the voice already
            raise BadInput(f"need a voice of espeak-ng, got {voice!r}: {_WAY_OUT}")
        text = ctypes.create_string_buffer(words.encode())
        rest, found = ctypes.c_void_p(ctypes.addressof(text)), []
        while rest.value:  # each call reads one clause
            found.append((library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"").decode())
    return " ".join(_FOREIGN.sub("", " ".join(found)).split())


@cache
def _library() -> ctypes.CDLL:
    try:
        import espeakng_loader  # here, so that letters are read without it

        library, data = ctypes.CDLL(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError, OSError) as why:
        raise BadInput(f"need espeak-ng to read phonemes (data.input), got {why}: {_WAY_OUT}") from why
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int)
    library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    if library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(_short(data.parent)), _DONT_EXIT) <= 0:
        raise BadInput(f"need espeak-ng to read phonemes (data.input), got no data in {data}: {_WAY_OUT}")
    return library


def _short(folder: Path) -> Path:
    """Return a path of the folder that espeak-ng does not cut: itself, or a link to it until this process ends."""
    if len(os.fsencode(folder)) <= _LONGEST_PATH:
        return folder
    link = Path(_temporary().name, "data")
    link.symlink_to(folder.absolute())
    return link


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed with the process."""
    return tempfile.TemporaryDirectory(prefix="espeak-", ignore_cleanup_errors=True)
