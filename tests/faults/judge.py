"""Compare what a study has left behind with what is promised."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial

from model.files import remove_stale_parts
from storage.outcome import finished
from storage.retention import Keep, tidy
from tests.faults.harness import Evidence, Result, Row, Study, end_within, key, result

WAIT_S = 20.0  # for processes to end


def judge(study: Study) -> Row:
    """Fill and return the row of a study: its measurements, and every broken promise."""
    row, stored = study.row, study.stored()
    trials, ended, evidence = stored.get_trials(deepcopy=False), finished(stored), study.evidence()
    row.finished = len(ended)
    _expect(row, row.finished == row.wanted, f"{row.finished} trials finished of {row.wanted}")
    left = [trial.number for trial in trials if trial.state.name == "RUNNING"]
    _expect(row, not left, f"trials {left} are left RUNNING")
    given_up = [trial.number for trial in trials if "given_up" in trial.user_attrs]
    _expect(row, study.poisoned or not given_up, f"trials {given_up} are given up")
    _expect(row, end_within(study.pids, WAIT_S), f"processes {study.pids()} are left behind")
    for part in study.out.rglob("*.part"):
        os.utime(part, (0, 0))  # as old as after a long time
    tidy(trials, study.folder, Keep(linger_s=0))  # as the next command does
    remove_stale_parts(study.out)
    parts = [str(path.relative_to(study.out)) for path in study.out.rglob("*.part")]
    _expect(row, not parts, f"unfinished writes are left: {parts}")
    missed = sorted({line["fault"] for line in evidence if line["what"] == "missed"})
    _expect(row, not missed, f"a snapshot was not written to a temporary file and renamed: {missed} could not hit it")
    _once(row, trials, ended, evidence)
    _reports(study, ended)
    _losses(row, trials, evidence)
    _values(study, ended)
    _mels(study)
    return row


def _once(row: Row, trials: Sequence[FrozenTrial], ended: Sequence[FrozenTrial], evidence: Sequence[Evidence]) -> None:
    """Check that no trial ran in two processes, no configuration finished twice, no trial reported after its retry started."""
    by: dict[int, set[int]] = defaultdict(set)
    replaced = set()
    for line in evidence:
        if "number" not in line:
            continue
        by[line["number"]].add(line["pid"])
        if line["what"] == "start":
            replaced.add(trials[line["number"]].user_attrs.get("again_of"))
        elif line["what"] in ("reported", "stored"):
            _expect(row, line["number"] not in replaced, f"trial {line['number']} continued after its retry had started")
    shared = [number for number, pids in by.items() if len(pids) > 1]
    _expect(row, not shared, f"trials {shared} were run by two processes")
    repeated = [place for place, count in Counter(map(key, ended)).items() if count > 1]
    _expect(row, not repeated, f"configurations {repeated} (k, depth of repair) were finished twice")
    ran = [
        trial.user_attrs for trial in trials if "dropped" not in trial.user_attrs
    ]  # duplicates that a second worker had started
    followed = Counter(attributes["again_of"] for attributes in ran if "again_of" in attributes)
    doubled = [number for number, count in followed.items() if count > 1]
    _expect(row, not doubled, f"trials {doubled} were retried twice")
    row.twice = len(shared) + len(repeated) + len(doubled)


def _reports(study: Study, ended: Sequence[FrozenTrial]) -> None:
    """Check that each report was written once, and in order."""
    for trial in ended:
        file = study.folder / f"trial-{trial.number:05d}" / "reports.jsonl"
        reported = [json.loads(line)["kframes"] for line in file.read_text().splitlines()] if file.exists() else []
        _expect(study.row, reported == sorted(set(reported)), f"trial {trial.number} reported at {reported} kframes")


def _losses(row: Row, trials: Sequence[FrozenTrial], evidence: Sequence[Evidence]) -> None:
    """For each retry, compare how far the trial before it had come with where the retry resumed."""
    began: dict[int, float] = {}
    reached: dict[int, float] = {}
    steps: dict[int, float] = defaultdict(float)
    for line in evidence:
        number = line.get("number", -1)
        if line["what"] == "start":
            began[number] = reached[number] = line["kframes"]
        elif line["what"] == "progressed":
            steps[number] = max(steps[number], line["kframes"] - reached[number])
            reached[number] = line["kframes"]
    for number, start in began.items():
        before: Any = trials[number].user_attrs.get("again_of")
        while before is not None and before not in began:  # which died before it had done anything
            before = trials[before].user_attrs.get("again_of")
        if before is None:
            continue
        loss, step = reached[before] - start, max(steps[before], steps[number]) if row.step else 0.0
        row.loss = max(row.loss, loss)
        sentence = f"trial {before} had reached {reached[before]:.2f} kframes, trial {number} resumed at {start:.2f}"
        _expect(row, loss <= row.most + step, sentence)


def _values(study: Study, ended: Sequence[FrozenTrial]) -> None:
    """Compare with the undisturbed study: the whole list, or, where the order varies, the configurations that both have."""
    if study.incomparable:
        return
    expected, found = study.bench.undisturbed(study.kind), {key(trial): result(trial) for trial in ended}
    keys = found.keys() if study.by_key else list(expected)[: study.row.wanted]
    study.row.equal = found == {place: expected.get(place) for place in keys}
    _expect(study.row, study.row.equal, f"the values differ: {_differences(found, expected)}")


def _differences(found: dict[tuple[int, int], Result], expected: dict[tuple[int, int], Result]) -> str:
    keys = [place for place in found if found[place] != expected.get(place)]
    first = f", the first one {found[keys[0]]} instead of {expected.get(keys[0])}" if keys else ""
    return f"configurations {sorted(found)} (k, depth of repair), of which {keys} differ{first}"


def _mels(study: Study) -> None:
    caches = (out / "cache" / "mels" for out in (study.out, study.bench.spoken))
    found, expected = ({path.name: path.read_bytes() for path in cache.glob("[!.]*.*")} for cache in caches)
    _expect(study.row, found == expected, "the mels differ")


def _expect(row: Row, holds: bool, sentence: str) -> None:
    if not holds and sentence not in row.broken:
        row.broken.append(sentence)
