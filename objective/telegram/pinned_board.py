"""The pinned message of a study, edited in place: progress, the best trial, the running trials and their health, time left."""

from html import escape

from optuna.trial import FrozenTrial

from objective.display.formatting import kframes, norm, number, percent, share
from objective.display.summary import outcomes, reached, saved_kframes, seconds_left
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import Position, StudyState
from objective.telegram.markup import bar, sparkline
from objective.telegram.messages import best_so_far, no_best
from objective.telegram.translations import Translator
from pruners.decision import status
from pruners.health_record import SIGNALS, Record
from storage.outcome import best_of

MARKS = {"STABLE": "🟢", "ATTENTION": "🟡", "CRITICAL": "🔴"}
TRIALS_SHOWN = 8  # running trials, so that the board stays one message
TREND = 12  # reports whose gradient norm is drawn


def board(state: StudyState, position: Position, translate: Translator) -> Message:
    """Return the board. Nothing in it changes with the clock alone, so the board of an idle study is not edited."""
    finished, best = state.finished, best_of(state.finished)
    part = min(1.0, len(finished) / state.wanted)
    over = position.phase in ("stopped", "done")
    lines = [
        translate("board", study=state.name, finished=len(finished), wanted=state.wanted),
        f"{bar(part)} {part:.0%}",
    ]
    if over:
        lines.append(translate(f"phase_{position.phase}"))
    if state.paused:
        lines.append(translate("paused"))
    lines.append(no_best(finished, translate) if best is None else best_so_far(best, translate))
    if finished:
        ends = outcomes(finished)
        lines.append(translate("counts", healthy=ends["healthy"], sick=ends["sick"], pruned=ends["pruned"]))
    saved = sum(saved_kframes(finished, state.budget_kframes).values())
    if saved:
        saved_share = f"{saved / (len(finished) * state.budget_kframes):.0%}"
        lines.append(translate("saved", kframes=kframes(saved), share=saved_share))
    if not over:
        lines += _in_progress(state, translate)
    switch = "resume" if state.paused else "pause"
    buttons = (translate("button_best"), "/best"), (translate(f"button_{switch}"), f"/{switch}")
    return Message("\n".join(lines), buttons=buttons)


def _in_progress(state: StudyState, translate: Translator) -> list[str]:
    running, left = state.running, seconds_left(state.trials, state.wanted, state.budget_kframes)
    lines = [translate("eta", time=translate.duration(left))] if left else []
    lines += [f"\n{running_trial(trial, state, translate)}" for trial in running[:TRIALS_SHOWN]]
    hidden = len(running) - TRIALS_SHOWN
    return [*lines, translate("more", count=hidden)] if hidden > 0 else lines


def running_trial(trial: FrozenTrial, state: StudyState, translate: Translator) -> str:
    """Return the progress and the health of a running trial as HTML."""
    record, decisions = trial.user_attrs.get("health", {}), state.decisions.get(trial.number, ())
    part, health = reached(trial) / state.budget_kframes, status(decisions)
    last = {name: record[name][-1] if record.get(name) else None for name in SIGNALS}
    diagonality, coverage, gate = (share(last[name]) for name in ("diagonality", "coverage", "gate_accuracy"))
    trend = sparkline(record.get("grad_norm_median", [])[-TREND:])
    lines = [
        f"{MARKS[health]} {translate('running', number=trial.number, status=translate(f'status_{health}'))}",
        translate("progress", bar=bar(part), share=f"{min(1.0, part):.0%}", loss=number(last["val_loss"])),
        translate("measured", diagonality=diagonality, coverage=coverage, gate=gate),
        *_judged(record, translate),
        translate("gradients", norm=norm(last["grad_norm_median"]), trend=trend),
        *(f"<i>{escape(decision.evidence, quote=False)}</i>" for decision in decisions[:1]),
    ]
    return "\n".join(lines)


def _judged(record: Record, translate: Translator) -> list[str]:
    """Return the newest figures of free-running synthesis, which not every report has."""
    names = ("kframes", "free_errors", "free_failures")
    reports = zip(*(record.get(name, ()) for name in names), strict=False)
    judged = [report for report in reports if report[2] is not None]
    if not judged:
        return []
    at, errors, faults = judged[-1]
    return [translate("spoken", errors=percent(errors), faults=percent(faults), kframes=kframes(at))]
