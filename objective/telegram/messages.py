"""Turn an event into messages: their texts, pictures and sounds, and whether phones ring."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from objective.display.formatting import kframes, norm, number, percent, share
from objective.display.heard import spoken_of
from objective.display.summary import described
from objective.runtime.cli import typed_name
from objective.search.repair import diagnoses
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import DEAD_IN_A_ROW, Event, Position, StudyState, dead_in_a_row, reported_trials
from objective.telegram.translations import Translator
from storage.outcome import best_of, folder_of, healthy, outcome, rank, reason, value

PICTURES = ("alignment.png", "curves.png")
SAMPLE = "sample.ogg"
MISSING = "-"

Files = Callable[[FrozenTrial], Mapping[str, Path]]  # the pictures and sounds of a trial, by name


def messages(
    event: Event, state: StudyState, position: Position, translate: Translator, folder: Path, files: Files
) -> list[Message]:
    """Return the messages that report an event; `folder` is the study's."""
    if event.number < 0:
        return [Message(_study_text(event, state, translate, folder), loud=event.kind != "resumed")]
    trial = state.trials[event.number]
    if event.kind == "ended":
        return _end_messages(trial, state, position, translate, files(trial))
    if event.kind == "flag":
        evidence = [decision.evidence for decision in state.decisions.get(trial.number, ()) if decision.rule == event.rule]
        lines = [translate("flag", number=trial.number, evidence=sentence) for sentence in evidence]
        lines.append(translate("act", action=translate.advice(event.rule)))
        return [Message("\n".join(lines), loud=True, buttons=(stop_button(trial.number, translate),))]
    return [Message(_trial_text(event, trial, translate), loud=event.kind == "lost")]


def summary(trial: FrozenTrial, before: Sequence[FrozenTrial], state: StudyState, translate: Translator) -> str:
    """Return a finished trial, compared with the trials that finished `before` it, as HTML."""
    best = best_of(before)
    key = "new_best" if best_of([*before, trial]) is trial else str(outcome(trial))
    lines = [translate(key, number=trial.number, value=number(trial.value), by=trial.user_attrs.get("pruned_by"))]
    if why := reason(trial):
        lines.append(f"<i>{escape(why, quote=False)}</i>")
    lines += [translate("act", action=translate.advice(rule)) for rule in diagnoses(trial)[:1]]
    lines += [*_heard(trial, translate), _rank(trial, before, translate), _spent(trial, state, translate)]
    lines.append(measurements(trial.user_attrs, translate))
    if origin := trial.user_attrs.get("origin"):
        changes = f": {', '.join(trial.user_attrs['changes'])}" if "repair_of" in trial.user_attrs else ""
        lines.append(escape(origin + changes, quote=False))
    return "\n".join([*lines, _differences(trial, best, translate)])


def best_trial(state: StudyState, translate: Translator, folder: Path) -> str:
    """Return the best trial, its configuration and the command that starts a new study from it, as HTML."""
    best = best_of(state.finished)
    if best is None:
        return no_best(state.finished, translate)
    trial_folder = folder_of(best, folder)
    where = ["--out", str(folder.parent), "--study", f"{state.name}-next", *state.flags]
    command = f"{typed_name('study')} {shlex.join([*where, '--warm-start', str(trial_folder / 'best.pt')])}"
    configuration = "\n".join(f"{name} {_shown(setting)}" for name, setting in best.params.items())
    return "\n".join(
        [
            best_so_far(best, translate),
            f"<pre>{escape(configuration, quote=False)}</pre>",
            translate("use", folder=trial_folder),
            f"<pre>{escape(command, quote=False)}</pre>",
        ]
    )


def best_so_far(best: FrozenTrial, translate: Translator) -> str:
    """Return the best trial with its value and its errors."""
    return ", ".join([translate("best", number=best.number, value=number(best.value)), *errors(best, translate)])


def no_best(finished: Sequence[FrozenTrial], translate: Translator) -> str:
    """Return that no trial is healthy, and which one is the closest."""
    closest = min(finished, key=rank, default=None)
    if closest is None:
        return translate("no_best")
    return ": ".join([translate("closest", number=closest.number), *errors(closest, translate)])


def errors(trial: FrozenTrial, translate: Translator) -> list[str]:
    """Return how many letters of a trial are heard wrong; nothing where no listener hears well enough."""
    spoken = spoken_of(trial.user_attrs)
    if spoken.get("errors") is None:
        return []
    return [translate("errors", errors=percent(spoken["errors"]), floor=percent(spoken.get("recorded_errors")))]


def failure(trial: FrozenTrial, translate: Translator) -> str:
    """Return why a trial ended without a result, as HTML."""
    why, given_up = trial.user_attrs.get("released"), trial.user_attrs.get("given_up")
    key = "given_up" if given_up else "lost" if why else "failed"
    return translate(key, number=trial.number, why=why, given_up=given_up)


def pictures(trial: FrozenTrial, files: Mapping[str, Path], translate: Translator) -> Message | None:
    """Return the pictures of a trial as one message; None if it has none."""
    found = _read(files, PICTURES)
    return Message(translate("pictures", number=trial.number), files=found, name="pictures") if found else None


def sample(trial: FrozenTrial, files: Mapping[str, Path], translate: Translator) -> Message | None:
    """Return the synthesized sample of a trial as a voice message; None if it has none."""
    found = _read(files, (SAMPLE,))
    text = trial.user_attrs.get("free_text")
    lines = [translate("sample", number=trial.number), *([] if text is None else [translate("said", text=text)])]
    return Message("\n".join(lines), files=found, name="sample") if found else None


def measurements(attributes: Mapping[str, Any], translate: Translator) -> str:
    shares = {name: share(attributes.get(name)) for name in ("diagonality", "reading", "coverage")}
    gate, gradient_norm = share(attributes.get("gate_accuracy")), norm(attributes.get("grad_norm_median"))
    return translate("health", gate=gate, norm=gradient_norm, **shares)


def file_buttons(trial: FrozenTrial, translate: Translator) -> tuple[tuple[str, str], ...]:
    """Return the buttons that show a finished trial's pictures and play its sample."""
    curves = translate("button_curves"), f"/curves {trial.number}"
    listen = translate("button_listen"), f"/listen {trial.number}"
    return curves, listen


def stop_button(number: int, translate: Translator) -> tuple[str, str]:
    return translate("button_stop", number=number), f"/stop {number}"


def _study_text(event: Event, state: StudyState, translate: Translator, folder: Path) -> str:
    budget, finished = kframes(state.budget_kframes), len(state.finished)
    lines = [translate(f"study_{event.kind}", study=state.name, finished=finished, wanted=state.wanted, budget=budget)]
    if event.kind == "stopped":
        lines.append(translate.stop_reason(state.stopped or ""))
    if event.kind in ("stopped", "done"):
        lines.append(best_trial(state, translate, folder))
    return "\n".join(lines)


def _trial_text(event: Event, trial: FrozenTrial, translate: Translator) -> str:
    attributes = trial.user_attrs
    if event.kind == "begun" and "again_of" in attributes:
        return translate("again", number=trial.number, parent=attributes["again_of"])
    if event.kind == "begun":
        changes = ", ".join(attributes.get("changes", ()))
        return translate("repair", number=trial.number, parent=attributes["repair_of"], changes=changes)
    return failure(trial, translate)


def _end_messages(
    trial: FrozenTrial, state: StudyState, position: Position, translate: Translator, files: Mapping[str, Path]
) -> list[Message]:
    before = [other for other in reported_trials(state, position) if other.number != trial.number]
    text = summary(trial, before, state, translate)
    dead = dead_in_a_row([*before, trial]) == DEAD_IN_A_ROW
    if dead:
        text += "\n" + translate("dead", count=DEAD_IN_A_ROW)
    loud = dead or best_of([*before, trial]) is trial
    attachments = (pictures(trial, files, translate), sample(trial, files, translate))
    first = Message(text, loud, buttons=file_buttons(trial, translate))
    return [first, *(message for message in attachments if message is not None)]


def _heard(trial: FrozenTrial, translate: Translator) -> list[str]:
    """Return what a trial said and what was heard of it, its errors and its faults, as far as that is known."""
    spoken = spoken_of(trial.user_attrs)
    if "text" not in spoken:
        return []
    lines = [translate("said", text=spoken["text"])]
    if (heard := spoken.get("heard")) is not None:
        lines.append(translate("heard", heard=heard) if heard else translate("heard_nothing"))
    faults = translate("faults", share=percent(spoken["failures"]), count=spoken["sentences"])
    return [*lines, "; ".join([*errors(trial, translate), faults])]


def _rank(trial: FrozenTrial, before: Sequence[FrozenTrial], translate: Translator) -> str:
    rivals, count = [other for other in before if healthy(other)], len(before) + 1
    if healthy(trial):
        return translate("rank", rank=1 + sum(value(rival) <= value(trial) for rival in rivals), count=count)
    return translate("no_rank", healthy=len(rivals), count=count)


def _spent(trial: FrozenTrial, state: StudyState, translate: Translator) -> str:
    spent, time = trial.user_attrs.get("kframes", 0.0), translate.duration(trial.user_attrs.get("seconds", 0.0))
    return translate("spent", kframes=kframes(spent), budget=kframes(state.budget_kframes), time=time)


def _differences(trial: FrozenTrial, best: FrozenTrial | None, translate: Translator) -> str:
    """Return the parameters in which a trial differs from the best before it; all of its parameters if there is none."""
    params = described(trial.params)
    if best is None:
        return translate("params", params=", ".join(f"{name} {_shown(setting)}" for name, setting in params.items()))
    others = described(best.params)
    names = [name for name in others | params if others.get(name) != params.get(name)]
    changes = ", ".join(f"{name} {_shown(others.get(name))} → {_shown(params.get(name))}" for name in names)
    return translate("differs" if names else "same", number=best.number, value=number(best.value), changes=changes)


def _read(files: Mapping[str, Path], names: Sequence[str]) -> tuple[tuple[str, bytes], ...]:
    """Read those of the files that can be read."""
    contents = []
    for name in names:
        with suppress(KeyError, OSError):
            contents.append((name, files[name].read_bytes()))
    return tuple(contents)


def _shown(setting: Any) -> str:
    return MISSING if setting is None else f"{setting:.3g}" if isinstance(setting, float) else str(setting)
