"""A study as one HTML page that needs nothing else: the board, all trials, and of each what it was, looked and sounded like."""

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from objective.display.formatting import HEALTHY, duration, kframes, number, settings, share, verdict
from objective.display.summary import described
from objective.events.log_reader import StudyLog, Trial
from storage.artifacts import KINDS
from storage.paths import trial_folder

PICTURES = ("curves", "alignment", "mel", "gate")
SOUNDS = {"sample": "what it says", "reference": "what a person said"}
ORDER = {"healthy": 0, "sick": 1, "pruned": 2, "running": 3, "failed": 4}
FIGURES = ("trial", "state", "value", "kframes", "diagonality", "alignment", "gate", "time")
LONG = ("parameters", "why")  # not in the table of a telephone: they stand below, too

# The first line makes sure of it: whatever stands in a reason or in a name, the page asks nobody for anything.
TOP = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8882; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.4rem; margin: .2rem 0; }} h2 {{ font-size: 1.1rem; margin: 1.5rem 0 .5rem; }}
.board {{ display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; list-style: none; }}
.board li {{ background: var(--soft); border-radius: .5rem; padding: .4rem .8rem; }}
.board b {{ display: block; font-size: 1.2rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
td.long {{ min-width: 16rem; }}
details {{ border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .4rem .8rem; }}
summary {{ cursor: pointer; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; font-size: .85rem; overflow-wrap: anywhere; }}
dt, .quiet {{ opacity: .7; }} dd {{ margin: 0; }}
img {{ max-width: 100%; height: auto; display: block; margin: .5rem 0; border-radius: .3rem; background: #fff; }}
figure {{ margin: .5rem 0; }} audio {{ width: 100%; max-width: 30rem; display: block; }}
.healthy {{ color: #2a9d4a; }} .sick {{ color: #b7791f; }} .pruned {{ color: #1f8a99; }} .failed {{ color: #d1495b; }}
@media (max-width: 40rem) {{ .long {{ display: none; }} th, td {{ padding: .3rem; }} }}
</style>
"""


def page(study_log: StudyLog) -> Iterator[str]:
    """The page, piece by piece: a study's pictures may be larger than the memory."""
    trials = sorted(study_log.trials.values(), key=lambda trial: trial.rank)
    name = escape(study_log.folder.name)
    yield TOP.format(title=f"{name}: tacotune")
    yield f"<h1>{name}</h1>\n" + _board(study_log, trials)
    yield '<h2>Trials</h2>\n<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{word}</th>" for word in FIGURES) + "".join(f"<th class=long>{word}</th>" for word in LONG)
    yield "</tr></thead><tbody>\n"
    for trial in trials:
        yield _row(trial)
    yield "</tbody></table></div>\n<h2>What they look and sound like</h2>\n"
    for place, trial in enumerate(trials):
        yield from _details(trial, trial_folder(study_log.folder, trial.number), place == 0)
    yield "</html>\n"


def _word(trial: Trial) -> str:
    return "running" if trial.state == "RUNNING" else verdict(trial.state, trial.healthy).word


def _board(study_log: StudyLog, trials: list[Trial]) -> str:
    """The best, how many, and what stopping early has saved."""
    counts = {word: sum(_word(trial) == word for trial in trials) for word in ORDER}
    finished = sum(trial.state in ("COMPLETE", "PRUNED") for trial in trials)
    saved = sum(trial.end["saved_kframes"] for trial in trials if trial.end is not None)
    best = trials[0] if trials and _word(trials[0]) == HEALTHY.word else None
    wanted = study_log.started.get("wanted", finished)
    tiles = [(f"{finished} of {wanted}", "trials finished")]
    tiles += [(str(count), word) for word, count in counts.items() if count]
    tiles += [(f"{kframes(saved)} kframes", "saved by stopping early")] if saved else []
    first = ("-", "no healthy trial yet")
    if best is not None and best.end is not None:
        first = (number(best.end["value"]), f"best: trial {best.number}")
    said = "".join(f"<li><b>{escape(value)}</b>{escape(label)}</li>" for value, label in [first, *tiles])
    why = study_log.end["why"] if study_log.end else "not ended"
    notes = "".join(f"<li>{escape(note)}</li>" for note in study_log.started.get("notes", ()))
    about = f'<p class="quiet">began {escape(_when(study_log.began))}: {escape(why)}</p>'
    return f'{about}<ul class="board">{said}</ul>\n<details><summary>notes</summary><ul>{notes}</ul></details>\n'


def _row(trial: Trial) -> str:
    end, word = trial.end or {}, _word(trial)
    health = end.get("health") or {}
    figures = [number(end.get("value")), kframes(end["kframes"]) if end else "-"]
    figures += [share(health.get(name)) for name in ("diagonality", "alignment_score", "gate_accuracy")]
    figures += [duration(end["seconds"]) if end else "-"]
    cells = f'<td class="n">{trial.number}</td><td class="{word}">{word}</td>'
    cells += "".join(f'<td class="n">{escape(figure)}</td>' for figure in figures)
    long = (settings(described(trial.params)), end.get("reason") or "")
    return f"<tr>{cells}{''.join(f'<td class=long>{escape(text)}</td>' for text in long)}</tr>\n"


def _details(trial: Trial, folder: Path, open_: bool) -> Iterator[str]:
    """Everything of one trial, folded up."""
    end, word = trial.end or {}, _word(trial)
    yield f'<details{" open" if open_ else ""}><summary><b>trial {trial.number}</b> <span class="{word}">{word}</span> '
    yield f"{escape(number(end.get('value')))}</summary>\n"
    if end.get("reason"):
        yield f"<p>{escape(end['reason'])}</p>\n"
    known: dict[str, Any] = {"origin": trial.origin, "began": _when(trial.began)} | described(trial.params)
    yield "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in known.items()) + "</dl>\n"
    for name in PICTURES:
        if data := _data(folder / f"{name}.png"):
            yield f'<img alt="{name} of trial {trial.number}" src="{data}">\n'
    for name, caption in SOUNDS.items():
        if data := _data(folder / f"{name}.ogg") or _data(folder / f"{name}.wav"):
            yield f'<figure><figcaption>{caption}</figcaption><audio controls preload="none" src="{data}"></audio></figure>\n'
    yield "</details>\n"


def _when(at: str) -> str:
    return at.replace("T", " ").replace("+00:00", " UTC")


def _data(file: Path) -> str:
    """The file as a URI that holds it; "" where there is none."""
    try:
        return f"data:{KINDS[file.suffix]};base64,{b64encode(file.read_bytes()).decode()}"
    except FileNotFoundError:
        return ""
