"""Which voice sounds better: a preferential study, NAME-listen, of the best trials' samples, and the ranks that people give.

A person hears the samples in optuna-dashboard and says which sounds worst, then which of those that are left, and so on. Each
choice says of all others that they are better than that one. A Bradley-Terry fit turns these pairs into ranks, which stand in
the note of NAME-listen and in the attribute `listened` of the study itself: {trial: rank}.
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

from objective.display.formatting import number
from storage.artifacts import artifacts, store_file
from storage.errors import FAILURES, StorageError, database_failure
from storage.optuna_private import ARTIFACT_PREFIX, choices, plain_study, storage_of
from storage.outcome import finished, healthy
from storage.paths import ARTIFACTS

SUFFIX = "-listen"
SOUNDS = ("sample.ogg", "sample.wav")  # of a trial, the first that is there
OF, SOURCE, SAMPLE = "of_trial", "of_sample", "sample"  # of a trial of NAME-listen: whose sample, that one's artifact, its own
PRIOR = 0.5  # games that each has won, and lost, against a rival of strength 1
SAME = 1e-6  # log strengths that differ by less are equal
HOW = "Hear the samples under *Feedback Preference* and press *Worst* below the one that sounds worst, until one is left."

log = logging.getLogger(__name__)


class Listening:
    """NAME-listen of a study: the samples of its `most` best trials from the folder `out`, and what was chosen.

    `look` may be called at any time and after any number of choices: it adds what is missing. Of a sample that two processes
    add at one moment the first one counts.
    """

    def __init__(self, study: optuna.Study, most: int, out: Path) -> None:
        self.study, self.most, self.out = study, most, out
        self.heard: PreferentialStudy | None = None  # from when there are two samples to compare
        self._said = ""

    def look(self) -> None:
        """Add new samples, rank by the choices. Raises StorageError for what cannot be heard, and what a database does."""
        sounds = self._sounds()
        if self.heard is None and not self._open(len(sounds)):
            return
        known = self._known()
        for ordinal in sorted(sounds.keys() - known.values()):  # by their numbers, which say nothing of their values
            self._add(*sounds[ordinal])
        self._rank(known)

    def look_again(self) -> None:
        """The same, where a database that is away, or a study that somebody deleted, is a reason to come back later."""
        try:
            self.look()
        except (OSError, StorageError, *FAILURES) as why:
            log.warning("cannot look at what was chosen: %s", database_failure(why) or why)
            self.heard = None

    def _sounds(self) -> dict[int, tuple[FrozenTrial, str, Path]]:
        """By their numbers, those of the best trials whose samples are there; the samples' names and files."""
        best = sorted((trial for trial in finished(self.study) if healthy(trial)), key=lambda trial: trial.value or 0.0)
        told, there = False, {}
        for trial in best[: self.most]:
            files = artifacts(self.study, trial, self.out)
            names = [name for name in SOUNDS if name in files]
            told = told or bool(names)
            if name := next((name for name in names if files[name].exists()), None):
                there[trial.number] = trial, name, files[name]
        if told and not there:
            rule = f"need the samples of {self.study.study_name}, got none of them"
            raise StorageError(f"{rule} in {self.out / ARTIFACTS}: say --out")
        return there

    def _known(self) -> dict[int, int]:
        """By their numbers in NAME-listen, whose samples it holds. Raises StorageError where they are of a deleted study."""
        assert self.heard is not None
        heard = self.heard.get_trials(deepcopy=False)  # before the study's, which then know whatever was heard
        owners = {name: trial.number for trial in self.study.get_trials(deepcopy=False) for name in trial.system_attrs}
        known: dict[int, int] = {}
        for trial in heard:
            whose = trial.user_attrs.get(OF)
            if owners.get(f"{ARTIFACT_PREFIX}{trial.user_attrs.get(SOURCE)}") != whose:
                name = self.study.study_name
                raise StorageError(f"{name}{SUFFIX} holds samples of an earlier {name}: delete it")
            if whose is not None and whose not in known.values():
                known[trial.number] = whose
        return known

    def _open(self, sounds: int) -> bool:
        """Whether NAME-listen is there. It is made when there is something to compare: an empty one would say nothing."""
        storage, name = storage_of(self.study), self.study.study_name + SUFFIX
        if name not in optuna.get_all_study_names(storage):
            if sounds < 2:
                return False
            self._said = ""  # in the note of one that was deleted
        try:
            self.heard = create_study(
                n_generate=self.most, storage=storage, study_name=name, sampler=RandomSampler(), load_if_exists=True
            )
        except ValueError as why:
            raise StorageError(f"need {name} for the samples, got a study of another kind: delete or rename it") from why
        register_preference_feedback_component(self.heard, "artifact", SAMPLE)
        return True

    def _add(self, trial: FrozenTrial, name: str, file: Path) -> None:
        """The sample as a trial of its own, with a file of its own: who deletes NAME-listen deletes its files."""
        assert self.heard is not None
        entry, meta = store_file(file, name, self.out)
        known, system = {OF: trial.number, SOURCE: file.name, SAMPLE: json.loads(meta)["artifact_id"]}, {entry: meta}
        point, where = trial.params, trial.distributions
        self.heard.add_trial(create_trial(value=0.0, params=point, distributions=where, user_attrs=known, system_attrs=system))

    def _rank(self, known: Mapping[int, int]) -> None:
        assert self.heard is not None
        said = choices(self.heard)
        # by their numbers: optuna-dashboard also stores numbers of which there is no trial
        pairs = [(known[better], known[worse]) for better, worse in said if better in known and worse in known]
        heard = sorted({trial for pair in pairs for trial in pair})
        wins = np.zeros((len(heard), len(heard)))
        for better, worse in pairs:
            wins[heard.index(better), heard.index(worse)] += 1
        order = dict(zip(heard, ranks(wins), strict=True))
        listened = {str(trial): rank for trial, rank in order.items()}
        if self.study.user_attrs.get("listened", {}) != listened:
            self.study.set_user_attr("listened", listened)
        body = self._note(order, wins, heard)
        if body != self._said:  # not whenever it differs from the note: somebody may have added a line of his own
            save_note(plain_study(self.heard), body)
            self._said = body

    def _note(self, order: dict[int, int], wins: NDArray[np.float64], heard: Sequence[int]) -> str:
        if not order:
            return f"Samples of the best trials of {self.study.study_name}. {HOW}\n\nNobody has chosen yet."
        trials = self.study.get_trials(deepcopy=False)
        head = ["| rank | trial | found better | value |", "|---|---|---|---|"]
        rows = [
            f"| {order[trial]} | {trial} | {won:.0f} of {games:.0f} times | {number(trials[trial].value)} |"
            for trial, won, games in zip(heard, wins.sum(1), (wins + wins.T).sum(1), strict=True)
        ]
        rows.sort(key=lambda row: int(row.split("|")[1]))
        return "\n".join([f"Trials of {self.study.study_name}, as they sound. {HOW}", "", *head, *rows])


def strengths(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bradley-Terry's log strengths (n,), from how often i was found better than j: `wins` (n, n).

    P(i better than j) = s_i / (s_i + s_j). The prior makes the fit exist, and be the only one, however few the choices.
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
    """1 for the best; equal strengths share a rank."""
    known = strengths(wins)
    return [1 + int((known > one + SAME).sum()) for one in known]
