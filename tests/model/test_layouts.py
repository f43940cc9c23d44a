"""Corpora in the layouts that people have: each gives its recordings and texts, without a setting. No sounds are needed."""

import json
from pathlib import Path

import pytest

from model.data.manifests import Manifest, read
from model.data.problems import CorpusError
from model.errors import BadInput

SENTENCES = [
    "The river runs behind the old house.",
    "A yellow candle stood in each window.",
    "Nobody crossed the bridge that winter.",
    "Summer came late to the harbour.",
    "They sold apples and pears at the gate.",
    "The garden wall was 20 feet high.",
]
IDS = [f"a-{number:03}" for number in range(len(SENTENCES))]
Files = dict[str, str | bytes]


def listed(line: str, sentences: list[str] = SENTENCES) -> str:
    """Fill a line for each recording: `{id}`, `{n}` and `{text}`; `{raw}` and `{low}` are other forms of the text."""
    fields = [
        {"id": id, "n": n, "text": text, "raw": text.replace("20", "XX"), "low": text.lower()}
        for n, (id, text) in enumerate(zip(IDS, sentences, strict=True))
    ]
    return "".join(f"{line.format(**values)}\n" for values in fields)


def sounds(place: str) -> Files:
    return {place.format(id=id): b"" for id in IDS}


NEMO = "".join(
    json.dumps({"audio_filepath": f"wavs/{id}.wav", "duration": 1.5, "text": text}) + "\n"
    for id, text in zip(IDS, SENTENCES, strict=True)
)
COMMON_VOICE = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tlocale\n"
SAID = [f'"{text}" she said' for text in SENTENCES]
LAYOUTS: dict[str, tuple[Files, str]] = {
    "LJSpeech": ({"metadata.csv": listed("{id}|{raw}|{text}")}, "wavs/{id}.wav"),
    "LJSpeech with the raw text first and speakers behind": (
        {"metadata.csv": listed("{id}|{raw}|{text}|anna")},
        "wavs/{id}.wav",
    ),
    "NVIDIA": ({"list.txt": listed("wavs/{id}.wav|{text}")}, "wavs/{id}.wav"),
    "NVIDIA, before DUMMY is replaced": ({"list.txt": listed("DUMMY/{id}.wav|{text}")}, "wavs/{id}.wav"),
    "NVIDIA, with speakers": ({"list.txt": listed("wavs/{id}.wav|{text}|{n}")}, "wavs/{id}.wav"),
    "paths of another machine": ({"list.txt": listed("/home/anna/own/wavs/{id}.wav|{text}")}, "wavs/{id}.wav"),
    "paths of Windows": ({"list.txt": listed("C:\\voice\\wavs\\{id}.wav|{text}")}, "wavs/{id}.wav"),
    "VITS": ({"train.txt": listed("wavs/{id}.wav|7|{text}")}, "wavs/{id}.wav"),
    "FastPitch": ({"list.txt": listed("wavs/{id}.wav|pitch/{id}.pt|{text}|0")}, "wavs/{id}.wav"),
    "CSS10": ({"transcript.txt": listed("book/{id}.wav|{raw}|{text}|2.35")}, "book/{id}.wav"),
    "RUSLAN": ({"metadata_RUSLAN_22200.csv": listed("{id}|{text}")}, "RUSLAN/{id}.wav"),
    "Piper": ({"metadata.csv": listed("{id}|anna|{text}")}, "wav/{id}.wav"),
    "Piper, beside config.json": ({"list.csv": listed("{id}|anna|{text}"), "config.json": "{}"}, "wav/{id}.wav"),
    "two speakers of two words": (
        {"metadata.csv": listed("{id}|Anna Smith|{text}").replace("Anna Smith", "Bo Li", 2)},
        "wavs/{id}.wav",
    ),
    "vosk-tts": ({"metadata.csv": listed("wav/{id}.wav|3|{text}")}, "wav/{id}.wav"),
    "styles and durations": ({"list.csv": listed("{id}|{text}|calm|1.5|2024-01-02")}, "{id}.wav"),
    "XTTS": ({"metadata.csv": "audio_file|text|speaker_name\n" + listed("wavs/{id}.wav|{text}|anna")}, "wavs/{id}.wav"),
    "Common Voice": (
        {
            "validated.tsv": COMMON_VOICE + listed("cafe\t{id}.mp3\tbeef\t{text}\t\t2\ten", SAID),
            "train.tsv": COMMON_VOICE,
            "test.tsv": COMMON_VOICE,
        },
        "clips/{id}.mp3",
    ),
    "Hugging Face": ({"metadata.csv": "file_name,transcription\n" + listed('data/{id}.wav,"{text}"')}, "data/{id}.wav"),
    "NeMo": ({"manifest.json": NEMO}, "wavs/{id}.wav"),
    "NeMo, as jsonl": ({"manifest.jsonl": NEMO}, "wavs/{id}.wav"),
    "a JSON array": ({"list.json": f"[{','.join(NEMO.splitlines())}]"}, "wavs/{id}.wav"),
    "Kaldi": ({"wav.scp": listed("{id} wavs/{id}.flac"), "text": listed("{id} {text}"), "utt2spk": ""}, "wavs/{id}.flac"),
    "LibriSpeech": ({"84/121/84-121.trans.txt": listed("{id} {text}")}, "84/121/{id}.flac"),
    "LibriTTS": (
        {f"84/{id}.{form}.txt": text for id, text in zip(IDS, SENTENCES, strict=True) for form in ("original", "normalized")},
        "84/{id}.wav",
    ),
    "pairs": (
        {f"{hidden}{id}.txt": text for id, text in zip(IDS, SENTENCES, strict=True) for hidden in ("", "._")}
        | sounds("._{id}.wav"),
        "{id}.wav",
    ),
    "pairs of one word": ({f"{id}.lab": f"{text}\n" for id, text in zip(IDS, SENTENCES, strict=True)}, "{id}.WAV"),
    "pairs in two folders": ({f"txt/{id}.txt": text for id, text in zip(IDS, SENTENCES, strict=True)}, "wav/{id}.wav"),
    "VCTK": (
        {f"txt/p225/{id}.txt": text for id, text in zip(IDS, SENTENCES, strict=True)}
        | {"speaker-info.txt": "ID AGE\np225 23\n", "README.txt": "Read me."}
        | sounds("wav48_silence_trimmed/p225/{id}_mic2.flac"),
        "wav48_silence_trimmed/p225/{id}_mic1.flac",
    ),
    "Excel": ({"list.csv": "sep=;\r\nFile;Text\r\n" + listed('wavs/{id}.wav;"{text}"')}, "wavs/{id}.wav"),
    "Excel, sep alone": ({"list.csv": "sep=;\n" + listed("wavs/{id}.wav;{text}")}, "wavs/{id}.wav"),
    "Excel, Unicode text": ({"list.txt": ("path\ttext\r\n" + listed("{id}.wav\t{text}")).encode("utf-16")}, "wavs/{id}.wav"),
    "Excel, quoted tabs": ({"list.txt": listed('{id}.wav\t"{text}"')}, "wavs/{id}.wav"),
    "big-endian": ({"list.txt": b"\xfe\xff" + listed("{id}|{text}").encode("utf-16-be")}, "wavs/{id}.wav"),
    "commas without a header": ({"list.csv": listed('{id},"{text}"')}, "wavs/{id}.wav"),
    "tabs without a header": ({"list.tsv": listed("wavs/{id}.wav\t{text}")}, "wavs/{id}.wav"),
    "semicolons without a header": ({"list.csv": listed("{text};{id}.wav")}, "wavs/{id}.wav"),
    "a header of unknown names": ({"list.csv": "take;who;words\n" + listed("{id};anna;{text}")}, "wavs/{id}.wav"),
    "half of a header": ({"list.csv": "audio,words\n" + listed("wavs/{id}.wav,{text}")}, "wavs/{id}.wav"),
    "a Russian header": ({"list.csv": "Файл;Диктор;Текст\n" + listed("{id}.wav;anna;{text}")}, "{id}.wav"),
    "texts first": ({"list.txt": listed("{text}|wavs/{id}.wav")}, "wavs/{id}.wav"),
    "upper case on the disk": ({"metadata.csv": listed("{id}|{text}")}, "wavs/{id}.WAV"),
    "upper case in the list": ({"list.txt": listed("wavs/{id}.WAV|{text}")}, "wavs/{id}.Wav"),
    "converted since": ({"list.txt": listed("wavs/{id}.wav|{text}")}, "wavs/{id}.flac"),
    "beside the list": ({"metadata.csv": listed("{id}|{text}")}, "{id}.wav"),
    "in the folder of a day": ({"metadata.csv": listed("{id}|{text}")}, "takes/monday/{id}.ogg"),
    "Opus": ({"list.txt": listed("wavs/{id}.opus|{text}")}, "wavs/{id}.opus"),
    "M4A by id": ({"metadata.csv": listed("{id}|{text}")}, "wavs/{id}.m4a"),
    "macOS's hidden files": (
        {"list.txt": listed("{id}|{text}"), "._list.txt": b"\0\5\x16\7Mac OS X"} | sounds("wavs/._{id}.wav"),
        "wavs/{id}.wav",
    ),
}


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def spoken(manifest: Manifest, folder: Path) -> dict[str, str]:
    return {line.audio.relative_to(folder).as_posix(): line.text for line in manifest.lines}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_as_people_have_it_is_read(layout: str, tmp_path: Path) -> None:
    files, place = LAYOUTS[layout]
    manifest = read(write(tmp_path, sounds(place) | files))
    assert manifest.problems == ()
    assert spoken(manifest, tmp_path) == {
        place.format(id=id): text for id, text in zip(IDS, SAID if layout == "Common Voice" else SENTENCES, strict=True)
    }


@pytest.mark.parametrize("given", ["txt/p225", "wav48/p225", "txt", ""])
def test_one_speaker_of_vctk_can_be_given(given: str, tmp_path: Path) -> None:
    for speaker in ("p225", "p226"):
        write(tmp_path, sounds(f"wav48/{speaker}/{{id}}.wav"))
        write(tmp_path, {f"txt/{speaker}/{id}.txt": text for id, text in zip(IDS, SENTENCES, strict=True)})
    found = spoken(read(tmp_path / given), tmp_path)
    assert sorted(found.values()) == sorted(SENTENCES * (1 if "p225" in given else 2))
    assert all(name.startswith("wav48/p225/") for name in found) is ("p225" in given)


def test_several_books_are_read_together(tmp_path: Path) -> None:
    """M-AILABS: a folder for each book, in which the same ids may come again."""
    for book in ("by_book/female/anna/river", "by_book/female/anna/garden"):
        write(tmp_path, {f"{book}/metadata.csv": listed("{id}|{raw}|{text}") + "gone||\n", f"{book}/metadata_mls.json": "{}"})
        write(tmp_path, sounds(f"{book}/wavs/{{id}}.wav"))
    write(tmp_path, {"info.txt": "Read by Anna."})
    manifest = read(tmp_path)
    assert len(manifest.lines) == 2 * len(IDS)
    assert manifest.lines[0].id == "by_book/female/anna/garden/a-000"
    assert spoken(manifest, tmp_path)["by_book/female/anna/river/wavs/a-001.wav"] == SENTENCES[1]
    assert str(manifest.problems[1]).startswith("by_book/female/anna/river/metadata.csv, line 7 (by_book/")
    assert len(manifest.remarks) == 2
    assert manifest.remarks[0].startswith("2 lists are read: by_book/female/anna/garden/metadata.csv, ")


def test_the_text_column_is_named_with_three_examples(tmp_path: Path) -> None:
    write(tmp_path, {"list.txt": listed("wavs/{id}.wav|7|{text}|2.5")} | sounds("wavs/{id}.wav"))
    shown = ", ".join(f'"{text}"' for text in SENTENCES[:3])
    assert read(tmp_path).remarks == (f"texts: column 3 of 4 of list.txt, such as {shown}",)


UNDECIDED = {
    "a translation": listed("{id}|{text}|Ganz andere Worte als im Original, Nummer {n}, siehe unten"),
    "phonemes": listed("{id}|ðə ɹɪvə ɹʌnz bɪhaɪnd ði əʊld haʊs {n}|{text}"),
    "no letters": listed("{id}|{n}|1{n}"),
}


@pytest.mark.parametrize("kind", UNDECIDED)
def test_two_texts_that_are_not_the_same_are_shown_and_refused(kind: str, tmp_path: Path) -> None:
    write(tmp_path, {"metadata.csv": UNDECIDED[kind]} | sounds("wavs/{id}.wav"))
    with pytest.raises(CorpusError, match=r"cannot tell which column of metadata.csv .* --set data.columns=1,2") as caught:
        read(tmp_path)
    assert str(caught.value).splitlines()[1] == '  column 1 of 3: "a-000", "a-001", "a-002"'
    expected = [line.split("|")[1] for line in UNDECIDED[kind].splitlines()]
    assert [line.text for line in read(tmp_path, columns="1,2").lines] == expected


@pytest.mark.parametrize("columns", ["take,words", "2,3", " take , 3 "])
def test_columns_can_be_told_by_name_or_number(columns: str, tmp_path: Path) -> None:
    write(tmp_path, {"list.csv": "text;take;words\n" + listed("wrong {n};{id};{text}")} | sounds("wavs/{id}.wav"))
    assert [line.text for line in read(tmp_path, columns).lines] == SENTENCES


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("1", "need two columns, the sound's and the text's, .* got '1': write for example 1,3"),
        ("1,", "need two columns"),
        ("2,2", "need two columns"),
        ("1,4", "list.csv has no column '4': it has the columns take, who, words"),
        ("take,spoken", "no column 'spoken'"),
        ("0,1", "no column '0'"),
    ],
)
def test_columns_that_are_not_there_are_refused(columns: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {"list.csv": "take;who;words\n" + listed("{id};anna;{text}")} | sounds("wavs/{id}.wav"))
    with pytest.raises(BadInput, match=reason):
        read(tmp_path, columns)


def test_a_name_that_several_files_have_is_no_guess(tmp_path: Path) -> None:
    write(tmp_path, {"list.txt": listed("{id}|{text}")} | sounds("monday/{id}.wav") | {"sunday/a-002.wav": b""})
    manifest = read(tmp_path)
    assert [(problem.line, problem.reason) for problem in manifest.problems] == [(3, "several sounds")]
    assert "such as monday/a-002.wav and sunday/a-002.wav: write the path" in manifest.problems[0].detail


def test_a_path_is_not_taken_for_another_one(tmp_path: Path) -> None:
    """The recording of chapter 2 is missing: that of chapter 1 with the same name does not take its place."""
    write(tmp_path, sounds("1/{id}.wav") | {"list.txt": listed("1/{id}.wav|{text}") + "2/a-000.wav|Another text.\n"})
    manifest = read(tmp_path)
    assert manifest.lines[-1].audio == tmp_path / "2/a-000.wav"
    assert not manifest.lines[-1].audio.exists()
    (tmp_path / "2").mkdir()
    write(tmp_path, {"wavs/b-000.wav": b"", "list.txt": listed("1/{id}.wav|{text}") + "2/b-000.wav|Another text.\n"})
    assert read(tmp_path).lines[-1].audio == tmp_path / "2/b-000.wav", "this folder is no remainder of another machine"


CAUSES = {
    "no sound": (
        {"list.txt": listed("wavs/{id}.wav|{text}")},
        "none of the 6 sounds .* exists, .* holds 0 sounds: put the list",
    ),
    "other sounds": (
        {"list.txt": listed("wavs/{id}.wav|{text}"), "b/1.wav": b"", "b/2.wav": b""},
        "none of the 6 sounds .*; .* holds 2 sounds, such as .*b/1.wav: correct their names",
    ),
    "the folder of the sounds": ({"metadata.csv": "", "wavs/1.wav": b""}, "holds none, but 1 sounds: give the folder above"),
    "commands": (
        {"wav.scp": "a sph2pipe a.sph |\n", "text": "a A.\n"},
        "holds commands, such as 'sph2pipe a.sph |', which are not",
    ),
    "segments": ({"wav.scp": "a a.wav\n", "text": "a A.\n", "segments": ""}, "cuts its recordings by the file segments"),
    "several lists": ({"a.txt": "1.wav|One.\n", "b.txt": "1.wav|One.\n", "1.wav": b""}, r"holds 2 lists \(a.txt, b.txt\)"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_one_cause_for_all_lines_is_said_once(cause: str, tmp_path: Path) -> None:
    files, reason = CAUSES[cause]
    given = write(tmp_path, files) / ("wavs" if cause == "the folder of the sounds" else "")
    with pytest.raises(CorpusError, match=reason) as caught:
        read(given)
    assert len(str(caught.value).splitlines()) == 1
