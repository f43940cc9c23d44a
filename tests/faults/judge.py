"""What a study has left behind, held against what is promised."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial

from model.files import remove_stale_parts
from objective.display.summary import finished
from storage.retention import Keep, tidy
from tests.faults.harness import Evidence, Point, Row, Study, gone, key, point

WAIT_S = 20.0  # for processes that are about to end


def judge(study: Study) -> Row:
    """Its row, filled: what was measured, and every promise that is broken."""
    row, stored = study.row, study.stored()
    trials, ended, evidence = stored.get_trials(deepcopy=False), finished(stored), study.evidence()
    row.finished = len(ended)
    _expect(row, row.finished == row.wanted, f"{row.finished} trials finished of {row.wanted}")
    left = [trial.number for trial in trials if trial.state.name == "RUNNING"]
    _expect(row, not left, f"trials {left} are left RUNNING")
    given_up = [trial.number for trial in trials if "given_up" in trial.user_attrs]
    _expect(row, study.poisoned or not given_up, f"trials {given_up} are given up")
    _expect(row, gone(study.pids, WAIT_S), f"processes {study.pids()} are left behind")
    for part in study.out.rglob("*.part"):
        os.utime(part, (0, 0))  # as if the study had ended long ago
    tidy(trials, study.folder, Keep(linger_s=0))  # as the next command will
    remove_stale_parts(study.out)
    parts = [str(path.relative_to(study.out)) for path in study.out.rglob("*.part")]
    _expect(row, not parts, f"unfinished writes are left: {parts}")
    missed = sorted({line["fault"] for line in evidence if line["what"] == "missed"})
    _expect(row, not missed, f"a snapshot was not written beside the old one and moved: {missed} could not meet it")
    _once(row, trials, ended, evidence)
    _reports(study, ended)
    _losses(row, trials, evidence)
    _values(study, ended)
    _mels(study)
    return row


def _once(row: Row, trials: Sequence[FrozenTrial], ended: Sequence[FrozenTrial], evidence: Sequence[Evidence]) -> None:
    """No trial in two processes, no point finished twice, no report of a trial once its successor has begun."""
    by: dict[int, set[int]] = defaultdict(set)
    replaced = set()
    for line in evidence:
        if "number" not in line:
            continue
        by[line["number"]].add(line["pid"])
        if line["what"] == "start":
            replaced.add(trials[line["number"]].user_attrs.get("again_of"))
        elif line["what"] in ("reported", "told"):
            _expect(row, line["number"] not in replaced, f"trial {line['number']} went on beside its successor")
    shared = [number for number, pids in by.items() if len(pids) > 1]
    _expect(row, not shared, f"trials {shared} were run by two processes")
    again = [place for place, count in Counter(map(key, ended)).items() if count > 1]
    _expect(row, not again, f"points {again} (k, depth of repair) were finished twice")
    ran = [trial.user_attrs for trial in trials if "dropped" not in trial.user_attrs]  # by a worker that came second
    followed = Counter(known["again_of"] for known in ran if "again_of" in known)
    doubled = [number for number, count in followed.items() if count > 1]
    _expect(row, not doubled, f"the points of trials {doubled} came again twice")
    row.twice = len(shared) + len(again) + len(doubled)


def _reports(study: Study, ended: Sequence[FrozenTrial]) -> None:
    """Each once, and in order."""
    for trial in ended:
        file = study.folder / f"trial-{trial.number:05d}" / "reports.jsonl"
        told = [json.loads(line)["kframes"] for line in file.read_text().splitlines()] if file.exists() else []
        _expect(study.row, told == sorted(set(told)), f"trial {trial.number} reported at {told} kframes")


def _losses(row: Row, trials: Sequence[FrozenTrial], evidence: Sequence[Evidence]) -> None:
    """For each trial that took over: how far the one before it had come, and where it went on."""
    began: dict[int, float] = {}
    reached: dict[int, float] = {}
    steps: dict[int, float] = defaultdict(float)
    for line in evidence:
        number = line.get("number", -1)
        if line["what"] == "start":
            began[number] = reached[number] = line["kframes"]
        elif line["what"] == "moved":
            steps[number] = max(steps[number], line["kframes"] - reached[number])
            reached[number] = line["kframes"]
    for number, start in began.items():
        before: Any = trials[number].user_attrs.get("again_of")
        while before is not None and before not in began:  # that one died before it had done anything
            before = trials[before].user_attrs.get("again_of")
        if before is None:
            continue
        loss, step = reached[before] - start, max(steps[before], steps[number]) if row.step else 0.0
        row.loss = max(row.loss, loss)
        sentence = f"trial {before} had come to {reached[before]:.2f} kframes, trial {number} went on at {start:.2f}"
        _expect(row, loss <= row.most + step, sentence)


def _values(study: Study, ended: Sequence[FrozenTrial]) -> None:
    """The list that the undisturbed study has, or, where the order is not given, the points that both have."""
    if study.unknown:
        return
    known, mine = study.bench.undisturbed(study.kind), {key(trial): point(trial) for trial in ended}
    places = mine.keys() if study.by_key else list(known)[: study.row.wanted]
    study.row.equal = mine == {place: known.get(place) for place in places}
    _expect(study.row, study.row.equal, f"the values are others: {_differences(mine, known)}")


def _differences(mine: dict[tuple[int, int], Point], known: dict[tuple[int, int], Point]) -> str:
    places = [place for place in mine if mine[place] != known.get(place)]
    first = f", the first one {mine[places[0]]} instead of {known.get(places[0])}" if places else ""
    return f"points {sorted(mine)} (k, depth of repair), of which {places} differ{first}"


def _mels(study: Study) -> None:
    caches = (out / "cache" / "mels" for out in (study.out, study.bench.spoken))
    ours, theirs = ({path.name: path.read_bytes() for path in cache.glob("[!.]*.*")} for cache in caches)
    _expect(study.row, ours == theirs, "the mels are others")


def _expect(row: Row, holds: bool, sentence: str) -> None:
    if not holds and sentence not in row.broken:
        row.broken.append(sentence)
