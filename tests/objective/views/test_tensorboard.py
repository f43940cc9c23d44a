"""TensorBoard's own reader finds every number of the lines once; the files are the same whatever happened meanwhile."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from objective.display.heard import described
from objective.events.log_reader import StudyLog
from objective.events.log_writer import JsonLines
from objective.tensorboard import main
from objective.trial.alignment_history import read as recorded
from objective.views.launcher import FROM_STUDY
from objective.views.metrics import measures
from objective.views.tensorboard_events import FILE, HISTORY, TensorBoard
from storage.paths import trial_folder
from tests.objective import samples
from tests.objective.small_study import ROOT
from tests.objective.watched import growing
from tests.objective.watchers import in_the_way
from tests.processes import until


def show(view: TensorBoard) -> None:
    for number in view.study_log.look():
        view.show(number)


def shown(study: Path, out: Path) -> Path:
    """The folder of a study that was shown from its lines, from nothing."""
    show(TensorBoard(StudyLog(study), out))
    return out / "tensorboard" / study.name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def complete(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown(study, tmp_path_factory.mktemp("complete"))


def read(folder: Path, number: int) -> EventAccumulator:
    found = EventAccumulator(str(trial_folder(folder, number)), size_guidance={"scalars": 0, "images": 0, "audio": 0})
    return found.Reload()


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_its_own_reader_finds_every_number_of_the_lines_once(number: int, study: Path, complete: Path) -> None:
    study_log = StudyLog(study)
    study_log.look()
    reports, events = study_log.reports(number), read(complete, number)
    assert len(reports) >= 2
    for name in {name for report in reports for name in measures(report)}:
        logged = [(event.step, event.value) for event in events.Scalars(name)]
        measured = [(round(report.kframes), measures(report).get(name)) for report in reports]
        assert logged == [(step, float(np.float32(value))) for step, value in measured if value is not None]
    at = [event.wall_time for event in events.Scalars("validation.loss")]
    assert at == sorted(set(at))
    tags = events.Tags()
    assert "_hparams_/session_start_info" in tags["tensors"]
    ended_well = study_log.trials[number].state == "COMPLETE"
    assert ("value" in tags["scalars"]) == ended_well


def test_what_was_said_and_heard_is_a_text(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (
        samples.trial_started(0),
        samples.reported(0, report=samples.report(free=samples.FREE)),
        samples.trial_ended(0),
    ):
        sink.emit(event)
    events = read(shown(sink.folder, tmp_path), 0)
    (text,) = events.Tensors("heard")
    assert text.tensor_proto.string_val == [described(samples.SPOKEN).encode()]
    assert events.SummaryMetadata("heard").plugin_data.plugin_name == "text"
    assert events.Scalars("free.errors")[0].value == pytest.approx(samples.FREE.errors)


@pytest.mark.parametrize("number", [0, 3])
def test_pictures_and_sounds_are_the_files_themselves(number: int, study: Path, complete: Path) -> None:
    events, folder = read(complete, number), trial_folder(study, number)
    for name in ("alignment", "mel", "gate"):
        (picture,) = events.Images(name)
        assert picture.encoded_image_string == (folder / f"{name}.png").read_bytes()
        assert picture.width > picture.height > 100
    for name in ("sample", "reference"):
        (sound,) = events.Audio(name)
        assert sound.encoded_audio_string == (folder / f"{name}.wav").read_bytes()
        assert (sound.sample_rate, sound.content_type) == (22_050, "audio/wav")


@pytest.mark.parametrize("number", [0, 2])
def test_every_report_has_a_picture_of_its_alignment(number: int, study: Path, complete: Path) -> None:
    """The pictures show one sentence, cell by cell. Trial 2 resumes trial 1 and has the pictures of both."""
    pictures = read(complete, number).Images(HISTORY)
    steps = [event.step for event in read(complete, number).Scalars("validation.loss")]
    assert [picture.step for picture in pictures] == steps
    attention = recorded(trial_folder(study, number))
    assert len({weights.shape for weights in attention.values()}) == 1
    for picture, weights in zip(pictures, attention.values(), strict=True):
        image = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
        wide, high = image.shape[1] // len(weights), image.shape[0] // len(weights[0])
        assert np.array_equal(np.flipud(image)[::high, ::wide], weights.T)
        assert (picture.height, picture.width) == image.shape


def test_watching_all_along_leaves_the_same_bytes(study: Path, complete: Path, tmp_path: Path) -> None:
    view = TensorBoard(StudyLog(tmp_path / study.name), tmp_path)
    sizes = set()
    for _ in growing(study, tmp_path / study.name):
        show(view)
        sizes.add(sum(map(len, contents(view.folder).values())))
    assert contents(view.folder) == contents(complete)
    assert len(sizes) > 10, "it was shown while it ran"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(data=st.data())
def test_killed_at_any_byte_and_started_again_it_leaves_the_same(
    study: Path, complete: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("torn")
    torn = out / "tensorboard" / study.name
    shutil.copytree(complete, torn)
    for number in range(4):
        file = trial_folder(torn, number) / FILE
        os.truncate(file, data.draw(st.integers(0, file.stat().st_size)))
    shown(study, out)
    assert contents(torn) == contents(complete)


def test_what_is_not_its_beginning_is_written_anew(study: Path, complete: Path, tmp_path: Path) -> None:
    """As from a study of the same name that was deleted."""
    folder = shown(study, tmp_path)
    (trial_folder(folder, 0) / FILE).write_bytes((trial_folder(folder, 1) / FILE).read_bytes())
    shown(study, tmp_path)
    assert contents(folder) == contents(complete)


def test_a_trial_that_is_whole_is_left_alone(study: Path, complete: Path, tmp_path: Path) -> None:
    """Even when its pictures are gone, as after somebody has made room."""
    folder, copy = shown(study, tmp_path), tmp_path / "bare" / study.name
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("*.png", "*.wav"))
    shutil.copytree(folder, tmp_path / "bare" / "tensorboard" / study.name)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "bare" / "tensorboard").rglob(FILE)}
    again = shown(copy, tmp_path / "bare")
    assert contents(again) == contents(complete)
    assert {file: file.stat().st_mtime_ns for file in again.rglob(FILE)} == before


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_taken_away_between_two_trials_is_missed(number: int, study: Path, tmp_path: Path) -> None:
    """Though the second makes the folder anew."""
    view = TensorBoard(StudyLog(study), tmp_path)
    view.study_log.look()
    view.show(number)
    assert view.intact()
    shutil.rmtree(view.folder)
    view.show(1 - number)
    assert view.folder.is_dir()
    assert not view.intact()
    view.show(number)
    assert view.intact()


def test_a_folder_that_is_taken_away_in_the_middle_is_reported_once_and_filled_again(
    study: Path, complete: Path, tmp_path: Path
) -> None:
    lines = growing(study, tmp_path / study.name)
    next(lines)
    folder = tmp_path / "tensorboard"
    line = [sys.executable, "-m", "objective.tensorboard", "--study", study.name, "--out", str(tmp_path)]
    view = subprocess.Popen(
        line, cwd=ROOT, env={**os.environ, FROM_STUDY: "1"}, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(12):
        next(lines)
    so_far = contents(shown(tmp_path / study.name, tmp_path / "so far"))
    until(lambda: contents(folder / study.name) == so_far)
    folder.rename(tmp_path / "taken")
    until(lambda: contents(folder / study.name) == so_far)  # which is no trouble
    in_the_way(folder)
    for _ in lines:
        pass
    assert view.stderr is not None
    assert "cannot be written" in view.stderr.readline()
    folder.unlink()
    assert "back again" in view.stderr.readline()
    _, rest = view.communicate("finished\n", timeout=30)
    assert (view.returncode, rest) == (0, "")
    assert contents(folder / study.name) == contents(complete)


def test_a_study_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--study", "some", "--out", str(tmp_path), "--once"]) == 2
    assert "need the name of a study with a log" in capsys.readouterr().err
