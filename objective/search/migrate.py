"""Migrate a study whose search space has changed: copy its finished trials that fit the new space into a new study.

Values are comparable as long as nothing but the space differs. The old study is not changed. A copy keeps its ordinal k, from
which its seeds were derived, its health record and its value, and records where it comes from. Files stay in the old folder.
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

CREATED_S = 2.0  # for another process to claim a study that it has created
POLL_S, SETTLE_S = 0.2, 1.0  # between two checks of another process's progress; before a claim that was taken over is valid
STALLED_S = 10.0  # without a copied trial, after which a migration by another process counts as stalled
LETTERS = {"input": "letters", "stress": "none"}  # how texts were read before there was a choice
MAX_REASONS = 12  # lines in the summary
SAME = 1e-12  # relative tolerance: a value computed from steps again may differ in its last bit
# Attributes that stay valid in another study. Owners, heartbeats and rungs do not.
KEPT = {"health", "k", "origin", "changes", "repair_depth", "repair_why", "sick_reason", "seconds", *SIGNALS, *Health.__slots__}
KEPT_FAMILIES = ("pruned_", "ended_", "free_")


class StudyRefused(BadInput):
    """The study exists and was made with other settings or by another program."""


@dataclass(slots=True)
class Migration:
    """The outcome of a migration, by the trial numbers of the old study.

    before: trials copied by an earlier call. copied: old number -> new number. left: old number -> why it is not copied.
    """

    old: str
    before: int = 0
    copied: dict[int, int] = field(default_factory=dict)
    left: dict[int, str] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Return sentences: how many trials were copied, and for each reason the trials that were not."""
        by_reason: dict[str, list[str]] = {}
        for number, why in self.left.items():
            by_reason.setdefault(why, []).append(str(number))
        earlier = f" ({self.before} earlier)" if self.before else ""
        counts = f"{len(self.copied)} trials of {self.old} copied{earlier}, {len(self.left)} not"
        reasons = [f"not copied, {why}: trial {', '.join(by_reason[why])}" for why in sorted(by_reason)]
        more = [f"and {len(reasons) - MAX_REASONS} other reasons"] if len(reasons) > MAX_REASONS else []
        return [counts, *reasons[:MAX_REASONS], *more]


def differences(stored: Mapping[str, Any], identity: Mapping[str, Any], space: Space) -> tuple[list[str], list[str]]:
    """Compare the stored identity of a study with that of a command; return sentences on the space and on everything else."""
    letters = {f"data.{name}": value for name, value in LETTERS.items()}
    stored = {**flat(Config()), **letters, **stored}  # what did not exist when the study was made had the effect of its default
    others = [
        f"{name} was {stored.get(name)}, it is now {new}"
        for name, new in identity.items()
        if name != "space" and stored.get(name) != new
    ]
    return space.diff(stored["space"]), others


def flat(config: Config) -> dict[str, Any]:
    """Return the knobs of a configuration by dotted name, without those that only affect speed."""
    tree = asdict(config)
    return {f"{group}.{name}": value for group in tree for name, value in tree[group].items() if name != "recurrence"}


def migrate(
    storage: optuna.storages.BaseStorage, old_name: str, new_name: str, space: Space, identity: dict[str, Any]
) -> tuple[optuna.Study, Migration]:
    """Copy the finished trials that fit `space` into the study `new_name`, created if needed. Raises StudyRefused.

    identity: that of the command, as objective/search/open_study.py compares it. The returned study has no identity yet: to
    store one marks it as ready. A migration that was killed is continued by the same call; while another process runs it, this
    call waits.
    """
    old = _load_old(storage, old_name, new_name)
    stored = old.user_attrs["identity"]
    others = differences(stored, identity, space)[1]
    if others:
        listed = "\n".join(f"  {sentence}" for sentence in others)
        raise StudyRefused(
            f"study {old_name} differs in more than its space, so values would not be comparable:\n{listed}\n"
            "change only the space, or start a new study with another --study"
        )
    old_space = _space_of(stored["space"], space)
    created = True
    try:
        new = optuna.create_study(storage=storage, study_name=new_name, direction="minimize")
    except DuplicatedStudyError:
        created, new = False, optuna.load_study(storage=storage, study_name=new_name)
    while True:
        ready = not _claim(new, created, old_name, identity, space)
        done = _copy(old, new, old_space, space, ready)
        if done is not None:
            return new, done
        created = False


def _load_old(storage: optuna.storages.BaseStorage, name: str, new_name: str) -> optuna.Study:
    if name == new_name:
        raise StudyRefused(f"need another name for the study to migrate to, got {new_name} for both: choose another --migrate")
    names = sorted(optuna.get_all_study_names(storage))
    if name not in names:
        way_out = f"choose one of {', '.join(names)}" if names else "the database holds none"
        raise StudyRefused(f"need the name of the study to migrate, got --study {name}: {way_out}")
    old = optuna.load_study(storage=storage, study_name=name)
    if "identity" not in old.user_attrs:
        raise StudyRefused(f"study {name} was made by another program, or is not ready: choose another --study")
    return old


def _claim(new: optuna.Study, created: bool, old_name: str, identity: dict[str, Any], space: Space) -> bool:
    """Claim the migration for this process, after waiting for another one that runs it. False where it is already complete.

    The claim is stored in the new study before any trial, so that another process can continue a half-filled study.
    """
    here, last_count, since = owner(), -1, time.monotonic()
    while True:
        attributes = new.user_attrs
        claim, count = attributes.get("migration"), len(new.get_trials(deepcopy=False))
        if claim is None and ("identity" in attributes or count):
            raise StudyRefused(f"study {new.study_name} exists and was not made from {old_name}: choose another --migrate")
        if claim is not None:
            _compare(new.study_name, claim, old_name, identity, space)
        if "identity" in attributes:
            return False
        if claim is not None and claim["owner"] == here:
            return True
        if count > last_count:
            last_count, since = count, time.monotonic()
        stalled, wait = time.monotonic() - since, POLL_S
        if created or (gone(claim["owner"], here) if claim else stalled >= CREATED_S):
            new.set_user_attr("migration", {"from": old_name, "identity": identity, "owner": here})
            wait = SETTLE_S  # of several processes that take over at once, the last to write wins
        elif claim and stalled >= STALLED_S:
            process = f"process {claim['owner']['pid']} of {claim['owner']['host']}"
            raise StudyRefused(
                f"study {new.study_name} is being made by {process}, which has made no progress for {STALLED_S:g} s: "
                f"wait for it, or, if it has ended, delete the study {new.study_name} or choose another --migrate"
            )
        if not created:
            time.sleep(wait)


def _compare(name: str, claim: Mapping[str, Any], old_name: str, identity: Mapping[str, Any], space: Space) -> None:
    if claim["from"] != old_name:
        raise StudyRefused(f"study {name} was made from {claim['from']}, not from {old_name}: choose another --migrate")
    listed = "\n".join(f"  {sentence}" for part in differences(claim["identity"], identity, space) for sentence in part)
    if listed:
        raise StudyRefused(f"study {name} was made with other settings:\n{listed}\nchoose another --migrate")


def _space_of(fingerprint: Mapping[str, Any], new: Space) -> Space:
    """The space that a study was made with. All other values are those of `new`, since the identities agree on them."""
    mistakes: list[str] = []
    fixed, parameters = read_table(fingerprint, mistakes)
    if mistakes:
        raise StudyRefused(f"the old space cannot be read by this version ({'; '.join(mistakes)}): start a new study")
    return Space("old", "", fixed, parameters, new.base)


def _copy(old: optuna.Study, new: optuna.Study, old_space: Space, space: Space, ready: bool) -> Migration | None:
    """Copy the trials that are missing in `new`. None where another process has taken over in between."""
    present = new.get_trials(deepcopy=False)
    prefix, here = f"{old.study_name} trial ", owner()
    numbers = {int(origin.removeprefix(prefix)): it.number for it in present if (origin := it.user_attrs.get("migrated_from"))}
    done = Migration(old.study_name, before=len(numbers))
    for trial in old.get_trials(deepcopy=False):
        if trial.number in numbers:
            continue
        translated = _translate(trial, old_space, space)
        if isinstance(translated, str) or ready:
            why = translated if isinstance(translated, str) else f"{new.study_name} was complete before it ended"
            done.left[trial.number] = why
            continue
        if new.user_attrs["migration"]["owner"] != here:
            return None
        new.add_trial(_copy_of(trial, old.study_name, translated, numbers))
        numbers[trial.number] = done.copied[trial.number] = len(present) + len(done.copied)
    return done


@dataclass(slots=True)
class _KnownTrial:
    """Stands in for a trial whose parameters are known: returns them, and records the requested distributions."""

    params: Mapping[str, Any]
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        return float(self._value(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._value(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._value(name, CategoricalDistribution(choices))

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        return self.params[name]


def _translate(trial: FrozenTrial, old_space: Space, space: Space) -> _KnownTrial | str:
    """The same configuration in the new space, or the reason why it does not fit."""
    if not is_finished(trial):
        return f"{trial.state.name} is no result"
    settings = values(old_space.base)
    try:
        settings |= old_space.suggest(_KnownTrial(trial.params))
    except KeyError as missing:
        return f"{missing.args[0]} is missing, though its own space searches it"
    params, changes = space.to_trial_params(settings)
    translated = _KnownTrial(params)
    new_settings = values(space.base) | space.suggest(translated)
    differing = [key for key in settings if not _same(settings[key], new_settings[key])]
    return translated if not differing else "; ".join(change for change in changes if change.split()[0] in differing)


def _same(old: Value, new: Value) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return old == new
    return math.isclose(old, new, rel_tol=SAME)


def _copy_of(trial: FrozenTrial, old_name: str, translated: _KnownTrial, numbers: Mapping[int, int]) -> FrozenTrial:
    """A copy of `trial` for the new study. Trials named in its attributes get their new `numbers`, or the old study's name."""
    kept = {name: value for name, value in trial.user_attrs.items() if name in KEPT or name.startswith(KEPT_FAMILIES)}
    parent = numbers.get(trial.user_attrs.get("repair_of", -1))
    if parent is not None:
        kept["repair_of"] = parent
    if "origin" in kept:
        kept["origin"] = re.sub(r"\btrial (\d+)", lambda match: _name(int(match[1]), old_name, numbers), kept["origin"])
    copy = create_trial(
        state=trial.state,
        value=trial.value,
        params=dict(translated.params),
        distributions=translated.distributions,
        user_attrs=kept | {"migrated_from": f"{old_name} trial {trial.number}"},
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints or None,
    )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


def _name(number: int, old_name: str, numbers: Mapping[int, int]) -> str:
    return f"trial {numbers[number]}" if number in numbers else f"trial {number} of {old_name}"
