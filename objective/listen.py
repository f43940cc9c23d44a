"""Which voice sounds better: a preferential study, NAME-listen, of the best trials' samples, and the ranks that people give.

A person hears the samples in optuna-dashboard and says which sounds worst, then which of those that are left, and so on. Each
choice says of all others that they are better than that one. A Bradley-Terry fit turns these pairs into ranks, which stand in
the note of NAME-listen and in the attribute `listened` of the study itself: {trial: rank}.
"""
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, create_trial
from optuna_dashboard import register_preference_feedback_component, save_note
from optuna_dashboard.preferential import PreferentialStudy, create_study

from objective.board import finished, healthy
from objective.sinks.words import number
from storage.artifacts import artifacts, keep
from storage.failures import FAILURES, StorageError, database_failure

SUFFIX = "-listen"
SOUNDS = ("sample.ogg", "sample.wav")  # of a trial, the first that is there
OF, SAMPLE = "of_trial", "sample"  # attributes of a trial of NAME-listen: whose sample it is, and the sample's artifact
PRIOR = 0.5  # games that each has won, and lost, against a rival of strength 1
SAME = 1e-6  # log strengths that differ by less are equal
HOW = "Hear the samples under *Feedback Preference* and press *Worst* below the one that sounds worst, until one is left."

log = logging.getLogger(__name__)


class Listening:
    """NAME-listen of a study: the samples of its `most` best trials from the folder `out`, and what was chosen.

    `look` may be called at any time, by any number of processes, and after any number of choices: it adds what is missing.
    """

    def __init__(self, study: optuna.Study, most: int, out: Path) -> None:
        self.study, self.most, self.out = study, most, out
        self.heard: PreferentialStudy | None = None  # from when there are two samples to compare
        self._said = ""

    def look(self) -> None:
        """Add new samples, rank by the choices. Raises StorageError for a study of another kind, and what a database does."""
        best = sorted((trial for trial in finished(self.study) if healthy(trial)), key=lambda trial: trial.value or 0.0)
        sounds = {trial.number: trial for trial in best[: self.most]}
        if self.heard is None and not self._open(len(sounds)):
            return
        assert self.heard is not None
        known = {trial.user_attrs.get(OF) for trial in self.heard.get_trials(deepcopy=False)}
        for ordinal in sorted(sounds.keys() - known):  # in the order of their numbers, which says nothing of their values
            self._add(sounds[ordinal])
        self._rank()

    def look_again(self) -> None:
        """The same, where a database that is away, or a study that somebody deleted, is a reason to come back later."""
        try:
            self.look()
        except (OSError, *FAILURES) as why:
            log.warning("cannot look at what was chosen: %s", database_failure(why) or why)
            self.heard = None

    def _open(self, sounds: int) -> bool:
        """Whether NAME-listen is there. It is made when there is something to compare: an empty one would say nothing."""
        storage, name = self.study._storage, self.study.study_name + SUFFIX
        if sounds < 2 and name not in optuna.get_all_study_names(storage):
            return False
        try:
            self.heard = create_study(
                n_generate=self.most, storage=storage, study_name=name, sampler=RandomSampler(), load_if_exists=True
            )
        except ValueError as why:
            raise StorageError(f"need {name} for the samples, got a study of another kind: delete or rename it") from why
        register_preference_feedback_component(self.heard, "artifact", SAMPLE)
        return True

    def _add(self, trial: FrozenTrial) -> None:
        """The sample as a trial of its own, with a file of its own: who deletes NAME-listen deletes its files."""
        assert self.heard is not None
        files = artifacts(self.study, trial, self.out)
        name = next((name for name in SOUNDS if name in files and files[name].exists()), None)
        if name is None:
            return
        entry, meta = keep(files[name], name, self.out)
        known, system = {OF: trial.number, SAMPLE: json.loads(meta)["artifact_id"]}, {entry: meta}
        point, where = trial.params, trial.distributions
        self.heard.add_trial(
            create_trial(value=0.0, params=point, distributions=where, user_attrs=known, system_attrs=system)
        )

    def _rank(self) -> None:
        assert self.heard is not None
        pairs = [(a, b) for a, b in self.heard.get_preferences(deepcopy=False) if OF in a.user_attrs and OF in b.user_attrs]
        heard = sorted({trial.user_attrs[OF] for pair in pairs for trial in pair})
        wins = np.zeros((len(heard), len(heard)))
        for better, worse in pairs:
            wins[heard.index(better.user_attrs[OF]), heard.index(worse.user_attrs[OF])] += 1
        order = dict(zip(heard, ranks(wins), strict=True))
        listened = {str(trial): rank for trial, rank in order.items()}
        if self.study.user_attrs.get("listened", {}) != listened:
            self.study.set_user_attr("listened", listened)
        body = self._note(order, wins, heard)
        if body != self._said:  # not whenever it differs from the note: somebody may have added a line of his own
            save_note(self.heard._study, body)
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
