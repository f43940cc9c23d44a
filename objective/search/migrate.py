"""A study whose space has changed: its finished trials that are points of the new space, copied into a study of another name.

A value can be compared as long as nothing but the space differs. The old study stays as it is. A copy keeps its ordinal k, from
which its seeds followed, its health record and its value, and says where it comes from; its files stay in the old folder.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import FrozenTrial, create_trial

from model.config import Config
from model.errors import BadInput
from model.report import Health
from pruners.health_record import SIGNALS
from search_spaces.knobs import values
from search_spaces.parameters import Value
from search_spaces.space import Space
from search_spaces.validate import read_table
from storage.leases import gone, owner
from storage.outcome import is_finished

MADE_S = 2.0  # that another process may take from making a study to saying what it is for
LOOK_S, SETTLE_S = 0.2, 1.0  # between two looks at what it does; before what was taken over is one's own
PATIENCE_S = 10.0  # that it may take to copy one trial
TOLD = 12  # reasons that are listed
SAME = 1e-12  # relative: a step that is added up again gives the same value but for its last bit
# What stays true of a trial in another study. Of owners, beats and rungs nothing does.
KEPT = {"health", "k", "origin", "changes", "repair_depth", "repair_why", "sick_reason", "seconds", *SIGNALS, *Health.__slots__}
KEPT_FAMILIES = ("pruned_", "free_")


class StudyRefused(BadInput):
    """The study exists and was made for something else."""


@dataclass(slots=True)
class Migration:
    """What became of the trials of the old study, by their numbers there."""

    old: str
    before: int = 0  # copied by an earlier call
    copied: dict[int, int] = field(default_factory=dict)  # their numbers in the new study
    left: dict[int, str] = field(default_factory=dict)  # why they are not copied

    def told(self) -> list[str]:
        """Sentences: how many were copied, and for each reason the trials that were not."""
        by_reason: dict[str, list[str]] = {}
        for number, why in self.left.items():
            by_reason.setdefault(why, []).append(str(number))
        earlier = f", {self.before} had been before" if self.before else ""
        counts = f"{len(self.copied)} trials of {self.old} are copied{earlier}, {len(self.left)} are not"
        reasons = [f"not copied, {why}: trial {', '.join(by_reason[why])}" for why in sorted(by_reason)]
        more = [f"and {len(reasons) - TOLD} other reasons"] if len(reasons) > TOLD else []
        return [counts, *reasons[:TOLD], *more]


def differences(known: Mapping[str, Any], identity: Mapping[str, Any], space: Space) -> tuple[list[str], list[str]]:
    """How the identity that a study was made with differs from that of a command: sentences on the space, and on all else."""
    known = {**flat(Config()), **known}  # a knob that did not exist when the study was made had the effect of its default
    others = [
        f"{name} was {known.get(name)}, it is now {new}"
        for name, new in identity.items()
        if name != "space" and known.get(name) != new
    ]
    return space.diff(known["space"]), others


def flat(config: Config) -> dict[str, Any]:
    """The knobs of a configuration by dotted name, but for how fast it is computed."""
    tree = asdict(config)
    return {f"{group}.{name}": value for group in tree for name, value in tree[group].items() if name != "recurrence"}


def migrate(
    storage: optuna.storages.BaseStorage, old_name: str, new_name: str, space: Space, identity: dict[str, Any]
) -> tuple[optuna.Study, Migration]:
    """Copies what is valid in `space` into the study `new_name`, creating it if needed. Raises StudyRefused.

    `identity` is that of the command, as objective.search.open_study compares it. The study that is returned has none yet:
    to give it one is to say that it is ready. Killed before, the same migration continues; where another process
    runs it, this one waits.
    """
    old = _old(storage, old_name, new_name)
    known = old.user_attrs["identity"]
    others = differences(known, identity, space)[1]
    if others:
        listed = "\n".join(f"  {sentence}" for sentence in others)
        raise StudyRefused(
            f"study {old_name} differs in more than its space, its values could not be compared:\n{listed}\n"
            "change the space alone, or begin a study of its own with another --study"
        )
    before = _space_of(known["space"], space)
    made = True
    try:
        new = optuna.create_study(storage=storage, study_name=new_name, direction="minimize")
    except DuplicatedStudyError:
        made, new = False, optuna.load_study(storage=storage, study_name=new_name)
    while True:
        ready = not _claimed(new, made, old_name, identity, space)
        done = _copy(old, new, before, space, ready)
        if done is not None:
            return new, done
        made = False


def _old(storage: optuna.storages.BaseStorage, name: str, new_name: str) -> optuna.Study:
    if name == new_name:
        raise StudyRefused(f"need another name for the study to migrate to, got {new_name} for both: choose another --migrate")
    names = sorted(optuna.get_all_study_names(storage))
    if name not in names:
        there = f"say one of {', '.join(names)}" if names else "the database holds none"
        raise StudyRefused(f"need the name of the study to migrate, got --study {name}: {there}")
    old = optuna.load_study(storage=storage, study_name=name)
    if "identity" not in old.user_attrs:
        raise StudyRefused(f"study {name} was made by another program, or is not ready: choose another --study")
    return old


def _claimed(new: optuna.Study, made: bool, old_name: str, identity: dict[str, Any], space: Space) -> bool:
    """Make the migration this process's own. False where it is done: by now, or by the process that was at it.

    The study says from the first moment on what it is to become, so that whoever finds it half filled can go on.
    """
    here, grown, since = owner(), -1, time.monotonic()
    while True:
        known = new.user_attrs
        claim, count = known.get("migration"), len(new.get_trials(deepcopy=False))
        if claim is None and ("identity" in known or count):
            raise StudyRefused(f"study {new.study_name} exists and was not made from {old_name}: choose another --migrate")
        if claim is not None:
            _compare(new.study_name, claim, old_name, identity, space)
        if "identity" in known:
            return False
        if claim is not None and claim["owner"] == here:
            return True
        if count > grown:
            grown, since = count, time.monotonic()
        stood, wait = time.monotonic() - since, LOOK_S
        if made or (gone(claim["owner"], here) if claim else stood >= MADE_S):
            new.set_user_attr("migration", {"from": old_name, "identity": identity, "owner": here})
            wait = SETTLE_S  # of several that take over at once, the last to say so is the one
        elif claim and stood >= PATIENCE_S:
            process = f"process {claim['owner']['pid']} of {claim['owner']['host']}"
            raise StudyRefused(
                f"study {new.study_name} is being made by {process}, which has not gone on for {PATIENCE_S:g} s: wait for it, "
                f"or, if it is gone, delete the study {new.study_name} or choose another --migrate"
            )
        if not made:
            time.sleep(wait)


def _compare(name: str, claim: Mapping[str, Any], old_name: str, identity: Mapping[str, Any], space: Space) -> None:
    if claim["from"] != old_name:
        raise StudyRefused(f"study {name} was made from {claim['from']}, not from {old_name}: choose another --migrate")
    listed = "\n".join(f"  {sentence}" for part in differences(claim["identity"], identity, space) for sentence in part)
    if listed:
        raise StudyRefused(f"study {name} was made with other settings:\n{listed}\nchoose another --migrate")


def _space_of(fingerprint: Mapping[str, Any], new: Space) -> Space:
    """The space that a study was made with. What the new one leaves alone was the same: the identities say so."""
    mistakes: list[str] = []
    fixed, parameters = read_table(fingerprint, mistakes)
    if mistakes:
        raise StudyRefused(f"the old space cannot be read by this version ({'; '.join(mistakes)}): begin a study of its own")
    return Space("old", "", fixed, parameters, new.base)


def _copy(old: optuna.Study, new: optuna.Study, before: Space, space: Space, ready: bool) -> Migration | None:
    """None where another process has taken over meanwhile."""
    there = new.get_trials(deepcopy=False)
    mark, here = f"{old.study_name} trial ", owner()
    numbers = {int(origin.removeprefix(mark)): it.number for it in there if (origin := it.user_attrs.get("migrated_from"))}
    done = Migration(old.study_name, before=len(numbers))
    for trial in old.get_trials(deepcopy=False):
        if trial.number in numbers:
            continue
        found = _moved(trial, before, space)
        if isinstance(found, str) or ready:
            done.left[trial.number] = found if isinstance(found, str) else f"{new.study_name} was ready before it ended"
            continue
        if new.user_attrs["migration"]["owner"] != here:
            return None
        new.add_trial(_copied(trial, old.study_name, found, numbers))
        numbers[trial.number] = done.copied[trial.number] = len(there) + len(done.copied)
    return done


@dataclass(slots=True)
class _Answers:
    """Stands for a trial whose parameters are known, and records the distributions that it is asked for."""

    params: Mapping[str, Any]
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        return float(self._answer(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._answer(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, CategoricalDistribution(choices))

    def _answer(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        return self.params[name]


def _moved(trial: FrozenTrial, before: Space, space: Space) -> _Answers | str:
    """The same point in the new space, or why it is none."""
    if not is_finished(trial):
        return f"{trial.state.name} is no result"
    settings = values(before.base)
    try:
        settings |= before.suggest(_Answers(trial.params))
    except KeyError as missing:
        return f"{missing.args[0]} is missing, which its own space asks for"
    params, changes = space.to_trial_params(settings)
    answers = _Answers(params)
    now = values(space.base) | space.suggest(answers)
    differing = [key for key in settings if not _same(settings[key], now[key])]
    return answers if not differing else "; ".join(change for change in changes if change.split()[0] in differing)


def _same(old: Value, new: Value) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return old == new
    return math.isclose(old, new, rel_tol=SAME)


def _copied(trial: FrozenTrial, old_name: str, answers: _Answers, numbers: Mapping[int, int]) -> FrozenTrial:
    """`trial` for the new study. Its sentences name trials by their new numbers, `numbers`, or as trials of the old study."""
    known = {name: value for name, value in trial.user_attrs.items() if name in KEPT or name.startswith(KEPT_FAMILIES)}
    parent = numbers.get(trial.user_attrs.get("repair_of", -1))
    if parent is not None:
        known["repair_of"] = parent
    if "origin" in known:
        known["origin"] = re.sub(r"\btrial (\d+)", lambda named: _named(int(named[1]), old_name, numbers), known["origin"])
    copy = create_trial(
        state=trial.state,
        value=trial.value,
        params=dict(answers.params),
        distributions=answers.distributions,
        user_attrs=known | {"migrated_from": f"{old_name} trial {trial.number}"},
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints or None,
    )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


def _named(number: int, old_name: str, numbers: Mapping[int, int]) -> str:
    return f"trial {numbers[number]}" if number in numbers else f"trial {number} of {old_name}"
