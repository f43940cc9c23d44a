"""The pinned message of a study, edited in place: how far it is, the best, what runs and how it is, how long it may take."""

from html import escape

from optuna.trial import FrozenTrial

from objective.display.formatting import kframes, norm, number, share
from objective.display.summary import outcomes, reached, saved_kframes, seconds_left
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import Position, Scene
from objective.telegram.markup import bar, sparkline
from objective.telegram.translations import Words
from pruners.health_record import SIGNALS
from pruners.rules import status
from storage.outcome import best_of

MARKS = {"STABLE": "🟢", "ATTENTION": "🟡", "CRITICAL": "🔴"}
TRIALS_SHOWN = 8  # trials that run, so that the message stays one
TREND = 12  # windows of the gradient norm


def board(scene: Scene, position: Position, words: Words) -> Message:
    """Nothing in it changes with the clock alone, so a study that stands still is not edited."""
    done, best = scene.finished, best_of(scene.finished)
    part = min(1.0, len(done) / scene.wanted)
    lines = [words("board", study=scene.name, finished=len(done), wanted=scene.wanted), f"{bar(part)} {part:.0%}"]
    if position.phase in ("stopped", "done"):
        lines.append(words(f"phase_{position.phase}"))
    if scene.paused:
        lines.append(words("paused"))
    lines.append(words("no_best") if best is None else words("best", number=best.number, value=number(best.value)))
    if done:
        ends = outcomes(done)
        lines.append(words("counts", **{word: ends[word] for word in ("healthy", "sick", "pruned")}))
    saved = sum(saved_kframes(done, scene.budget_kframes).values())
    if saved:
        lines.append(words("saved", kframes=kframes(saved), share=f"{saved / (len(done) * scene.budget_kframes):.0%}"))
    if position.phase not in ("stopped", "done"):
        lines += _present(scene, words)
    turn = "resume" if scene.paused else "pause"
    return Message("\n".join(lines), buttons=((words("button_best"), "/best"), (words(f"button_{turn}"), f"/{turn}")))


def _present(scene: Scene, words: Words) -> list[str]:
    left, here = seconds_left(scene.trials, scene.wanted, scene.budget_kframes), scene.running
    lines = [words("eta", time=words.time(left))] if left else []
    lines += [f"\n{running(trial, scene, words)}" for trial in here[:TRIALS_SHOWN]]
    return [*lines, words("more", count=len(here) - TRIALS_SHOWN)] if len(here) > TRIALS_SHOWN else lines


def running(trial: FrozenTrial, scene: Scene, words: Words) -> str:
    """A trial that runs, as HTML."""
    record, found = trial.user_attrs.get("health", {}), scene.found.get(trial.number, ())
    part, state = reached(trial) / scene.budget_kframes, status(found)
    last = {name: record[name][-1] if record.get(name) else None for name in SIGNALS}
    diagonality, coverage, gate = (share(last[name]) for name in ("diagonality", "coverage", "gate_accuracy"))
    trend = sparkline(record.get("grad_norm_median", [])[-TREND:])
    lines = [
        f"{MARKS[state]} {words('running', number=trial.number, status=state)}",
        words("progress", bar=bar(part), share=f"{min(1.0, part):.0%}", loss=number(last["val_loss"])),
        words("measured", diagonality=diagonality, coverage=coverage, gate=gate),
        words("gradients", norm=norm(last["grad_norm_median"]), trend=trend),
        *(f"<i>{escape(decision.evidence, quote=False)}</i>" for decision in found[:1]),
    ]
    return "\n".join(lines)
