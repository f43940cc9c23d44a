"""A study in TensorBoard: `python -m objective.tensorboard --study NAME`, then `tensorboard --logdir runs/tensorboard`.

It reads the JSON lines and nothing else. Each trial has one file, whose bytes follow from the trial alone. So the file itself
says how far it is written: what is missing is added, and nothing stands in it twice, however often this command was killed.

Exit codes: 0 done, 1 the machine failed, 2 bad input.
"""

import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.report import Report
from objective.events.log_reader import StudyLog, Trial
from objective.views.follow import Away, follow, words
from objective.views.metrics import clock, measures, step
from storage.paths import trial_folder

FILE = "events.out.tfevents.tacotune"  # TensorBoard reads every file with tfevents in its name
PICTURES, SOUNDS = ("alignment", "mel", "gate"), ("sample", "reference")


class TensorBoard:
    """Makes the folder `OUT/tensorboard/STUDY` hold what the study_log says."""

    name = "tensorboard"

    def __init__(self, study_log: StudyLog, out: Path) -> None:
        self.study_log = study_log
        self.folder = out / "tensorboard" / study_log.folder.name
        self._shown: set[int] = set()  # trials

    def there(self) -> bool:
        try:
            found = set(os.listdir(self.folder))
        except OSError:
            found = set()
        return all(trial_folder(self.folder, number).name in found for number in self._shown & self.study_log.trials.keys())

    def show(self, number: int | None) -> None:
        if number is None:
            return
        trial = self.study_log.trials[number]
        file = trial_folder(self.folder, number) / FILE
        try:
            last = framed(end(trial)) if trial.end is not None else b""
            if not last or not _ends_with(file, last):
                records = events(trial, self.study_log.reports(number), trial_folder(self.study_log.folder, number))
                _complete(file, b"".join(map(framed, records)))
        except OSError as why:
            raise Away(f"{file} cannot be written: {why.strerror or why}") from why
        self._shown.add(number)


def events(trial: Trial, reports: list[Report], folder: Path) -> Iterator[bytes]:
    """All of a trial as TensorBoard's events, encoded: the point, the reports, then what its `folder` shows, and its end."""
    began = clock(trial.began)
    yield _event(began, version="brain.Event:2")
    yield _event(began, values=[_session(trial)])
    for report in reports:
        values = [{"tag": name, "simple_value": value} for name, value in measures(report).items()]
        yield _event(began + report.seconds, step(report.kframes), values)
    if trial.end is not None:
        at, last = clock(trial.end["at"]), step(trial.end["kframes"])
        for name in PICTURES:
            if (file := folder / f"{name}.png").exists():
                yield _event(at, last, [{"tag": name, "image": _picture(file.read_bytes())}])
        for name in SOUNDS:
            if (file := folder / f"{name}.wav").exists():
                yield _event(at, last, [{"tag": name, "audio": _sound(file)}])
        yield end(trial)


def end(trial: Trial) -> bytes:
    """The last event of a trial that has ended, encoded: its value, and for the HPARAMS page its state."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    assert trial.end is not None
    at, last = clock(trial.end["at"]), step(trial.end["kframes"])
    state = api_pb2.STATUS_SUCCESS if trial.state == "COMPLETE" else api_pb2.STATUS_FAILURE
    said = plugin_data_pb2.HParamsPluginData(session_end_info=plugin_data_pb2.SessionEndInfo(status=state, end_time_secs=at))
    values = [_plugin(metadata.SESSION_END_INFO_TAG, said)]
    if trial.state == "COMPLETE" and trial.end["value"] is not None:
        values.append({"tag": "value", "simple_value": trial.end["value"]})
    return _event(at, last, values)


def framed(record: bytes) -> bytes:
    """An event as it stands in the file: with its length and both checksums."""
    from io import BytesIO

    from tensorboard.summary.writer.record_writer import RecordWriter

    file = BytesIO()
    RecordWriter(file).write(record)
    return file.getvalue()


def _session(trial: Trial) -> dict[str, Any]:
    """The parameters of a trial, for the HPARAMS page."""
    from google.protobuf.struct_pb2 import Value
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(group_name=f"trial {trial.number}", start_time_secs=clock(trial.began))
    for name, value in trial.params.items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        info.hparams[name].CopyFrom(Value(**{kind: value}))
    said = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return _plugin(metadata.SESSION_START_INFO_TAG, said)


def _plugin(tag: str, said: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams import metadata

    about = metadata.create_summary_metadata(said)
    said.version = metadata.PLUGIN_DATA_VERSION
    about.plugin_data.content = said.SerializeToString(deterministic=True)  # its map has no order of its own
    return {"tag": tag, "metadata": about, "tensor": metadata.NULL_TENSOR}


def _event(at: float, step: int = 0, values: list[dict[str, Any]] | None = None, version: str | None = None) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    if version is not None:
        event = Event(wall_time=at, file_version=version)
    else:
        event = Event(wall_time=at, step=step, summary=Summary(value=[Summary.Value(**value) for value in values or ()]))
    encoded: bytes = event.SerializeToString(deterministic=True)
    return encoded


def _picture(png: bytes) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = (int.from_bytes(png[place : place + 4]) for place in (16, 20))
    return Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)


def _sound(file: Path) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    with wave.open(str(file)) as sound:
        rate, channels, frames = sound.getframerate(), sound.getnchannels(), sound.getnframes()
    heard = {"encoded_audio_string": file.read_bytes(), "content_type": "audio/wav"}
    return Summary.Audio(sample_rate=rate, num_channels=channels, length_frames=frames, **heard)


def _ends_with(file: Path, last: bytes) -> bool:
    try:
        with file.open("rb") as written:
            written.seek(max(0, file.stat().st_size - len(last)))
            return written.read() == last
    except FileNotFoundError:
        return False


def _complete(file: Path, wanted: bytes) -> None:
    """Add what is missing, half an event too; begin anew where it is no beginning of `wanted`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    there = file.read_bytes() if file.exists() else b""
    if not wanted.startswith(there):
        file.unlink()
        there = b""
    with file.open("ab") as more:
        more.write(wanted[len(there) :])


def main(arguments: list[str] | None = None) -> int:
    parser = words(__doc__)
    parser.add_argument("--once", action="store_true", help="write what there is, and end")
    parsed = parser.parse_args(arguments)
    return follow("tensorboard", parsed, lambda study_log: TensorBoard(study_log, parsed.out), ".tensorboard.lock")


if __name__ == "__main__":
    sys.exit(main())
