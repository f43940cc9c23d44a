"""Views beside a command: they hear why it ends, and one that fails is said."""

import os
from pathlib import Path

import pytest

from objective.events.log_writer import JsonLines
from objective.settings.schema import Settings
from objective.views.launcher import Views
from tests.objective import samples
from tests.processes import until

settings = {"study": {"name": "some"}, "watch": {"tensorboard": True}}


def test_a_view_hears_no_ctrl_c_and_ends_with_its_command(tmp_path: Path) -> None:
    known = Settings.model_validate({**settings, "out": tmp_path})
    sink = JsonLines(known.folder)
    for event in (samples.study_started(), samples.trial_started(0), samples.reported(0)):
        sink.emit(event)
    said: list[str] = []
    with Views(known, said.append) as views:
        (process,) = views._running
        assert os.getpgid(process.pid) != os.getpgid(0), "a terminal's Ctrl-C goes to the group of the command"
        until(lambda: list((tmp_path / "tensorboard").rglob("events.out.*")))
        views.why = "the machine failed: /data/st\udcfchle"
    assert (process.wait(60), said) == (0, [])


def test_a_view_that_fails_is_said_and_the_study_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    with Views(Settings.model_validate({**settings, "out": tmp_path}), said.append):
        until(lambda: said)
    assert said == [f"tensorboard ended with exit code 2, the study goes on: see {tmp_path}/some/tensorboard.log"]
    assert "need the name of a study with a log in" in (tmp_path / "some" / "tensorboard.log").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_passes_through(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Views(Settings.model_validate({"out": tmp_path}), print):
        raise error
