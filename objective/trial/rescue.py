"""Repair one long training while it runs: roll back what diverged, and start the schedule anew where it stagnates.

Only the command `train` does this. A trial of a search is never changed while it runs, so that the sampler learns from what it
asked for. Each action is one sentence with the old and the new value, and its effect is another, some reports later.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from model.files import atomic_write
from model.inspection import Inspection, inspect
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Trainer
from objective.trial.plots import alignment
from pruners.decision import Decision, Rule, judge
from pruners.health_record import SIGNALS, Record, values_of
from storage.snapshot_writer import held

DIVERGED = ("nonfinite", "grad_norm", "progress", "relapse")  # rules whose stops roll the training back
NONFINITE_STEPS = 3  # in a row that roll it back
CHECK_UPDATES = 8  # between two looks at the newest steps: each makes a GPU wait
EFFECT_REPORTS = 2  # after an action its effect is told
RESTARTS = 2  # of the schedule, at most

Figures = dict[str, float | None]


@dataclass(slots=True)
class Action:
    """A change to the running training, with what was known before and after it."""

    kind: Literal["rollback", "restart"]
    updates: int
    kframes: float
    since: float  # kframes from which on a rollback undoes the training
    change: str  # "learning rate 0.002 -> 0.001, weights of 400 kframes"
    why: str
    before: Figures
    reports: int = 0  # since then
    effect: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.change}: {self.why}"


@dataclass(slots=True)
class Rescue:
    """Repairs a training while it runs, and knows what it has done.

    most: rollbacks, after which it ends with a diagnosis. folder: where its state at each event is kept. name_of: place in the
    training set -> id of the utterance. tell: receives each sentence. actions: those of earlier attempts, too.
    """

    most: int
    rules: Sequence[Rule]
    folder: Path
    name_of: Callable[[int], str]
    tell: Callable[[str], None]
    actions: list[Action]
    window_share: float  # of the budget, without a gain in which it is stagnant
    stable: Callable[[], dict[str, Any]] | None = field(default=None, init=False)  # the last good snapshot
    stable_kframes: float = field(default=0.0, init=False)
    scale: float = field(default=1.0, init=False)  # of the learning rate, as far as this has changed it
    figures: Figures = field(default_factory=dict, init=False)  # at the last report

    def begin(self, trainer: Trainer, record: Record) -> None:
        """Take the first weights to go back to, unless the training was stopped while it diverged."""
        self.scale = trainer.cursor.rate_scale
        if not self._found(record)[1]:
            self._keep(trainer)

    def check(self, trainer: Trainer, report: Report | None, record: Record) -> str | None:
        """Look at the training after an update, and act. Return the diagnosis where it has to end, else None.

        report: of this update, if there is one; it is the last of the `record`.
        """
        if trainer.cursor.updates % CHECK_UPDATES == 0 and (steps := trainer.window.skipping()) >= NONFINITE_STEPS:
            return self._roll_back(trainer, f"{steps} steps in a row were not finite, limit {NONFINITE_STEPS}")
        if report is None:
            return None
        self.figures = _figures(report)
        self._tell_effect(report)
        found, diverged = self._found(record)
        if diverged and diverged[0].stop:
            return self._roll_back(trainer, diverged[0].evidence)
        if not diverged:
            self._keep(trainer)
        stagnant = next((one for one in found if one.rule == "stagnation"), None)
        if stagnant is not None and report.kframes >= self._settled(record):
            self._restart(trainer, stagnant.evidence)
        return None

    def _found(self, record: Record) -> tuple[Sequence[Decision], list[Decision]]:
        """Return what the rules find at the last report of a record, and what of it is critical and says that it diverges."""
        found = judge(without_undone(record, self.actions), self.rules)
        return found, [one for one in found if one.critical and one.rule in DIVERGED]

    def _keep(self, trainer: Trainer) -> None:
        self.stable, self.stable_kframes = held(trainer.snapshot().as_dict()), trainer.cursor.frames / 1_000

    def restore(self, trainer: Trainer) -> bool:
        """Give a trainer its last good weights. Return whether there are any."""
        if self.stable is not None:
            trainer.roll_back(Snapshot.from_dict(self.stable()))
        return self.stable is not None

    def _roll_back(self, trainer: Trainer, why: str) -> str | None:
        cursor, rate = trainer.cursor, float(trainer.update.rate)
        write_event(self.folder / f"event-{cursor.updates:07d}", trainer, self.name_of)
        done = sum(action.kind == "rollback" for action in self.actions)
        if done >= self.most:
            return (
                f"it diverged again after {done} rollbacks, at a learning rate of {rate:.3g}: {why}; what it saw is in "
                f"{self.folder.name}/event-{cursor.updates:07d}: look at these recordings, or start anew with --safe"
            )
        change = f"learning rate {rate:.3g} -> {self._halved(trainer):.3g}"
        if self.restore(trainer):
            change += f", weights of {self.stable_kframes:.4g} kframes"
        self._done("rollback", trainer, change, why)
        return None

    def _halved(self, trainer: Trainer) -> float:
        """Halve the learning rate, and return it. Whatever else has raised it is undone, too."""
        cursor, before = trainer.cursor, trainer.cursor.rate_scale
        self.scale = cursor.rate_scale = self.scale / 2
        return float(trainer.update.rate) * cursor.rate_scale / before

    def _restart(self, trainer: Trainer, why: str) -> None:
        """Start a schedule that falls anew; halve a constant rate."""
        cursor, training, rate = trainer.cursor, trainer.config.training, float(trainer.update.rate)
        if sum(action.kind == "restart" for action in self.actions) >= RESTARTS:
            return
        if training.schedule == "constant":
            change = f"learning rate {rate:.3g} -> {self._halved(trainer):.3g}"
        else:
            cursor.rate_from = cursor.frames
            change = f"learning rate {rate:.3g} -> {cursor.rate_scale * training.learning_rate:.3g}, and its schedule anew"
        self._done("restart", trainer, change, why)

    def _settled(self, record: Record) -> float:
        """Return the kframes from which on the last action may be judged by what was gained since."""
        last = max((action.kframes for action in self.actions), default=0.0)
        return float(last + self.window_share * record["budget_kframes"])

    def _done(self, kind: Literal["rollback", "restart"], trainer: Trainer, change: str, why: str) -> None:
        cursor = trainer.cursor
        action = Action(kind, cursor.updates, cursor.frames / 1_000, self.stable_kframes, change, why, self.figures)
        self.actions.append(action)
        self.tell(action.sentence)

    def _tell_effect(self, report: Report) -> None:
        for action in self.actions:
            action.reports += 1
            if action.reports == EFFECT_REPORTS:
                pairs = [(name, action.before.get(name), now) for name, now in self.figures.items()]
                shown = ", ".join(f"{name} {_number(old)} -> {_number(new)}" for name, old, new in pairs)
                action.effect = f"{report.updates - action.updates} updates after the {action.kind}: {shown}"
                self.tell(action.effect)


def without_undone(record: Record, actions: Sequence[Action]) -> Record:
    """Return the record without the reports that rollbacks have undone: they say nothing about the present weights."""
    undone = [(action.since, action.kframes) for action in actions if action.kind == "rollback"]
    kept = [
        place for place, kframes in enumerate(record["kframes"]) if not any(since < kframes <= end for since, end in undone)
    ]
    return {**record, **{name: [values_of(record, name)[place] for place in kept] for name in SIGNALS}}


def write_event(folder: Path, trainer: Trainer, name_of: Callable[[int], str]) -> None:
    """Write what is needed to understand an event: the last batch, its losses, the norms of the layers, the attention."""
    folder.mkdir(parents=True, exist_ok=True)
    found = inspect(trainer)
    values = asdict(trainer.cursor) | {
        "utterances": [name_of(index) for index in found.indices],
        "learning_rate": float(trainer.update.rate),
        "losses": found.losses,
        "gradient_norms": found.gradients,
        "weight_norms": found.weights,
    }
    with atomic_write(folder / "state.json") as part:
        part.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
    _draw(folder / "alignment.png", found, f"{trainer.cursor.updates} updates: {values['utterances'][0]}, teacher-forced")


def _draw(path: Path, found: Inspection, title: str) -> None:
    steps, symbols = int(found.outputs.step_lengths[0]), int(found.outputs.symbol_lengths[0])
    attention = found.outputs.alignment[0, :steps, :symbols].float().nan_to_num(0.0).cpu().numpy()
    alignment(path, attention, None, {}, title)


def _figures(report: Report) -> Figures:
    return {
        "validation loss": report.val_loss,
        "reading": report.health.reading,
        "gradient norm": report.gradients.p95,
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
