"""Compare the best trials by ear: a preferential study, NAME-listen, of their samples, and the ranks that follow from it.

A person listens to the samples in optuna-dashboard and marks the one that sounds worst, then the worst of those that are left,
and so on. Every sample is the same validation sentence of middle length (objective/trial/show.py). Each choice means that
all others are better than the marked one. A Bradley-Terry fit turns these pairs into ranks, which are in the note of
NAME-listen and in the attribute `listened` of the study itself: {trial: rank}.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, create_trial
from optuna_dashboard import register_preference_feedback_component, save_note
from optuna_dashboard.preferential import PreferentialStudy, create_study

from objective.display.formatting import number, percent
from storage.artifacts import artifacts, store_file
from storage.errors import FAILURES, StorageError, database_failure
from storage.optuna_private import ARTIFACT_PREFIX, choices, plain_study, storage_of
from storage.outcome import finished, healthy, value
from storage.paths import ARTIFACTS

SUFFIX = "-listen"
SOUNDS = ("sample.ogg", "sample.wav")  # of a trial, the first that is there
# Attributes of a trial of NAME-listen: the trial whose sample it holds, that sample's artifact, and its own artifact.
OF, SOURCE, SAMPLE = "of_trial", "of_sample", "sample"
PRIOR = 0.5  # comparisons that each sample has won, and lost, against one of strength 1
SAME = 1e-6  # log strengths that differ by less are equal
HOW = "Listen to the samples under *Feedback Preference* and press *Worst* below the one that sounds worst, until one is left."

log = logging.getLogger(__name__)


class Listening:
    """NAME-listen of a study: the samples of its `most` best trials from the folder `out`, and what was chosen.

    `look` may be called at any time and after any number of choices: it adds what is missing. If two processes add the same
    sample at the same moment, the first one counts.
    """

    def __init__(self, study: optuna.Study, most: int, out: Path) -> None:
        self.study, self.most, self.out = study, most, out
        self.heard: PreferentialStudy | None = None  # NAME-listen, once there are two samples to compare
        self._note_written = ""

    def look(self) -> None:
        """Add new samples and rank by the choices. Raises StorageError for missing samples, and errors of the database."""
        samples = self._samples()
        if self.heard is None and not self._open(len(samples)):
            return
        owners = self._owners()
        for new in sorted(samples.keys() - owners.values()):  # by number, which does not reveal the values
            self._add(*samples[new])
        self._rank(owners)

    def look_again(self) -> None:
        """Do the same, but only warn where the database is away or a study was deleted: a later call tries again."""
        try:
            self.look()
        except (OSError, StorageError, *FAILURES) as why:
            log.warning("cannot read the choices: %s", database_failure(why) or why)
            self.heard = None

    def _samples(self) -> dict[int, tuple[FrozenTrial, str, Path]]:
        """Return the samples of the best trials that exist, by number: the trial, the sample's name and its file."""
        best = sorted((trial for trial in finished(self.study) if healthy(trial)), key=value)
        stored, found = False, {}
        for trial in best[: self.most]:
            files = artifacts(self.study, trial, self.out)
            names = [name for name in SOUNDS if name in files]
            stored = stored or bool(names)
            if name := next((name for name in names if files[name].exists()), None):
                found[trial.number] = trial, name, files[name]
        if stored and not found:
            rule = f"need the samples of {self.study.study_name}, got none of them"
            raise StorageError(f"{rule} in {self.out / ARTIFACTS}: give --out")
        return found

    def _owners(self) -> dict[int, int]:
        """Map the trials of NAME-listen to those whose samples they hold. Raises StorageError if they are a deleted study's."""
        assert self.heard is not None
        heard = self.heard.get_trials(deepcopy=False)  # before the study's trials, which then include all of them
        artifact_owners = {name: trial.number for trial in self.study.get_trials(deepcopy=False) for name in trial.system_attrs}
        owners: dict[int, int] = {}
        for trial in heard:
            owner = trial.user_attrs.get(OF)
            if artifact_owners.get(f"{ARTIFACT_PREFIX}{trial.user_attrs.get(SOURCE)}") != owner:
                name = self.study.study_name
                raise StorageError(f"{name}{SUFFIX} holds samples of an earlier {name}: delete it")
            if owner is not None and owner not in owners.values():
                owners[trial.number] = owner
        return owners

    def _open(self, samples: int) -> bool:
        """Open NAME-listen, and create it once there is something to compare. False while it does not exist."""
        storage, name = storage_of(self.study), self.study.study_name + SUFFIX
        if name not in optuna.get_all_study_names(storage):
            if samples < 2:
                return False
            self._note_written = ""  # that was the note of a deleted one
        try:
            self.heard = create_study(
                n_generate=self.most, storage=storage, study_name=name, sampler=RandomSampler(), load_if_exists=True
            )
        except ValueError as why:
            raise StorageError(f"need {name} for the samples, got a study of another kind: delete or rename it") from why
        register_preference_feedback_component(self.heard, "artifact", SAMPLE)
        return True

    def _add(self, trial: FrozenTrial, name: str, file: Path) -> None:
        """Add the sample as a trial of its own, with a copy of the file: deleting NAME-listen deletes its files."""
        assert self.heard is not None
        entry, meta = store_file(file, name, self.out)
        self.heard.add_trial(
            create_trial(
                value=0.0,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={OF: trial.number, SOURCE: file.name, SAMPLE: json.loads(meta)["artifact_id"]},
                system_attrs={entry: meta},
            )
        )

    def _rank(self, owners: Mapping[int, int]) -> None:
        assert self.heard is not None
        # Choices hold trial numbers, some of which optuna-dashboard stores without a trial.
        pairs = [
            (owners[better], owners[worse]) for better, worse in choices(self.heard) if better in owners and worse in owners
        ]
        compared = sorted({trial for pair in pairs for trial in pair})
        wins = np.zeros((len(compared), len(compared)))
        for better, worse in pairs:
            wins[compared.index(better), compared.index(worse)] += 1
        order = dict(zip(compared, ranks(wins), strict=True))
        listened = {str(trial): rank for trial, rank in order.items()}
        if self.study.user_attrs.get("listened", {}) != listened:
            self.study.set_user_attr("listened", listened)
        body = self._note(order, wins, compared)
        if body != self._note_written:  # and not whenever it differs from the note, to which a person may have added a line
            save_note(plain_study(self.heard), body)
            self._note_written = body

    def _note(self, order: dict[int, int], wins: NDArray[np.float64], compared: Sequence[int]) -> str:
        if not order:
            return f"Samples of the best trials of {self.study.study_name}. {HOW}\n\nNobody has chosen yet."
        trials = self.study.get_trials(deepcopy=False)
        head = ["| rank | trial | found better | value | errors |", "|---|---|---|---|---|"]
        rows = [
            f"| {order[trial]} | {trial} | {won:.0f} of {games:.0f} times | {number(trials[trial].value)} "
            f"| {percent(trials[trial].user_attrs.get('free_errors'))} |"
            for trial, won, games in zip(compared, wins.sum(1), (wins + wins.T).sum(1), strict=True)
        ]
        rows.sort(key=lambda row: int(row.split("|")[1]))
        return "\n".join([f"Trials of {self.study.study_name}, ranked by ear. {HOW}", "", *head, *rows])


def strengths(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit Bradley-Terry's log strengths (n,) to how often i was found better than j: `wins` (n, n).

    P(i better than j) = s_i / (s_i + s_j). The prior makes the fit exist and unique, however few the choices.
    """
    games, won = wins + wins.T, wins.sum(1) + PRIOR
    now = np.ones(len(wins))
    for _ in range(10_000):
        before = now
        now = won / ((games / (now[:, None] + now)).sum(1) + 2 * PRIOR / (now + 1))
        if np.allclose(now, before, rtol=1e-9, atol=0):
            break
    return np.log(now)


def ranks(wins: NDArray[np.float64]) -> list[int]:
    """Rank by strength, 1 for the best; equal strengths share a rank."""
    fitted = strengths(wins)
    return [1 + int((fitted > one + SAME).sum()) for one in fitted]
