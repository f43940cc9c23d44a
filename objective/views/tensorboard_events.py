"""Write a study as TensorBoard's event files: the program of `tensorboard` (objective/tensorboard.py).

It reads the JSON lines and nothing else. Each trial has one file, whose bytes follow from the trial alone. So the file itself
shows how far it is written: what is missing is added, and nothing is in it twice, however often this process was killed.
"""

import argparse
import os
import wave
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.struct_pb2 import Value
from matplotlib import colormaps
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from model.report import Report
from objective.display import heard
from objective.events.log_reader import StudyLog, Trial
from objective.settings.views import VIEWS
from objective.trial.alignment_history import Attention, attention_at, read
from objective.views.follow import Away, follow
from objective.views.launcher import ready_to_type
from objective.views.metrics import clock, measures, step
from storage.paths import trial_folder

FILE = "events.out.tfevents.tacotune"  # TensorBoard reads every file with tfevents in its name
PICTURES, SOUNDS = ("alignment", "mel", "gate"), ("sample", "reference")
HISTORY = "alignment.history"
ABOUT_HISTORY = "Attention of one validation sentence, teacher-forced: decoder steps to the right, symbols upwards."
WIDTH, HEIGHT = 480, 320  # pixels of an alignment, roughly: a cell has a whole number of them
MAGMA = np.rint(255 * colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8).tobytes()


def run(parsed: argparse.Namespace) -> int:
    """Write the study's files until it ends. Raises BadInput where there is no such study."""
    opened = ready_to_type(str(VIEWS["tensorboard"].how_to_open(True, parsed.out, 0)))
    return follow("tensorboard", parsed, lambda study_log: TensorBoard(study_log, parsed.out), ".tensorboard.lock", opened)


class TensorBoard:
    """Makes the folder `OUT/tensorboard/STUDY` hold what the log says."""

    name = "tensorboard"

    def __init__(self, study_log: StudyLog, out: Path) -> None:
        self.study_log = study_log
        self.folder = out / "tensorboard" / study_log.folder.name
        self._shown: set[int] = set()  # trials

    def intact(self) -> bool:
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

    def command_lost(self, why: str) -> None:
        """Nothing: TensorBoard's trials have no status while they run."""


def events(trial: Trial, reports: list[Report], folder: Path) -> Iterator[bytes]:
    """Yield all of a trial as encoded events: its parameters, its reports, the pictures and sounds of its `folder`, its end.

    Before the end stands what was said and heard, as text.
    """
    began, attention = clock(trial.began), read(folder)
    yield _event(began, version="brain.Event:2")
    yield _event(began, values=[_session(trial)])
    for report in reports:
        values: list[dict[str, Any]] = [{"tag": name, "simple_value": value} for name, value in measures(report).items()]
        if (weights := attention_at(report, attention)) is not None:
            about = SummaryMetadata(display_name=HISTORY, summary_description=ABOUT_HISTORY)
            values.append({"tag": HISTORY, "image": _picture(drawn(weights)), "metadata": about})
        yield _event(began + report.seconds, step(report.kframes), values)
    if trial.end is not None:
        at, last = clock(trial.end["at"]), step(trial.end["kframes"])
        for name in PICTURES:
            if (file := folder / f"{name}.png").exists():
                yield _event(at, last, [{"tag": name, "image": _picture(file.read_bytes())}])
        for name in SOUNDS:
            if (file := folder / f"{name}.wav").exists():
                yield _event(at, last, [{"tag": name, "audio": _sound(file)}])
        if spoken := heard.described(trial.spoken):
            yield _event(at, last, [_text("heard", spoken)])
        yield end(trial)


def end(trial: Trial) -> bytes:
    """Return the last event of a trial that has ended, encoded: its value, and its state for the HPARAMS page."""
    assert trial.end is not None
    at, last = clock(trial.end["at"]), step(trial.end["kframes"])
    state = api_pb2.STATUS_SUCCESS if trial.state == "COMPLETE" else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=state, end_time_secs=at)
    values = [_plugin(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))]
    if trial.state == "COMPLETE" and trial.end["value"] is not None:
        values.append({"tag": "value", "simple_value": trial.end["value"]})
    return _event(at, last, values)


def framed(record: bytes) -> bytes:
    """Return an event as it stands in the file: with its length and both checksums."""
    file = BytesIO()
    RecordWriter(file).write(record)
    return file.getvalue()


def drawn(attention: Attention) -> bytes:
    """Return an alignment as PNG: decoder steps to the right, symbols upwards, each cell some pixels wide and high."""
    steps, symbols = attention.shape
    wide, high = max(1, round(WIDTH / steps)), max(1, round(HEIGHT / symbols))
    pixels = np.ascontiguousarray(np.flipud(attention.T).repeat(high, axis=0).repeat(wide, axis=1))
    image, file = Image.fromarray(pixels), BytesIO()
    image.putpalette(MAGMA)
    image.save(file, format="PNG")
    return file.getvalue()


def _session(trial: Trial) -> dict[str, Any]:
    """The parameters of a trial, for the HPARAMS page."""
    info = plugin_data_pb2.SessionStartInfo(group_name=f"trial {trial.number}", start_time_secs=clock(trial.began))
    for name, value in trial.params.items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        info.hparams[name].CopyFrom(Value(**{kind: value}))
    return _plugin(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def _plugin(tag: str, data: Any) -> dict[str, Any]:
    about = metadata.create_summary_metadata(data)
    data.version = metadata.PLUGIN_DATA_VERSION
    about.plugin_data.content = data.SerializeToString(deterministic=True)  # its map has no order of its own
    return {"tag": tag, "metadata": about, "tensor": metadata.NULL_TENSOR}


def _text(tag: str, markdown: str) -> dict[str, Any]:
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[markdown.encode()])
    return {"tag": tag, "metadata": text_metadata.create_summary_metadata(tag, ""), "tensor": tensor}


def _event(at: float, step: int = 0, values: list[dict[str, Any]] | None = None, version: str | None = None) -> bytes:
    if version is not None:
        event = Event(wall_time=at, file_version=version)
    else:
        event = Event(wall_time=at, step=step, summary=Summary(value=[Summary.Value(**value) for value in values or ()]))
    encoded: bytes = event.SerializeToString(deterministic=True)
    return encoded


def _picture(png: bytes) -> Any:
    width, height = (int.from_bytes(png[place : place + 4]) for place in (16, 20))
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[png[25]]  # by the header's colour type: grey, RGB, palette, with alpha
    return Summary.Image(width=width, height=height, colorspace=channels, encoded_image_string=png)


def _sound(file: Path) -> Any:
    with wave.open(str(file)) as sound:
        rate, channels, frames = sound.getframerate(), sound.getnchannels(), sound.getnframes()
    content = {"encoded_audio_string": file.read_bytes(), "content_type": "audio/wav"}
    return Summary.Audio(sample_rate=rate, num_channels=channels, length_frames=frames, **content)


def _ends_with(file: Path, last: bytes) -> bool:
    try:
        with file.open("rb") as written:
            written.seek(max(0, file.stat().st_size - len(last)))
            return written.read() == last
    except FileNotFoundError:
        return False


def _complete(file: Path, wanted: bytes) -> None:
    """Add what is missing, also to half an event; write the file anew where it is no beginning of `wanted`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    present = file.read_bytes() if file.exists() else b""
    if not wanted.startswith(present):
        file.unlink()
        present = b""
    with file.open("ab") as more:
        more.write(wanted[len(present) :])
