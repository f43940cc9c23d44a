"""Show the quality of a voice: as a table in the terminal, and as one HTML page to listen to."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from model.audio import opus
from model.config import Audio
from objective.display import listening
from objective.display.formatting import percent, share
from objective.speech.quality.figures import Floats, Quality, Sentence, Take, counted
from objective.speech.quality.judges import HOW_TO


class Row(NamedTuple):
    """One figure as text."""

    figure: str
    voice: str
    recordings: str
    note: str = ""


def rows(quality: Quality) -> Iterator[Row]:
    """Yield the figures of a voice beside those of its recordings."""
    own, recorded, judges = quality.means, quality.recordings, quality.judges

    def row(figure: str, name: str, note: str = "", shown: Any = percent) -> Row:
        return Row(figure, shown(own[name]), shown(recorded[name]), note)

    yield row("letters heard wrong", "cer", f"by the listener {judges['listener']}" if judges["listener"] else "")
    yield row("surprise of the listener", "surprise", "1 is that of guessing", share)
    if judges["whisper"]:
        yield row("letters heard wrong", "whisper_cer", f"by {judges['whisper']}")
    if judges["dnsmos"]:
        yield row("naturalness", "dnsmos", f"DNSMOS of {judges['dnsmos']}, 1 to 5", share)
    yield Row("sentences with a fault", percent(quality.failures), "-", _faults(quality))
    yield Row("length", share(quality.length), "1.00")
    yield row("silence", "silence", "between the first and the last sound")
    yield row("distortion", "mcd_db", "mel-cepstral, time-warped", _unit("dB", 1))
    yield row("pitch", "f0_rmse_cents", "root mean square of the difference, where both are voiced", _unit("cents", 0))
    yield row("voicing", "voicing_errors", "share of the time in which one is voiced, the other not")
    free = quality.free_running
    listed = ", ".join(f"{count} {fault}" for fault, count in counted(free.faults).items())
    note = f"of {len(free.faults)} sentences said once, {free.texts}{listed and ': '}{listed}"
    yield Row("failures free-running", percent(free.failures), "-", note)


def table(quality: Quality) -> str:
    """Return the figures as text for a terminal."""
    lines = [Row("", "voice", "recordings"), *rows(quality)]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    shown = [
        f"  {line.figure:<{widths[0]}}  {line.voice:>{widths[1]}}  {line.recordings:>{widths[2]}}  {line.note}".rstrip()
        for line in lines
    ]
    return "\n".join([title(quality), *shown, verdict(quality), *missing(quality.judges)])


def title(quality: Quality) -> str:
    """Return the heading."""
    count = len(quality.sentences)
    return f"{quality.voice}, {quality.language}: {count} held-out sentences and their recordings, both by {quality.vocoder}"


def verdict(quality: Quality) -> str:
    """Return whether it is understood, as a sentence."""
    if quality.understood is None:
        return "understood: not known, as no listener hears these recordings well enough"
    limit = percent((quality.recordings["cer"] or 0.0) + quality.margin)
    found = "understood" if quality.understood else "not understood"
    return f"{found}: {percent(quality.means['cer'])} of the letters heard wrong, target at most {limit}"


def missing(judges: Mapping[str, str | None]) -> list[str]:
    """Return a sentence for a judge that is not installed."""
    return [] if judges["dnsmos"] else [HOW_TO["dnsmos"]]


def page(quality: Quality, audio: Audio) -> str:
    """Return the page: the figures, then voice and recording of each sentence side by side, the worst first."""
    results = [f"<b>{escape(verdict(quality))}</b>"]
    for row in rows(quality):
        beside = "" if row.recordings == "-" else f" (recordings {escape(row.recordings)})"
        note = f' <span class="quiet">{escape(row.note)}</span>' if row.note else ""
        results.append(f"{escape(row.figure)}: <b>{escape(row.voice)}</b>{beside}{note}")
    head = ["sentence, the worst first", "voice", f"recording, by {quality.vocoder} as well"]
    cells = ([_said(one), sound(one.voice, audio), sound(one.recording, audio)] for one in quality.sentences)
    return listening.page(title(quality), results, head, cells)


def sound(take: Take, audio: Audio) -> str:
    """Return a player for a sentence, with what was heard of it."""
    impression = take.impression
    figures = [f"{percent(impression.cer)} wrong"] if impression.cer is not None else []
    figures += [f"Whisper {percent(take.whisper_cer)} wrong"] if take.whisper_cer is not None else []
    figures += [f"DNSMOS {share(take.dnsmos)}"] if take.dnsmos is not None else []
    figures.append(f"{take.mcd_db:.1f} dB")
    words = [one for one in (impression.heard, take.whisper) if one is not None]
    return listening.player(escape(", ".join(figures)), ogg(take.wave, audio), " / ".join(words) if words else None)


def ogg(wave: Floats, audio: Audio) -> str:
    """Return a URI that holds a wave (S,) as Opus."""
    return listening.uri(opus(wave, audio), ".ogg")


def _said(sentence: Sentence) -> str:
    faults = f'<br><span class="sick">{escape(", ".join(sentence.faults))}</span>' if sentence.faults else ""
    return f"{escape(sentence.text)}{faults}"


def _faults(quality: Quality) -> str:
    kinds = counted([sentence.faults for sentence in quality.sentences])
    return ", ".join(f"{count} {fault}" for fault, count in kinds.items())


def _unit(unit: str, decimals: int) -> Any:
    return lambda value: "-" if value is None else f"{value:.{decimals}f} {unit}"
