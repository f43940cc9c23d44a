"""Which events follow from a study and from what was told. No network, no clock."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objective.telegram.event_queue import Event, Position, Scene, dead_in_a_row, next_event, told
from pruners.decision import judge
from pruners.rules import shipped_rules
from pruners.thresholds import Thresholds
from tests.objective.samples import report
from tests.objective.telegram.studies import BUDGET, Made, sick, whole


def scene(made: Made, **changes: Any) -> Scene:
    running = [trial for trial in made.trials if trial.state.name == "RUNNING" and "health" in trial.user_attrs]
    found = {trial.number: judge(trial.user_attrs["health"], shipped_rules(Thresholds())) for trial in running}
    return replace(Scene("anna", made.trials, wanted=6, budget_kframes=BUDGET, found=found), **changes)


def events(now: Scene, position: Position) -> Iterator[Event]:
    """All there are, told one after the other; the position goes through JSON between them, as through a study."""
    while (event := next_event(now, position)) is not None:
        yield event
        told(event, now, position)
        kept = Position.load(json.loads(json.dumps(position.dump())))
        assert kept == position


STORY = [("started", -1), ("ended", 0), ("ended", 1), ("begun", 2), ("ended", 2), ("lost", 3)]
STORY += [("begun", 5), ("ended", 5), ("failed", 6)]


def test_a_study_is_one_story_however_often_it_is_looked_at(tmp_path: Path) -> None:
    made = whole(tmp_path, [])
    assert [(event.kind, event.number) for event in events(scene(made), Position())] == STORY
    position = Position()
    for end in range(len(made.trials) + 1):  # as somebody sees it who looks after each trial
        part = scene(made)
        part = replace(part, trials=part.trials[:end])
        list(events(part, position))
    assert not list(events(scene(made), position))
    assert position.ended == {0, 1, 2, 3, 5, 6}
    assert position.begun == {2, 5}


def test_the_end_of_a_study_is_told_once_and_so_is_its_going_on(tmp_path: Path) -> None:
    made, position = Made(tmp_path), Position()
    made.begin()
    assert [it.kind for it in events(scene(made), position)] == ["started"]
    assert [it.kind for it in events(scene(made, stopped="killed"), position)] == ["stopped"]
    assert not list(events(scene(made), position)), "the trial of the killed command still seems to run"
    made.begin()
    assert [it.kind for it in events(scene(made), position)] == ["resumed"]
    assert not list(events(scene(made), position))


@pytest.mark.parametrize(("stopped", "kind"), [(None, "done"), ("finished", "done"), ("interrupted", "done")])
def test_a_study_with_all_its_trials_is_done_whatever_its_command_says(tmp_path: Path, stopped: str | None, kind: str) -> None:
    made = Made(tmp_path)
    made.complete(made.begin(), 0.5)
    seen = [it.kind for it in events(scene(made, wanted=1, stopped=stopped), Position())]
    assert seen == ["started", "ended", kind]


def test_a_done_study_that_wants_more_trials_goes_on(tmp_path: Path) -> None:
    made, position = Made(tmp_path), Position()
    made.complete(made.begin(), 0.5)
    list(events(scene(made, wanted=1), position))
    made.complete(made.begin(), 0.4)
    assert [it.kind for it in events(scene(made, wanted=2), position)] == ["resumed", "ended", "done"]


def test_a_red_flag_is_told_once_for_each_rule_while_the_trial_runs(tmp_path: Path) -> None:
    made, position = Made(tmp_path), Position()
    trial = made.begin()
    made.reports(trial, report(60.0), sick(120.0))
    flags = [it for it in events(scene(made), position) if it.kind == "flag"]
    assert flags == [Event("flag", 0, "grad_norm")]
    made.reports(trial, sick(180.0))
    assert not list(events(scene(made), position))
    made.prune(trial, "grad_norm", sick(240.0))
    assert [it.kind for it in events(scene(made), position)] == ["ended"]
    assert not position.flags


def test_a_warning_is_no_red_flag(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.reports(made.begin(), report(60.0), sick(120.0, norm=12.0))
    assert [it.kind for it in events(scene(made), Position())] == ["started"]


def test_dead_at_birth_are_counted_from_the_newest_back(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for by, reports in (("grad_norm", 1), ("grad_norm", 2), ("nonfinite", 1), ("nonfinite", 1)):
        made.prune(made.begin(), by, *(report(60.0 * place) for place in range(1, reports + 1)))
    assert dead_in_a_row(made.trials) == 2
    made.prune(made.begin(), "peers", report(60.0))
    assert dead_in_a_row(made.trials) == 0


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_a_position_survives_the_database(ended: set[int], begun: set[int]) -> None:
    position = Position("started", ended, begun, ["7 grad_norm"], [3], ["ended", 7, ""], ["text"], 12, 99, 2)
    assert Position.load(json.loads(json.dumps(position.dump()))) == position


def test_thousands_of_told_trials_take_a_few_letters() -> None:
    position = Position(ended=set(range(5_000)) - {17})
    assert len(json.dumps(position.dump())) < 300
    assert replace(Position.load({}), mark="") == Position(mark="")
