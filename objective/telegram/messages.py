"""An event as messages: what is said, with which pictures and sounds, and whether telephones ring."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from objective.display.formatting import kframes, norm, number, share
from objective.display.summary import described
from objective.search.repair import diagnoses
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import DEAD, Event, Position, Scene, dead_in_a_row, known
from objective.telegram.translations import Words
from storage.outcome import best_of, folder_of, healthy, pruned, reason

PICTURES = ("alignment.png", "curves.png")
SAMPLE = "sample.ogg"
MISSING = "-"

Files = Callable[[FrozenTrial], Mapping[str, Path]]  # what a trial left to look at and to listen to, by name


def messages(event: Event, scene: Scene, position: Position, words: Words, folder: Path, files: Files) -> list[Message]:
    """What an event is told with; `folder` is the study's."""
    if event.number < 0:
        return [Message(_of_study(event, scene, words, folder), loud=event.kind != "resumed")]
    trial = scene.trials[event.number]
    if event.kind == "ended":
        return _ending(trial, scene, position, words, files(trial))
    if event.kind == "flag":
        evidence = [found.evidence for found in scene.found.get(trial.number, ()) if found.rule == event.rule]
        text = [words("flag", number=trial.number, evidence=one) for one in evidence]
        text += _action(event.rule, words)
        return [Message("\n".join(text), True, buttons=(stop_button(trial.number, words),))]
    return [Message(_of_trial(event, trial, words), loud=event.kind == "lost")]


def summary(trial: FrozenTrial, before: Sequence[FrozenTrial], scene: Scene, words: Words) -> str:
    """A finished trial among those that finished `before` it, as HTML."""
    best = best_of(before)
    first = best_of([*before, trial]) is trial
    state = "pruned" if pruned(trial) else "new_best" if first else "healthy" if healthy(trial) else "sick"
    lines = [words(state, number=trial.number, value=number(trial.value), by=trial.user_attrs.get("pruned_by"))]
    if why := reason(trial):
        lines.append(f"<i>{escape(why, quote=False)}</i>")
    lines += _action(next(iter(diagnoses(trial)), ""), words)
    lines += [_rank(trial, before, words), _spent(trial, scene, words), measured(trial.user_attrs, words)]
    if origin := trial.user_attrs.get("origin"):
        changes = f": {', '.join(trial.user_attrs['changes'])}" if "repair_of" in trial.user_attrs else ""
        lines.append(escape(origin + changes, quote=False))
    return "\n".join([*lines, _differences(trial, best, words)])


def best_one(scene: Scene, words: Words, folder: Path) -> str:
    """The best trial with its configuration, and how to go on from it, as HTML."""
    best = best_of(scene.finished)
    if best is None:
        return words("no_best")
    place = folder_of(best, folder)
    where = ["--out", str(folder.parent), "--study", f"{scene.name}-next", *scene.flags]
    command = shlex.join(["python", "-m", "objective.study", *where, "--warm-start", str(place / "best.pt")])
    settings = "\n".join(f"{name} {_shown(value)}" for name, value in best.params.items())
    lines = [words("best", number=best.number, value=number(best.value)), f"<pre>{escape(settings, quote=False)}</pre>"]
    return "\n".join([*lines, words("use", folder=place), f"<pre>{escape(command, quote=False)}</pre>"])


def pictures(trial: FrozenTrial, files: Mapping[str, Path], words: Words) -> Message | None:
    """Its attention and its curves; None where neither is there."""
    there = _read(files, PICTURES)
    return Message(words("pictures", number=trial.number), files=there, name="pictures") if there else None


def sample(trial: FrozenTrial, files: Mapping[str, Path], words: Words) -> Message | None:
    """How it speaks; None where it said nothing."""
    there = _read(files, (SAMPLE,))
    return Message(words("sample", number=trial.number), files=there, name="sample") if there else None


def measured(attributes: Mapping[str, Any], words: Words) -> str:
    shares = {name: share(attributes.get(name)) for name in ("diagonality", "alignment_score", "coverage")}
    gate, gradients = share(attributes.get("gate_accuracy")), norm(attributes.get("grad_norm_median"))
    return words("health", gate=gate, norm=gradients, **shares)


def buttons_of(trial: FrozenTrial, words: Words) -> tuple[tuple[str, str], ...]:
    """To see and to hear a finished trial."""
    return (words("button_curves"), f"/curves {trial.number}"), (words("button_listen"), f"/listen {trial.number}")


def stop_button(number: int, words: Words) -> tuple[str, str]:
    return words("button_stop", number=number), f"/stop {number}"


def _of_study(event: Event, scene: Scene, words: Words, folder: Path) -> str:
    about = {"study": scene.name, "finished": len(scene.finished), "wanted": scene.wanted}
    lines = [words(event.kind, budget=kframes(scene.budget_kframes), **about)]
    if event.kind == "stopped":
        lines.append(words.reason(scene.stopped or ""))
    if event.kind in ("stopped", "done"):
        lines.append(best_one(scene, words, folder))
    return "\n".join(lines)


def _of_trial(event: Event, trial: FrozenTrial, words: Words) -> str:
    attributes = trial.user_attrs
    if event.kind == "begun" and "again_of" in attributes:
        return words("again", number=trial.number, parent=attributes["again_of"])
    if event.kind == "begun":
        changes = ", ".join(attributes.get("changes", ()))
        return words("repair", number=trial.number, parent=attributes["repair_of"], changes=changes)
    return gone(trial, words)


def gone(trial: FrozenTrial, words: Words) -> str:
    """A trial that has ended without a result."""
    known = {"number": trial.number, "why": trial.user_attrs.get("released"), "given_up": trial.user_attrs.get("given_up")}
    return words("given_up" if known["given_up"] else "lost" if known["why"] else "failed", **known)


def _ending(trial: FrozenTrial, scene: Scene, position: Position, words: Words, files: Mapping[str, Path]) -> list[Message]:
    before = [other for other in known(scene, position) if other.number != trial.number]
    text = summary(trial, before, scene, words)
    row = dead_in_a_row([*before, trial])
    if row == DEAD:
        action = words.action(trial.user_attrs["pruned_by"]) or MISSING
        text += "\n" + words("dead", count=row, action=action)
    loud = row == DEAD or best_of([*before, trial]) is trial
    parts = (pictures(trial, files, words), sample(trial, files, words))
    return [Message(text, loud, buttons=buttons_of(trial, words)), *(part for part in parts if part is not None)]


def _rank(trial: FrozenTrial, before: Sequence[FrozenTrial], words: Words) -> str:
    well = [other for other in before if healthy(other)]
    if healthy(trial):
        return words("rank", rank=1 + sum(_value(it) <= _value(trial) for it in well), count=len(before) + 1)
    return words("no_rank", healthy=len(well), count=len(before) + 1)


def _spent(trial: FrozenTrial, scene: Scene, words: Words) -> str:
    spent, time = trial.user_attrs.get("kframes", 0.0), words.time(trial.user_attrs.get("seconds", 0.0))
    return words("spent", kframes=kframes(spent), budget=kframes(scene.budget_kframes), time=time)


def _differences(trial: FrozenTrial, best: FrozenTrial | None, words: Words) -> str:
    """The parameters that are not those of the best so far; all of them where there is none."""
    mine = described(trial.params)
    if best is None:
        return words("params", params=", ".join(f"{name} {_shown(value)}" for name, value in mine.items()))
    its = described(best.params)
    names = [name for name in its | mine if its.get(name) != mine.get(name)]
    changes = ", ".join(f"{name} {_shown(its.get(name))} → {_shown(mine.get(name))}" for name in names)
    return words("differs" if names else "same", number=best.number, value=number(best.value), changes=changes)


def _action(rule: str, words: Words) -> list[str]:
    action = words.action(rule)
    return [words("act", action=action)] if action else []


def _read(files: Mapping[str, Path], names: Sequence[str]) -> tuple[tuple[str, bytes], ...]:
    there = []
    for name in names:
        with suppress(KeyError, OSError):  # it is not there, or cannot be read: the others can
            there.append((name, files[name].read_bytes()))
    return tuple(there)


def _value(trial: FrozenTrial) -> float:
    """Of a pruned trial the last loss."""
    return float("inf") if trial.value is None else trial.value


def _shown(value: Any) -> str:
    return MISSING if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
