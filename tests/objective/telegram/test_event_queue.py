"""The events that follow from a study and from what has been reported, without network or clock."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objective.telegram.event_queue import Event, Position, StudyState, advance, dead_in_a_row, next_event
from tests.objective.samples import report
from tests.objective.telegram.studies import StudyBuilder, eventful_study, sick


def events(state: StudyState, position: Position) -> Iterator[Event]:
    """Yield and report all pending events; after each, the position survives JSON, as which the study keeps it."""
    while (event := next_event(state, position)) is not None:
        yield event
        advance(position, event, state)
        restored = Position.load(json.loads(json.dumps(position.dump())))
        assert restored == position


EVENTS = [("started", -1), ("ended", 0), ("ended", 1), ("begun", 2), ("ended", 2), ("lost", 3)]
EVENTS += [("begun", 5), ("ended", 5), ("failed", 6)]


def test_a_study_has_the_same_events_however_often_it_is_observed(tmp_path: Path) -> None:
    builder = eventful_study(tmp_path, [])
    assert [(event.kind, event.number) for event in events(builder.state(), Position())] == EVENTS
    position = Position()
    for end in range(len(builder.trials) + 1):  # observed after each trial
        part = builder.state()
        part = replace(part, trials=part.trials[:end])
        list(events(part, position))
    assert not list(events(builder.state(), position))
    assert position.ended == {0, 1, 2, 3, 5, 6}
    assert position.begun == {2, 5}


def test_the_stop_of_a_study_is_reported_once_and_so_is_its_resumption(tmp_path: Path) -> None:
    builder, position = StudyBuilder(tmp_path), Position()
    builder.begin()
    assert [event.kind for event in events(builder.state(), position)] == ["started"]
    assert [event.kind for event in events(builder.state(stopped="killed"), position)] == ["stopped"]
    assert not list(events(builder.state(), position)), "the trial of the killed command still seems to run"
    builder.begin()
    assert [event.kind for event in events(builder.state(), position)] == ["resumed"]
    assert not list(events(builder.state(), position))


@pytest.mark.parametrize(("stopped", "kind"), [(None, "done"), ("finished", "done"), ("interrupted", "done")])
def test_a_study_with_all_its_trials_is_done_however_its_command_ended(tmp_path: Path, stopped: str | None, kind: str) -> None:
    builder = StudyBuilder(tmp_path)
    builder.complete(builder.begin(), 0.5)
    seen = [event.kind for event in events(builder.state(wanted=1, stopped=stopped), Position())]
    assert seen == ["started", "ended", kind]


def test_a_done_study_with_more_trials_to_run_is_resumed(tmp_path: Path) -> None:
    builder, position = StudyBuilder(tmp_path), Position()
    builder.complete(builder.begin(), 0.5)
    list(events(builder.state(wanted=1), position))
    builder.complete(builder.begin(), 0.4)
    assert [event.kind for event in events(builder.state(wanted=2), position)] == ["resumed", "ended", "done"]


def test_a_red_flag_is_reported_once_per_rule_while_the_trial_runs(tmp_path: Path) -> None:
    builder, position = StudyBuilder(tmp_path), Position()
    trial = builder.begin()
    builder.reports(trial, report(60.0), sick(120.0))
    flags = [event for event in events(builder.state(), position) if event.kind == "flag"]
    assert flags == [Event("flag", 0, "grad_norm")]
    builder.reports(trial, sick(180.0))
    assert not list(events(builder.state(), position))
    builder.prune(trial, "grad_norm", sick(240.0))
    assert [event.kind for event in events(builder.state(), position)] == ["ended"]
    assert not position.flags


def test_a_warning_is_no_red_flag(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.reports(builder.begin(), report(60.0), sick(120.0, norm=12.0))
    assert [event.kind for event in events(builder.state(), Position())] == ["started"]


def test_trials_pruned_at_their_first_report_are_counted_from_the_newest_back(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    for by, reports in (("grad_norm", 1), ("grad_norm", 2), ("nonfinite", 1), ("nonfinite", 1)):
        builder.prune(builder.begin(), by, *(report(60.0 * place) for place in range(1, reports + 1)))
    assert dead_in_a_row(builder.trials) == 2
    builder.prune(builder.begin(), "peers", report(60.0))
    assert dead_in_a_row(builder.trials) == 0


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_a_position_survives_the_database(ended: set[int], begun: set[int]) -> None:
    position = Position("started", ended, begun, ["7 grad_norm"], [3], ["ended", 7, ""], ["text"], 12, 99, 2)
    assert Position.load(json.loads(json.dumps(position.dump()))) == position


def test_thousands_of_reported_trials_take_a_few_characters() -> None:
    position = Position(ended=set(range(5_000)) - {17})
    assert len(json.dumps(position.dump())) < 300
    assert replace(Position.load({}), mark="") == Position(mark="")
