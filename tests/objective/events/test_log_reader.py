"""A reader gets each complete line once, in order, whenever it looks; a torn line is no record."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objective.events.log_reader import Lines, NoStudyLog, StudyLog, open_study_log
from objective.events.log_writer import JsonLines, append
from objective.events.types import Resumed
from tests.objective import samples
from tests.objective.watched import growing, reports

RECORDS = [{"at": k, "text": "ж" * k, "half": None} for k in range(6)]
FILE = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in RECORDS)


@pytest.fixture
def study(tmp_path: Path) -> JsonLines:
    return JsonLines(tmp_path / "runs" / "some")


@given(cuts=st.lists(st.integers(0, len(FILE)), max_size=8).map(sorted))
def test_each_complete_line_is_read_once_wherever_the_file_ends_meanwhile(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    read, found = Lines(path), []
    assert list(read.new()) == [], "the file does not exist yet"
    for cut in [*cuts, len(FILE)]:
        path.write_bytes(FILE[:cut])
        found += read.new()
        assert found == RECORDS[: FILE[:cut].count(b"\n")]
        assert read.position == FILE[:cut].rfind(b"\n") + 1
    assert (found, read.torn) == (RECORDS, 0)


@pytest.mark.parametrize("rest", [b'{"at": 1, "sa', b'{"at": 1}{"at": 2}', "ж".encode()[:1], b"7", b'{"at": 1, "x": "\xff"}'])
def test_a_torn_line_is_no_record_and_is_counted(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"at": 0}\n' + rest)
    read = Lines(path)
    assert [*read.new(), *read.new()] == [{"at": 0}]
    append(path, {"at": 3})  # ends the torn line first
    assert list(read.new()) == [{"at": 3}]
    assert read.torn == 1


def test_a_line_is_read_once_its_newline_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"at": 0}')
    read = Lines(path)
    assert list(read.new()) == []
    append(path, {"at": 1})
    assert list(read.new()) == [{"at": 0}, {"at": 1}]


def test_an_undecodable_name_is_text_that_can_be_written_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    append(path, {"reason": "no such file: \udcff.wav", "path": "C:\\udcff"})
    (record,) = Lines(path).new()
    assert record == {"reason": "no such file: ?.wav", "path": "C:\\udcff"}


def test_a_look_returns_the_trials_with_news(study: JsonLines) -> None:
    study_log = StudyLog(study.folder)
    assert study_log.look() == []
    for event in (samples.study_started(), samples.trial_started(0), samples.trial_started(1)):
        study.emit(event)
    assert study_log.look() == [None, 0, 1]
    assert study_log.look() == []
    study.emit(samples.reported(1))
    assert study_log.look() == [1]
    append(study.folder / "trial-00000" / "reports.jsonl", samples.report(9.0).as_dict())
    assert study_log.look() == [0], "a report without an event, as its worker was killed"
    study.emit(samples.trial_ended(0))
    study.emit(samples.study_ended())
    assert study_log.look() == [0, None]
    assert (study_log.trials[0].state, study_log.trials[0].healthy, study_log.trials[1].state) == ("COMPLETE", True, "RUNNING")
    assert [report.kframes for report in study_log.reports(0)] == [9.0]


def test_a_constraint_that_is_no_number_is_missed(study: JsonLines) -> None:
    study.emit(samples.trial_ended(0, violations={"gate_accuracy": float("nan")}))
    study_log = StudyLog(study.folder)
    study_log.look()
    assert not study_log.trials[0].healthy


def test_trials_are_ranked_by_verdict_then_by_value_misses_or_severity(study: JsonLines) -> None:
    missing = {"reading": 0.25}
    ends = {
        4: samples.pruned(4, severity=0.1),
        3: samples.pruned(3, pruned_by="peers", value=3.0),
        7: samples.pruned(7, severity=0.9, value=0.1),
        0: samples.trial_ended(0, value=0.8),
        1: samples.trial_ended(1, value=0.2, violations={"reading": 0.5}),
        2: samples.trial_ended(2, value=0.9, violations=missing),
        5: samples.trial_ended(5, state="FAIL", value=None),
        6: samples.trial_ended(6, value=0.7),
    }
    for event in (*map(samples.trial_started, [*ends, 8]), *ends.values()):
        study.emit(event)
    ranked = sorted(read(study).trials.values(), key=lambda trial: trial.rank)
    assert [trial.number for trial in ranked] == [6, 0, 2, 1, 3, 4, 7, 8, 5]


def test_trials_of_one_configuration_are_attempts(study: JsonLines) -> None:
    for number in (0, 1, 2):
        study.emit(samples.trial_started(number))
    study.emit(samples.trial_ended(1, state="FAIL", value=None, reason="its worker died", last=None))
    study.emit(samples.trial_started(3, origin="repair of trial 0: r 2 -> 3, again after trial 1"))
    study.emit(samples.trial_started(4))
    study.emit(Resumed(4, 2, 60.0, (samples.report(30.0), samples.report(60.0))))
    study.emit(samples.trial_started(5, origin="sampled, again after trial 3"))
    study_log = StudyLog(study.folder)
    study_log.look()
    assert [[trial.number for trial in study_log.attempts(number)] for number in range(6)] == [
        *([0], [1, 3, 5], [2, 4]),
        *([1, 3, 5], [2, 4], [1, 3, 5]),
    ]
    assert study_log.trials[2].state == "FAIL", "no worker runs it any more"
    assert [report.kframes for report in study_log.reports(4)] == [30.0, 60.0]


def read(study: JsonLines) -> StudyLog:
    study_log = StudyLog(study.folder)
    study_log.look()
    return study_log


def log_of_two(study: JsonLines) -> StudyLog:
    """The log of a study with two trials."""
    for event in (samples.study_started(), samples.trial_started(0), samples.trial_started(1)):
        study.emit(event)
    return read(study)


def test_a_study_that_was_created_again_is_another(study: JsonLines) -> None:
    live = log_of_two(study)
    first = live.identity
    study.emit(samples.study_started())
    study.emit(samples.trial_started(0, params={"r": 3}))
    assert live.look() == [None, 0]
    later = read(study)
    assert {number: trial.params for number, trial in later.trials.items()} == {0: {"r": 3}}
    assert live.trials == later.trials
    assert live.identity == later.identity != first


def test_a_folder_that_was_deleted_and_created_again_is_another_study(study: JsonLines) -> None:
    live = log_of_two(study)
    first = live.identity
    shutil.rmtree(study.folder)
    assert live.look() == []
    for event in (samples.study_started(wanted=7), *map(samples.trial_started, range(3))):
        study.emit(event)
    assert live.look() == [None, 0, 1, 2]
    later = read(study)
    assert (live.identity, live.trials) == (later.identity, later.trials)
    assert live.identity != first


@pytest.fixture
def recorded(study: JsonLines) -> Path:
    """The log of four trials: one to its end, one interrupted, the one that resumes it and is pruned, one pruned."""
    grid = [samples.report(kframes) for kframes in (3.0, 6.0, 9.0, 12.0)]
    interrupted = samples.trial_ended(1, state="FAIL", value=None, reason="interrupted", last=None)
    for event in (
        samples.study_started(),
        samples.trial_started(0),
        *(samples.reported(0, report=report) for report in grid),
        samples.trial_ended(0, last=grid[-1]),
        samples.trial_started(1, params={"r": 3}),
        *(samples.reported(1, report=report) for report in grid[:2]),
        interrupted,
        samples.study_ended(why="interrupted"),
        samples.study_started(finished=1),
        samples.trial_started(2, params={"r": 3}, origin="recipe nvidia, again after trial 1"),
        Resumed(2, 1, 7.5, tuple(grid[:2])),
        samples.reported(2, report=grid[2]),
        samples.pruned(2, last=grid[2]),
        samples.trial_started(3, params={"r": 1}),
        samples.reported(3, report=grid[0]),
        samples.pruned(3, last=grid[0]),
        samples.study_ended(),
    ):
        study.emit(event)
    return study.folder


def test_a_reader_from_the_start_and_a_later_one_find_the_same(recorded: Path, tmp_path: Path) -> None:
    live = StudyLog(tmp_path / recorded.name)
    news = [live.look() for _ in growing(recorded, tmp_path / recorded.name)]
    later = StudyLog(recorded)
    later.look()
    assert later.look() == []
    assert live.identity == later.identity
    assert live.trials.keys() == later.trials.keys() == {0, 1, 2, 3}
    for number, trial in later.trials.items():
        assert (live.trials[number].state, live.trials[number].params) == (trial.state, trial.params)
        assert [report.as_dict() for report in live.reports(number)] == reports(recorded, number)
    assert [trial.state for trial in later.trials.values()] == ["COMPLETE", "FAIL", "PRUNED", "PRUNED"]
    assert [trial.number for trial in later.attempts(1)] == [1, 2]
    assert sum(map(len, news)) > len(later.trials)


def test_an_unknown_study_is_refused_with_the_known_ones(study: JsonLines) -> None:
    out = study.folder.parent
    with pytest.raises(NoStudyLog, match=r"got other: no study there has one"):
        open_study_log(out, "other")
    study.emit(samples.study_started())
    with pytest.raises(NoStudyLog, match=r"got other: choose one of some"):
        open_study_log(out, "other")
    assert open_study_log(out, "some").folder == study.folder
