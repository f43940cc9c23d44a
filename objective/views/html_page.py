"""Render a study as one HTML page that needs nothing else: first its sounds, then the pictures of each trial, then a table."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from objective.display import heard
from objective.display.formatting import HEALTHY, duration, kframes, number, percent, settings, share
from objective.display.listening import TOP, data, player, sound
from objective.display.summary import described
from objective.events.log_reader import StudyLog, Trial
from objective.views.descriptions import word
from storage.paths import trial_folder

PICTURES = ("curves", "alignment", "mel", "gate")
OUTCOMES = ("healthy", "sick", "pruned", "running", "failed")
FIGURES = ("trial", "state", "value", "errors", "faults", "diagonality", "reading", "kframes", "time")
LONG = ("parameters", "why")  # not in the table on a telephone: they are with the pictures, too

TERMS = """<p class="quiet">A healthy trial meets every target: what it says is understood, and few of its sentences have a
fault. A sick one misses a target, a pruned one was stopped before it met them. Errors: share of the letters that a recogniser,
trained on the recordings, hears wrong. Faults: share of the sentences that never stop, are cut, skip, repeat, or are not
understood. A kframe is a thousand mel frames seen in training.</p>
"""
ABOUT_SOUNDS = """<p class="quiet">The same sentence by each trial, the best first, and what was heard of it. The recording went
through the same mel spectrogram and vocoder, so the network alone makes the difference.</p>
"""


def page(study_log: StudyLog) -> Iterator[str]:
    """Yield the page piece by piece: a study's pictures may be larger than the memory."""
    trials = sorted(study_log.trials.values(), key=lambda trial: trial.rank)
    name = escape(study_log.folder.name)
    yield TOP.format(title=f"{name}: tacotune")
    yield f"<h1>{name}</h1>\n" + _board(study_log, trials)
    players = _players(study_log.folder, trials)
    if first := next(players, ""):
        yield f'<h2>Listen</h2>\n{ABOUT_SOUNDS}<div class="listen">\n{first}'
        yield from players
        yield "</div>\n"
    yield "<h2>Pictures</h2>\n"
    for place, trial in enumerate(trials):
        yield from _details(trial, trial_folder(study_log.folder, trial.number), place == 0)
    yield '<h2>Trials</h2>\n<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{title}</th>" for title in FIGURES) + "".join(f"<th class=long>{title}</th>" for title in LONG)
    yield "</tr></thead><tbody>\n"
    for trial in trials:
        yield _row(trial)
    yield "</tbody></table></div>\n</html>\n"


def _board(study_log: StudyLog, trials: list[Trial]) -> str:
    """Render the best trial, how many ended how, and what stopping early has saved."""
    counts = {outcome: sum(word(trial) == outcome for trial in trials) for outcome in OUTCOMES}
    finished = sum(trial.state in ("COMPLETE", "PRUNED") for trial in trials)
    saved = sum(trial.end["saved_kframes"] for trial in trials if trial.end is not None)
    best = trials[0] if trials and word(trials[0]) == HEALTHY.word else None
    closest = next((trial for trial in trials if trial.spoken.get("errors") is not None), None)
    wanted = study_log.started.get("wanted", finished)
    tiles = [(f"{finished} of {wanted}", "trials finished")]
    tiles += [(str(count), outcome) for outcome, count in counts.items() if count]
    tiles += [(f"{kframes(saved)} kframes", "saved by stopping early")] if saved else []
    first = [("-", "no healthy trial yet")]
    if best is not None and best.end is not None:
        first = [(number(best.end["value"]), f"best: trial {best.number}")]
    if closest is not None:
        whose = "" if closest is best else f" of trial {closest.number}"
        floor = percent(closest.spoken.get("recorded_errors"))
        first.append((percent(closest.spoken["errors"]), f"letters{whose} heard wrong (recordings {floor})"))
    items = "".join(f"<li><b>{escape(value)}</b>{escape(label)}</li>" for value, label in [*first, *tiles])
    why = study_log.end["why"] if study_log.end else "not ended"
    notes = "".join(f"<li>{escape(note)}</li>" for note in study_log.started.get("notes", ()))
    about = f'<p class="quiet">began {escape(_when(study_log.began))}: {escape(why)}</p>'
    return f'{about}<ul class="board">{items}</ul>\n{TERMS}<details><summary>notes</summary><ul>{notes}</ul></details>\n'


def _players(study: Path, trials: list[Trial]) -> Iterator[str]:
    """Yield a player for each trial's sample, and one for the recording before the first sample that compares with it."""
    recorded = set()
    for trial in trials:
        folder = trial_folder(study, trial.number)
        recording = data(folder / "reference.wav") or sound(folder, "reference")  # two Ogg files of one sound differ
        if recording and recording not in recorded:
            recorded.add(recording)
            yield player("<b>recorded</b>", sound(folder, "reference"), trial.spoken.get("text"))
        if sample := sound(folder, "sample"):
            yield player(_title(trial), sample, trial.spoken.get("heard"))


def _title(trial: Trial) -> str:
    outcome, value = word(trial), escape(number((trial.end or {}).get("value")))
    return f'<b>trial {trial.number}</b> <span class="{outcome}">{outcome}</span> {value}'


def _row(trial: Trial) -> str:
    end, outcome = trial.end or {}, word(trial)
    health = end.get("health") or {}
    figures = [number(end.get("value")), *(percent(trial.spoken.get(name)) for name in ("errors", "failures"))]
    figures += [share(health.get(name)) for name in ("diagonality", "reading")]
    figures += [kframes(end["kframes"]), duration(end["seconds"])] if end else ["-", "-"]
    cells = f'<td class="n">{trial.number}</td><td class="{outcome}">{outcome}</td>'
    cells += "".join(f'<td class="n">{escape(figure)}</td>' for figure in figures)
    long = (settings(described(trial.params)), end.get("reason") or "")
    return f"<tr>{cells}{''.join(f'<td class=long>{escape(text)}</td>' for text in long)}</tr>\n"


def _details(trial: Trial, folder: Path, open_: bool) -> Iterator[str]:
    """Yield what one trial said, its pictures and parameters, folded up."""
    yield f"<details{' open' if open_ else ''}><summary>{_title(trial)}</summary>\n"
    if reason := (trial.end or {}).get("reason"):
        yield f"<p>{escape(reason)}</p>\n"
    yield _spoken(trial)
    for name in PICTURES:
        if picture := data(folder / f"{name}.png"):
            yield f'<img alt="{name} of trial {trial.number}" src="{picture}">\n'
    facts: dict[str, Any] = {"origin": trial.origin, "began": _when(trial.began)} | described(trial.params)
    yield "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()) + "</dl>\n"
    yield "</details>\n"


def _spoken(trial: Trial) -> str:
    """Render what was said and heard, the errors and the faults; empty for a trial that was not judged."""
    said = heard.sentences(trial.spoken)
    if not said:
        return ""
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in (one.title, one.text, one.transcript))}</tr>" for one in said
    )
    figures = "; ".join(filter(None, (heard.errors(trial.spoken), heard.faults(trial.spoken))))
    head = "<tr><th>sentence</th><th>said</th><th>heard</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div><p class="quiet">{escape(figures)}</p>\n'


def _when(at: str) -> str:
    return at.replace("T", " ").replace("+00:00", " UTC")
