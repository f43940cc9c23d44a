"""The command `check` on corpora of tones: what it reports, what it writes, and how it ends."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from objective import check

RATE_HZ, LINES = 22_050, 24
SIZES = ("embedding", "encoder", "prenet", "attention_rnn", "decoder_rnn", "attention", "postnet")
WORDS = ("tone", "hums", "long", "hear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus whose tones are as long as their texts."""
    root = tmp_path_factory.mktemp("check")
    (root / "wavs").mkdir()
    draw = np.random.default_rng(0)
    rows = []
    for number in range(LINES):
        words = draw.choice(WORDS, 2 + number % 7)
        time = np.arange(int(0.3 * len(words) * RATE_HZ)) / RATE_HZ
        soundfile.write(root / f"wavs/{number:02}.wav", 0.3 * np.sin(2 * np.pi * (150 + 5 * number) * time), RATE_HZ)
        rows.append(f"{number:02}|{' '.join(words)} {' '.join(draw.choice(WORDS, 1))}.")
    (root / "metadata.csv").write_text("\n".join(rows))
    return root


def checked(folder: Path, tmp_path: Path, rows: list[str], *more: str) -> tuple[int, dict]:
    """Check the recordings with other rows; return the exit code and the JSON."""
    data = tmp_path / "data"
    shutil.copytree(folder / "wavs", data / "wavs", dirs_exist_ok=True)
    (data / "metadata.csv").write_text("\n".join(rows))
    arguments = ["--data", str(data), "--out", str(folder / "out"), "--device", "cpu", "--json", str(tmp_path / "check.json")]
    code = check.main([*arguments, *more])
    return code, json.loads((tmp_path / "check.json").read_text())


def rows_of(folder: Path) -> list[str]:
    return (folder / "metadata.csv").read_text().splitlines()


def kinds(found: dict, stopping: bool) -> list[str]:
    return [one["kind"] for one in found["findings"] if one["stops"] is stopping]


def test_a_good_corpus_is_fine(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, small = tmp_path / "check.html", tmp_path / "small.yaml"
    small.write_text("".join(f"network.{name}: 32\n" for name in SIZES))
    code, found = checked(folder, tmp_path, rows_of(folder), "--html", str(page), "--probe", "--settings", str(small))
    assert code == 0
    assert kinds(found, True) == []
    assert found["lengths"]["verdict"] == "fine"
    assert len(found["utterances"]) == found["lines"] == LINES
    assert (found["columns"], found["language"]) == ("1,2", "en")
    assert found["network"]["terms"]["loss"] > 0
    assert found["network"]["probe"][-1] < found["network"]["probe"][0]
    assert "too few to learn from" in found["listening"]["why_not"]
    assert page.read_text().count("<audio") >= 5
    shown = capsys.readouterr().out
    assert "a training may start" in shown
    assert shown.index("the reader") < shown.index("text as it is read") < shown.index("what to do")


def test_shifted_texts_stop_a_training(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, texts = zip(*(row.split("|") for row in rows_of(folder)), strict=True)
    rows = [f"{name}|{text}" for name, text in zip(names, (*texts[1:], texts[0]), strict=True)]
    code, found = checked(folder, tmp_path, rows, "--no-network")
    assert code == 1
    assert "shifted" in kinds(found, True)
    assert "shifted by one line" in capsys.readouterr().out


def test_a_doubled_text_is_named(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder)
    rows[12] = f"{rows[12]} {' '.join(rows[12].split('|')[1:])}"
    code, found = checked(folder, tmp_path, rows, "--no-network")
    assert [one["lines"] for one in found["findings"] if one["kind"] == "much text"] == [["12"]]
    assert found["utterances"][12]["rate"] < -4
    assert code == 0  # one line stops no training


def test_a_listener_that_has_learnt_nothing_says_so(folder: Path, tmp_path: Path) -> None:
    _, found = checked(folder, tmp_path, rows_of(folder), "--no-network", "--listen", "--listen-kframes", "2")
    assert found["listening"]["kframes"] == 2
    assert all(row["errors"] > 0 and row["fit"] is not None for row in found["utterances"])
    assert "listener" in kinds(found, False)
    assert not [row for row in found["utterances"] if "wrong text" in row["kinds"]]


def test_a_refused_corpus_is_reported_with_the_way_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*rows_of(folder), "98|Gone.", "99|Gone, too."]
    code, found = checked(folder, tmp_path, rows, "--no-network")
    assert code == 1
    assert kinds(found, True) == ["refused"]
    assert [(problem["line"], problem["reason"]) for problem in found["problems"]] == [
        (LINES + 1, "unreadable sound"),
        (LINES + 2, "unreadable sound"),
    ]
    assert len(found["utterances"]) == LINES
    shown = capsys.readouterr().out
    assert "2 bad: unreadable sound" in shown
    assert "Correct them or delete their lines" in shown


def test_texts_of_another_language_are_named_with_the_language(folder: Path, tmp_path: Path) -> None:
    rows = [f"{row.split('|')[0]}|Съешь ещё этих мягких булок." for row in rows_of(folder)]
    code, found = checked(folder, tmp_path, rows, "--no-network")
    assert (code, found["utterances"]) == (1, [])
    assert found["findings"][0]["kind"] == "refused"
    assert found["findings"][0]["todo"] == "set data.language=ru"


def test_noise_offset_and_telephones_are_heard(folder: Path, tmp_path: Path) -> None:
    """Half of the recordings get what a bad chain does; each finding names these alone."""
    damaged, time = tmp_path / "damaged", np.arange(int(3 * RATE_HZ)) / RATE_HZ
    (damaged / "wavs").mkdir(parents=True)
    draw, rows = np.random.default_rng(0), []
    for number in range(20):
        speech = 0.2 * draw.normal(size=len(time)) * (np.sin(2 * np.pi * 2 * time) > 0)  # bursts of noise in all bands
        if number == 3:
            speech = speech * 0.2 + 0.3  # a constant offset
        if number == 4:
            speech = speech + 0.2 * draw.normal(size=len(time))
        if number == 5:
            spectrum = np.fft.rfft(speech)
            spectrum[9_000:] = 0  # above 3,000 Hz
            speech = np.fft.irfft(spectrum, len(time))
        soundfile.write(damaged / f"wavs/{number:02}.wav", np.clip(speech, -0.99, 0.99), RATE_HZ)
        rows.append(f"{number:02}|{' '.join(draw.choice(WORDS, 8))}.")
    _, found = checked(damaged, tmp_path, rows, "--no-network", "--set", "data.trim=false")
    named = {one["kind"]: one["lines"] for one in found["findings"]}
    assert named["offset"] == ["03"]
    assert named["noisy lines"] == ["04"]
    assert named["narrow lines"] == ["05"]


@pytest.mark.parametrize(
    ("text", "language", "code", "read"),
    [("It costs $5.", "en", 0, "it costs five dollars."), ("В 5 лет.", "ru", 0, "в пять лет."), ("5 лет", "en", 1, "")],
)
def test_a_text_is_read_in_one_line(text: str, language: str, code: int, read: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--text", text, "--language", language]) == code
    shown = capsys.readouterr()
    assert shown.out.lower() == (f"{read}\n" if read else "")
    assert ("without a symbol" in shown.err) is (code == 1)


UNUSABLE = {
    "no data": ([], "need recordings to look at"),
    "no such folder": (["--data", "gone"], "need a folder or a list of recordings"),
    "no kframes": (["--data", ".", "--listen-kframes", "0"], "--listen-kframes: need a number above 0"),
    "no folder for the page": (["--data", ".", "--html", "gone/page.html"], "in a folder that exists"),
    "an empty folder": (["--data", "."], "metadata.csv"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_input_has_exit_code_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, rule = UNUSABLE[case]
    assert check.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert rule in capsys.readouterr().err
