"""The self-check of a voice: it says one sentence before anybody waits for it."""

import sys
import time

from model.errors import BadInput
from model.vocoders.loading import Vocoder
from model.voice import Voice
from objective.display.formatting import one_line


def fault(voice: Voice, vocoder: Vocoder) -> str | None:
    """Say a sentence and print how that went; return why it is not finite, else None.

    The first sentence also loads what is needed.
    """
    text = dict(voice.about.get("figures", {})).get("text") or voice.language.sentences.read_text("utf-8").partition("\n")[0]
    began = time.perf_counter()
    try:
        said = list(voice.utterances(str(text)))
    except BadInput as why:  # it is not finite
        print(why, file=sys.stderr)
        return str(why)
    speech_s = sum(len(voice.wave(utterance, vocoder)) for utterance in said) / voice.rate_hz
    took_s = time.perf_counter() - began
    faults = dict.fromkeys(fault for utterance in said for fault in utterance.faults)
    found = f"faults: {', '.join(faults)}" if faults else "no faults"
    print(
        f"self-check: {speech_s:.1f} s of speech in {took_s:.1f} s, {found}: {one_line(str(text))}", file=sys.stderr, flush=True
    )
    return None
