"""The log on disk is complete, append-only, and readable whatever happened while it was written."""

import json
import re
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from model.report import Losses, Report
from objective.events.fanout import Sinks
from objective.events.log_writer import JsonLines, append, complete, record
from objective.events.types import Phase, Progressed, Warned
from tests.objective import samples


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_log_holds_every_report_and_every_event_but_progress_and_phases(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path)
    for event in samples.events(tmp_path):
        sink.emit(event)
    sink.close()
    (kept,) = records(tmp_path / "trial-00002" / "reports.jsonl")
    assert Report.from_dict(kept) == samples.report()
    kinds = [type(event).__name__ for event in samples.events() if not isinstance(event, Progressed | Phase)]
    events = records(tmp_path / "events.jsonl")
    assert [event["event"] for event in events] == kinds
    assert events[0]["folder"] == str(tmp_path)
    assert events[-1]["trials"][0]["params"] == {"learning_rate": 0.00123456, "r": 2}


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    report = samples.report(
        health=samples.NOTHING,
        validation=Losses(float("nan"), float("inf"), float("-inf"), None),
    )
    JsonLines(tmp_path).emit(samples.reported(report=report))
    text = (tmp_path / "trial-00003" / "reports.jsonl").read_text()
    assert not re.search("NaN|Infinity", text)
    kept = json.loads(text)
    assert kept["validation"] == dict.fromkeys(("mel_before", "mel_after", "gate", "guided"))
    assert kept["health"]["diagonality"] is None


def test_a_log_grows_when_it_is_opened_again(tmp_path: Path) -> None:
    for kframes in (10.0, 20.0):
        JsonLines(tmp_path).emit(samples.reported(kframes=kframes))
    assert [line["kframes"] for line in records(tmp_path / "trial-00003" / "reports.jsonl")] == [10.0, 20.0]


def test_a_line_that_a_crash_has_torn_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    append(path, {"kframes": 10.0})
    torn = '{"kframes": 2'
    with path.open("a") as file:
        file.write(torn)
    append(path, {"kframes": 30.0})
    append(path, {"kframes": 40.0})
    first, broken, *rest = path.read_text().splitlines()
    assert broken == torn
    assert [json.loads(line)["kframes"] for line in (first, *rest)] == [10.0, 30.0, 40.0]


def test_any_script_and_undecodable_names_are_kept(tmp_path: Path) -> None:
    event = replace(samples.pruned(), reason="корпус \udcff.wav\nв строке 3")
    JsonLines(tmp_path).emit(event)
    assert "корпус" in (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    (kept,) = records(tmp_path / "events.jsonl")
    assert kept["reason"] == event.reason


def test_lines_that_cannot_be_written_are_written_later_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The disk is full for a while in the middle of a study."""
    folder = tmp_path / "study"
    folder.write_text("no folder")
    with Sinks([JsonLines(folder)]) as sinks:
        for kframes in (10.0, 20.0):
            sinks.emit(samples.reported(kframes=kframes))
        (message,) = caplog.messages
        assert message.startswith("the log cannot be written now, the next event retries: ")
        folder.unlink()
        sinks.emit(samples.reported(kframes=30.0))
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("no folder")
        sinks.emit(samples.reported(kframes=40.0))
        folder.unlink()
        (tmp_path / "elsewhere").rename(folder)
    assert len(caplog.messages) == 2
    assert [line["kframes"] for line in records(folder / "trial-00003" / "reports.jsonl")] == [10.0, 20.0, 30.0, 40.0]
    assert [line["report"]["kframes"] for line in records(folder / "events.jsonl")] == [10.0, 20.0, 30.0, 40.0]


def test_an_end_that_is_torn_anywhere_is_written_again(tmp_path: Path) -> None:
    event = samples.trial_ended(5)
    JsonLines(tmp_path / "whole").emit(event)
    (line,) = (tmp_path / "whole" / "events.jsonl").read_bytes().splitlines()
    file = tmp_path / "torn" / "events.jsonl"
    file.parent.mkdir()
    for cut in range(1, len(line)):
        file.write_bytes(line[:cut] + b"\n")
        complete(file.parent, [event])
        complete(file.parent, [event])
        torn, *ends = map(record, file.read_bytes().splitlines())
        assert torn is None
        assert [end and end["number"] for end in ends] == [5]


def test_threads_that_write_at_once_spoil_no_line(tmp_path: Path) -> None:
    """As the watch over the views does while trials run."""
    sinks = Sinks([JsonLines(tmp_path)])

    def warn(thread: int) -> None:
        for number in range(100):
            sinks.emit(Warned(f"{thread} {number}"))

    threads = [Thread(target=warn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sentences = [line["sentence"] for line in records(tmp_path / "events.jsonl")]
    for thread in range(4):
        assert [one for one in sentences if one.startswith(f"{thread} ")] == [f"{thread} {number}" for number in range(100)]
    assert len(sentences) == 400
