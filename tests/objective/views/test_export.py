"""A study as a table or a page, from the lines alone: both tables hold what the lines do, and the page needs nothing else."""

import csv
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from objective.events.log_writer import JsonLines
from objective.export import main
from objective.views.table_export import WRITERS
from storage.paths import trial_folder
from tests.objective import samples
from tests.objective.watched import lines, reports


@pytest.fixture(scope="module")
def copied(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder alone, without a database."""
    copy = tmp_path_factory.mktemp("runs") / study.name
    shutil.copytree(study, copy)
    return copy


def exported(study: Path, kind: str, to: Path) -> Path:
    file = to / f"{study.name}.{kind}"
    assert main(["--study", study.name, "--out", str(study.parent), f"--{kind}", str(file)]) == 0
    return file


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def test_the_table_has_a_row_for_each_report_with_all_that_it_says(copied: Path, tmp_path: Path) -> None:
    rows = parquet.read_table(exported(copied, "parquet", tmp_path)).to_pylist()
    written = [(number, flat(report)) for number in range(4) for report in reports(copied, number)]
    assert len(rows) == len(written) > 10
    started = {event["number"]: event for event in lines(copied / "events.jsonl") if event["event"] == "TrialStarted"}
    for row, (number, report) in zip(rows, written, strict=True):
        assert {name: row[name] for name in report} == report
        assert row["trial"] == number
        assert row["state"] == ("COMPLETE", "FAIL", "PRUNED", "PRUNED")[number]
        assert {name: row[f"param.{name}"] for name in started[number]["params"]} == started[number]["params"]
    absent = {name for event in started.values() for name in event["params"]} - started[1]["params"].keys()
    assert absent
    assert all(row[f"param.{name}"] is None for row in rows for name in absent if row["trial"] == 1)
    terms = [f"validation.{name}" for name in ("mel_before", "mel_after", "gate")]
    judged = [row for row in rows[:4] if row["free.value"] is not None]
    assert rows[0]["value"] == min(sum(row[name] for name in terms) for row in judged)
    ends = {event["number"]: event["spoken"] for event in lines(copied / "events.jsonl") if event["event"] == "TrialEnded"}
    assert all(row["heard"] == ends[row["trial"]].get("heard") for row in rows)


def test_both_tables_hold_the_same(copied: Path, tmp_path: Path) -> None:
    typed = parquet.read_table(exported(copied, "parquet", tmp_path)).to_pylist()
    with exported(copied, "csv", tmp_path).open(encoding="utf-8", newline="") as file:
        text = list(csv.DictReader(file))
    assert list(text[0]) == list(typed[0])
    assert text == [{name: "" if value is None else str(value) for name, value in row.items()} for row in typed]


def test_a_parameter_of_several_kinds_is_text_in_both(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "some")
    for number, value in enumerate((3, "auto", 0.5)):
        sink.emit(samples.trial_started(number, params={"mixed": value, "number": number / 2 if number else 1, "on": True}))
        sink.emit(samples.reported(number))
    rows = parquet.read_table(exported(sink.folder, "parquet", tmp_path)).to_pylist()
    assert [(row["param.mixed"], row["param.number"], row["param.on"]) for row in rows] == [
        ("3", 1.0, True),
        ("auto", 0.5, True),
        ("0.5", 1.0, True),
    ]
    assert exported(sink.folder, "csv", tmp_path).read_text().count("auto") == 1


def test_free_running_figures_and_what_was_heard_are_columns(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "some")
    free = samples.report(240.0, free=samples.FREE)
    for event in (samples.trial_started(0), samples.reported(0), samples.reported(0, report=free), samples.trial_ended(0)):
        sink.emit(event)
    rows = parquet.read_table(exported(sink.folder, "parquet", tmp_path)).to_pylist()
    assert [row["free.errors"] for row in rows] == [None, samples.FREE.errors]
    assert {name.removeprefix("free.") for name in rows[0] if name.startswith("free.")} == set(samples.FREE.__slots__)
    assert {(row["heard"], row["worst_heard"]) for row in rows} == {(samples.SPOKEN["heard"], samples.SPOKEN["worst_heard"])}


def test_torn_lines_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = JsonLines(tmp_path / "some")
    file = trial_folder(sink.folder, 0) / "reports.jsonl"
    for kframes in (10.0, 20.0, 30.0):
        sink.emit(samples.reported(0, kframes))
        with file.open("a") as torn:
            torn.write('{"kframes": 9')
    rows = parquet.read_table(exported(sink.folder, "parquet", tmp_path)).to_pylist()
    assert [row["kframes"] for row in rows] == [10.0, 20.0, 30.0]
    assert "left out: 2" in capsys.readouterr().err


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self, tag: str) -> list[str]:
        return [values["src"] or "" for name, values in self.tags if name == tag]


def test_the_page_shows_every_trial_and_loads_nothing(copied: Path, tmp_path: Path) -> None:
    text = exported(copied, "html", tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    places = [values[name] for _, values in page.tags for name in ("src", "href", "srcset", "data", "action") if name in values]
    assert places
    assert all(place is not None and place.startswith("data:") for place in places)
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    held = {b64decode(source.partition("base64,")[2]) for source in page.sources("img") + page.sources("audio")}
    for number in (0, 2, 3):
        folder = trial_folder(copied, number)
        for name in ("curves.png", "alignment.png", "mel.png", "gate.png", "sample.ogg"):
            assert (folder / name).read_bytes() in held
        assert f"trial {number}" in page.text
    assert (trial_folder(copied, 0) / "reference.ogg").read_bytes() in held
    sounds = [page.text.index(f"trial {number} ") for number in (0, 2, 3)]
    assert page.text.index("recorded", page.text.index("Listen")) < min(sounds), "the recording is first, and once"
    assert len(page.sources("audio")) == 1 + 3
    places = [tag for tag, _ in page.tags if tag in ("audio", "img", "thead")]
    assert places == sorted(places, key=["audio", "img", "thead"].index), "the table with a head of its own is last"
    assert "3 of 3" in page.text
    assert "no healthy trial yet" in page.text
    assert "< 0.99 in 1 of 1 validations since 9 kframes" in page.text
    assert "learning_rate 0.002" in page.text


def test_the_page_ranks_and_counts(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in samples.events(sink.folder):
        sink.emit(event)
    sink.emit(samples.trial_started(4))
    sink.emit(samples.trial_ended(4, value=0.5))
    page = Page(exported(sink.folder, "html", tmp_path).read_text(encoding="utf-8"))
    assert "Listen" not in page.text, "none has a sound"
    pictures, table = re.split(r"Pictures\n|Trials\n", page.text)[1:]
    rows = re.findall(r"(\d+)(healthy|sick|pruned|failed)", table)
    assert rows == [("4", "healthy"), ("0", "healthy"), ("1", "sick"), ("2", "pruned"), ("3", "failed")]
    assert re.findall(r"trial (\d+) ", pictures) == [number for number, _ in rows]
    tiles = ("0.500best: trial 4", "4 of 5trials finished", "2healthy", "1sick", "320 kframessaved")
    for text in (*tiles, "no space left on device", "4.1%letters heard wrong (recordings 0.2%)"):
        assert text in page.text
    assert "0.5004.1%6.2%0.810.89500" in table, "value, errors, faults, diagonality, reading, kframes"
    assert pictures.count(f"middle{samples.SPOKEN['text']}{samples.SPOKEN['heard']}") == 3
    assert pictures.count("faults in 6.2% of 32 sentences: 2 skipped, 1 mumbled") == 3


def test_the_page_without_a_healthy_trial_says_how_far_the_closest_is(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.study_started(), samples.trial_started(5), samples.misheard(5)):
        sink.emit(event)
    text = Page(exported(sink.folder, "html", tmp_path).read_text(encoding="utf-8")).text
    assert "-no healthy trial yet73%letters of trial 5 heard wrong (recordings 0.2%)" in text


def test_what_stands_in_a_name_or_a_reason_is_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\" onerror='x' &amp; \udcff"
    sink = JsonLines(tmp_path / "some")
    sink.emit(samples.study_started(notes=(nasty,)))
    sink.emit(samples.trial_started(0, params={"a.b": nasty}, origin=nasty))
    said = samples.SPOKEN | dict.fromkeys(("text", "heard", "worst_heard"), nasty)
    sink.emit(samples.trial_ended(0, state="FAIL", value=None, reason=nasty, last=None, spoken=said))
    sink.emit(samples.study_ended(why=nasty))
    page = Page(exported(sink.folder, "html", tmp_path).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any("onerror" in values for _, values in page.tags)
    assert page.text.count(nasty.replace("\udcff", "?")) == 10


@pytest.mark.parametrize("kind", ["csv", "parquet", "html"])
def test_it_is_written_whole_or_not_at_all(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = JsonLines(tmp_path / "some")
    sink.emit(samples.trial_started(0))
    arguments = ["--study", "some", "--out", str(tmp_path), f"--{kind}"]
    assert main([*arguments, str(tmp_path / "nowhere" / "x")]) == 2
    (tmp_path / "folder").mkdir()
    assert main([*arguments, str(tmp_path / "folder")]) == 2
    assert capsys.readouterr().err.count("need a file that can be written") == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "some"]


def test_a_study_without_lines_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare").mkdir()
    for name in ("bare", "unknown"):
        assert main(["--study", name, "--out", str(tmp_path), "--csv", str(tmp_path / "x.csv")]) == 2
        assert f"got {name}" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)])
def test_an_interrupted_export_or_a_full_disk_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    JsonLines(tmp_path / "some").emit(samples.trial_started(0))

    def broken(study_log: object, path: Path) -> None:
        path.write_text("half")
        raise error

    monkeypatch.setitem(WRITERS, "csv", broken)
    assert main(["--study", "some", "--out", str(tmp_path), "--csv", str(tmp_path / "x.csv")]) == code
    assert [file.name for file in tmp_path.iterdir()] == ["some"]
