"""Show a check: in sections on a terminal, and as a page with players for the lines worth hearing."""

from collections.abc import Iterator
from html import escape
from itertools import takewhile

from model.audio import decode, opus
from model.config import Audio
from model.sound_files import SoundError, read
from objective.checking.findings import Finding
from objective.checking.measures import Row
from objective.checking.report import Report, by_reason
from objective.checking.texts import odd, usual
from objective.display import listening
from objective.display.formatting import duration, percent

FEW = 3  # lines shown of each cause
WIDTH = 100  # characters of a text
BEFORE = 30  # characters shown before the first difference
PLAYERS = 40  # on a page: half a minute of decoding, some megabytes


def terminal(report: Report) -> Iterator[str]:
    """Yield the lines for a terminal."""
    yield title(report)
    yield from _section("the reader", [*report.remarks, *_problems(report)])
    if report.rows:
        yield from _section("text as it is read", _texts(report))
        yield from _section("what was measured", _figures(report))
    yield from _section("what to do, the most harmful first" if report.findings else "what to do", _todo(report))
    yield conclusion(report)


def title(report: Report) -> str:
    """Return the heading."""
    columns = f", columns {report.columns}" if report.columns else ""
    return f"{report.path}: {report.hours:.2f} h in {len(report.rows)} of {report.lines} lines, {report.language}{columns}"


def conclusion(report: Report) -> str:
    """Return the last line: whether a training may start."""
    stopping = [finding.kind for finding in report.findings if finding.stops]
    if stopping:
        return f"do not start a training: {', '.join(stopping)} ({duration(report.seconds)})"
    return f"a training may start ({duration(report.seconds)})"


def page(report: Report, audio: Audio) -> str:
    """Return the page: the findings, then the lines that they name with a player each."""
    results = [f"<b>{escape(conclusion(report))}</b>", *(escape(line) for line in (*report.remarks, *_figures(report)))]
    results += [f"<b>{escape(one.kind)}</b>: {escape(one.sentence)}. {escape(one.todo)}" for one in report.findings]
    shown: dict[str, tuple[Row, str]] = {}
    for finding in report.findings:
        for row in finding.rows[:PLAYERS]:
            shown.setdefault(row.id, (row, ", ".join(row.kinds)))
    for row in usual(report.rows):
        shown.setdefault(row.id, (row, "drawn at random"))
    cells = [[_described(row, why), _player(row, audio)] for row, why in list(shown.values())[:PLAYERS]]
    return listening.page(title(report), results, ["line", "recording"], cells)


def _section(name: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"\n{name}"
        yield from (f"  {line}" for line in lines)


def _problems(report: Report) -> list[str]:
    lines = []
    for reason, problems in by_reason(report.problems).items():
        lines.append(f"{len(problems)} bad: {reason}")
        lines += [f"  {problem}" for problem in problems[:FEW]]
    return lines


def _texts(report: Report) -> list[str]:
    lines = [_read(row) for row in usual(report.rows)]
    return lines + [f"{_read(row)}  ({why})" for row, why in odd(report.rows)]


def _read(row: Row) -> str:
    """Show a line as written and as read, from a little before the first difference on."""
    if row.text.casefold() == row.read.casefold():
        return f"{row.id}: {_short(row.text)}"
    pairs = zip(row.text.casefold(), row.read.casefold(), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    written, read = (f"...{text[same - BEFORE :]}" if same > BEFORE else text for text in (row.text, row.read))
    return f"{row.id}: {_short(written)} -> {_short(read)}"


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _figures(report: Report) -> list[str]:
    usual_of = report.medians()
    if not usual_of:
        return []
    shifts = ", ".join(f"{value:.2f} at {shift:+}" for shift, value in report.correlations.items() if shift)
    moved = f" (texts shifted: {shifts})" if shifts else ""
    lines = [
        f"lengths: letters and seconds have a rank correlation of {report.correlations[0]:.2f}{moved}, "
        f"{usual_of['letters_per_s']:.1f} letters a second of sound: {report.lengths}",
        f"sounds (medians): {usual_of['seconds']:.1f} s, level {usual_of['level_db']:.0f} dB, "
        f"noise {usual_of['floor_db']:.0f} dB below the speech, speech up to {usual_of['bandwidth_hz']:.0f} Hz, "
        f"silence {usual_of['lead_s']:.2f} s before and {usual_of['tail_s']:.2f} s behind",
        f"listener: {_listener(report)}",
    ]
    if (step := report.step) is not None:
        memory = "" if step.peak_bytes is None else f", {step.peak_bytes / 2**20:.0f} MiB"
        loss = f"loss {step.terms['loss']:.3g}" if step.terms else "out of memory"
        lines.append(f"largest batch: {step.utterances} utterances, {step.frames} frames: {loss}{memory}, {step.seconds:.1f} s")
    if report.losses:
        lines.append(
            f"probe: the loss of one batch {report.losses[0]:.3g} -> {report.losses[-1]:.3g} in {len(report.losses)} updates"
        )
    return lines


def _listener(report: Report) -> str:
    found = report.listening
    if "why_not" in found:
        return str(found["why_not"])
    return (
        f"{percent(found['errors'])} of the letters heard wrong (median), fit of the texts {found['fit']:.1f}, "
        f"two times at most {found['kframes']:g} kframes, {duration(found['seconds'])}"
    )


def _todo(report: Report) -> list[str]:
    if not report.findings:
        return ["nothing was found"]
    return [line for finding in report.findings for line in _finding(finding)]


def _finding(finding: Finding) -> list[str]:
    mark = "!" if finding.stops else "-"
    named = [_named(row) for row in finding.rows[:FEW]] if len(finding.rows) > 1 or finding.kind == "wrong text" else []
    first = f"{mark} {finding.kind}: {finding.sentence}. {finding.todo[0].upper()}{finding.todo[1:]}."
    return [first] + [f"    {line}" for line in named]


def _named(row: Row) -> str:
    heard = (
        "" if row.heard is None else f"; heard {_short(row.heard)!r}" + (f", the text of {row.belongs}" if row.belongs else "")
    )
    return f"{row.place}: {_short(row.read)!r}, {row.seconds:.1f} s{heard if 'wrong text' in row.kinds else ''}"


def _described(row: Row, why: str) -> str:
    heard = "" if row.heard is None else f'<br><span class="quiet">heard: {escape(row.heard)}</span>'
    source = "" if row.belongs is None else f"<br>the text of {escape(row.belongs)}"
    figures = f"{row.seconds:.1f} s, {row.letters} letters, rate {row.rate:+.1f}, {row.level_db:.0f} dB"
    written = f'<br><span class="quiet">{escape(row.text)}</span>' if row.text != row.read else ""
    top = f'<b>{escape(row.place)}</b> <span class="sick">{escape(why)}</span>'
    return f"{top}<br>{escape(row.read)}{written}<br>{figures}{heard}{source}"


def _player(row: Row, audio: Audio) -> str:
    try:
        wave, _ = decode(read(row.sound), audio)
    except SoundError as why:  # it was read a minute ago
        return escape(str(why))
    return listening.player(escape(row.id), listening.uri(opus(wave, audio), ".ogg"), None)
