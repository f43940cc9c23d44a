"""Lists of every accepted kind are read line by line. The tests need no sounds, only files that exist."""

import unicodedata
from pathlib import Path

import pytest

from model.data.manifests import Manifest, read
from model.data.problems import CorpusError


def corpus(
    folder: Path, content: str | bytes, name: str = "metadata.csv", sounds: tuple[str, ...] = ("wavs/1.wav", "wavs/2.wav")
) -> Path:
    for sound in sounds:
        (folder / sound).parent.mkdir(parents=True, exist_ok=True)
        (folder / sound).touch()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def lines(manifest: Manifest) -> list[tuple[int, str, str]]:
    return [(line.number, line.id, line.text) for line in manifest.lines]


def faults(manifest: Manifest) -> list[tuple[int, str]]:
    return [(problem.line, problem.reason) for problem in manifest.problems]


TWO = [(1, "1", "One."), (2, "2", "Two.")]
TWO_PATHS = [(1, "wavs/1", "One."), (2, "wavs/2", "Two.")]
TWO_UNDER_A_HEADER = [(2, "wavs/1", "One."), (3, "wavs/2", "Two.")]


LISTS = {
    "ljspeech": ("1|1.|One.\n2|2.|Two.\n", TWO),
    "two columns": ("1|One.|\n2|Two.\n", TWO),
    "dos": ("1|One.\r\n2|Two.", TWO),
    "old mac": ("1|One.\r2|Two.\r", TWO),
    "blank lines": ("1|One.\n\n  \n2|Two.\n", [(1, "1", "One."), (4, "2", "Two.")]),
    "literal quotes": ('1|"One," he said.\n2|Two "2".\n', [(1, "1", '"One," he said.'), (2, "2", 'Two "2".')]),
    "exotic line breaks": ("1|One\x85\u2028one.\n2|Two.\n", [(1, "1", "One\x85\u2028one."), (2, "2", "Two.")]),
    "file list": ("wavs/1.wav|One.\nwavs/2.wav|Two.\n", TWO_PATHS),
    "names in wavs": ("1.wav|One.\n2.wav|Two.\n", TWO),
    "windows paths": ("wavs\\1.wav|One.\n./wavs/2.wav|Two.\n", TWO_PATHS),
    "csv": ("path,text\nwavs/1.wav,One.\nwavs/2.wav,Two.\n", TWO_UNDER_A_HEADER),
    "semicolons": ("Text;Speaker;AUDIO\nOne.;0;wavs/1.wav\nTwo.;0;wavs/2.wav\n", TWO_UNDER_A_HEADER),
    "tabs": ("path\tsentence\nwavs/1.wav\tOne.\n\nwavs/2.wav\tTwo.\n", [(2, "wavs/1", "One."), (4, "wavs/2", "Two.")]),
    "pipes under a header": ("audio_file|text\nwavs/1.wav|One.\nwavs/2.wav|Two.\n", TWO_UNDER_A_HEADER),
    "their quotes": ('file|text\n1.wav|"One," he said.\n2.wav|Two.\n', [(2, "1", '"One," he said.'), (3, "2", "Two.")]),
    "normalised text": ("file,text,normalized_text\n1.wav,1.,One.\n2.wav,2.,Two.\n", [(2, "1", "One."), (3, "2", "Two.")]),
    "quoted csv": (
        'path,text\n"wavs/1.wav","One, ""one""\nand one."\nwavs/2.wav,Two.\n',
        [(2, "wavs/1", 'One, "one"\nand one.'), (4, "wavs/2", "Two.")],
    ),
}


@pytest.mark.parametrize(("content", "expected"), LISTS.values(), ids=LISTS)
def test_every_accepted_list_gives_its_lines(content: str, expected: list[tuple[int, str, str]], tmp_path: Path) -> None:
    manifest = read(corpus(tmp_path, content))
    assert lines(manifest) == expected
    assert [line.audio for line in manifest.lines] == [tmp_path / "wavs/1.wav", tmp_path / "wavs/2.wav"]
    assert manifest.problems == ()
    (remark,) = manifest.remarks
    assert remark.startswith("texts: column ")
    assert all(f'"{text}"' in remark for _, _, text in expected)


def test_a_list_may_be_given_directly_and_be_below_its_paths(tmp_path: Path) -> None:
    corpus(tmp_path, "wavs/1.wav|One.\nwavs/2.wav|Two.\n", name="filelists/train/list.txt")
    manifest = read(tmp_path / "filelists/train/list.txt")
    assert [line.audio for line in manifest.lines] == [tmp_path / "wavs/1.wav", tmp_path / "wavs/2.wav"]


def test_absolute_paths_and_a_relative_folder_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path / "sounds", "")
    corpus(tmp_path / "lists", f"{tmp_path}/sounds/wavs/1.wav|One.\n", name="list.txt", sounds=())
    monkeypatch.chdir(tmp_path)
    assert read(Path("lists")).lines[0].audio == tmp_path / "sounds/wavs/1.wav"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_and_texts_are_unicode_in_either_form(form: str, tmp_path: Path) -> None:
    name = unicodedata.normalize(form, "мой ёж")
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "мой ёж")
    manifest = read(corpus(tmp_path, f"{other}|Мо{unicodedata.normalize(form, 'й')} ёж. \n", sounds=(f"wavs/{name}.wav",)))
    assert lines(manifest) == [(1, "мой ёж", "Мой ёж.")]
    assert manifest.lines[0].audio.is_file()


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_an_id_finds_any_kind_of_sound(suffix: str, tmp_path: Path) -> None:
    manifest = read(corpus(tmp_path, "1|One.\n", sounds=(f"wavs/1.{suffix}",)))
    assert manifest.lines[0].audio == tmp_path / f"wavs/1.{suffix}"


@pytest.mark.parametrize("content", ["1|One.\n2|Two.\n", "path,text\n1.wav,One.\n2.wav,Two.\n"], ids=["pipes", "csv"])
def test_a_byte_order_mark_at_the_start_is_skipped_and_remarked(content: str, tmp_path: Path) -> None:
    manifest = read(corpus(tmp_path, content.encode("utf-8-sig")))
    assert [line.id for line in manifest.lines] == ["1", "2"]
    assert manifest.remarks[0] == "metadata.csv starts with a byte order mark, which was skipped"


def test_columns_after_a_file_and_its_text_are_ignored(tmp_path: Path) -> None:
    manifest = read(corpus(tmp_path, "wavs/1.wav|One.|0\nwavs/2.wav|Two.|7|en\n"))
    assert lines(manifest) == TWO_PATHS
    assert manifest.remarks == ('texts: column 2 of 3 of metadata.csv, such as "One.", "Two."',)


def test_metadata_next_to_wavs_is_preferred_and_remarked(tmp_path: Path) -> None:
    (corpus(tmp_path, "1|One.\n") / "notes.txt").touch()
    assert read(tmp_path).remarks[0] == f"metadata.csv was chosen from metadata.csv, notes.txt in {tmp_path}"


BAD_LINES = {
    "tab": ("1|One.\n2\tTwo.\n", [(2, "wrong delimiter")]),
    "columns": ("1|One.\n2|Two|2.|two\n", [(2, "wrong columns")]),
    "empty text": ("1|One.\n2|  \n", [(2, "empty text")]),
    "no name": ("1|One.\n|Two.\n", [(2, "no file name")]),
    "duplicate id": ("1|One.\n1|Two.\n", [(2, "duplicate id")]),
    "same file": ("1|One.\nwavs/1.wav|Two.\n", [(2, "same sound twice")]),
    "inner bom": ("1|One.\n\ufeff2|Two.\n", [(2, "byte order mark")]),
    "cp1251 text": (b"1|One.\n2|\xc4\xe2\xe0.\n", [(2, "not UTF-8")]),
    "cp1251 name": (b"1|One.\n\xe4\xe2\xe0|Two.\n", [(2, "not UTF-8")]),
    "bare comma": ("path,text\n1.wav,One.\n2.wav,Two, two.\n", [(3, "wrong columns")]),
    "other delimiter": ("path,text\n1.wav,One.\n2.wav;Two.\n", [(3, "wrong columns")]),
    "open quote to the end": (
        'path,text\n1.wav,One.\n2.wav,"Two\n3.wav,Three.\n',
        [(3, "wrong quoting"), (4, "wrong quoting")],
    ),
    "open quote to the next": (
        'path,text\n2.wav,"Two\n3.wav,"Three."\n1.wav,One.\n',
        [(2, "wrong quoting"), (3, "wrong quoting")],
    ),
}


@pytest.mark.parametrize(("content", "expected"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_costs_no_other_line(content: str | bytes, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    manifest = read(corpus(tmp_path, content))
    assert faults(manifest) == expected
    assert [line.id for line in manifest.lines] == ["1"]
    str(manifest.problems[0]).encode()  # it can be printed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no line"),
        ("path,text\n", "holds no line"),
        ("1|Один.\n".encode("utf-16-le"), "is UTF-16 without a byte order mark: save it as UTF-8"),
        ("1|Один.\n".encode("utf-16-be"), "iconv -f utf-16be"),
        ("1|Один.\n".encode("utf-16")[:-1], "is UTF-16 with damaged bytes"),
        (b"RIFF\x24\0\0\0WAVE", "zero bytes, so it is no text"),
    ],
    ids=["nothing", "header alone", "utf-16-le", "utf-16-be", "half a utf-16", "a recording"],
)
def test_a_file_that_is_no_list_is_refused_with_its_reason(content: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=reason):
        read(corpus(tmp_path, content))


def test_a_json_list_of_texts_alone_says_what_is_missing(tmp_path: Path) -> None:
    content = '[{"text": "hello there"}, {"text": "bye you"}]'
    assert faults(read(corpus(tmp_path, content, "list.json"))) == [(1, "wrong columns"), (2, "wrong columns")]


def test_a_folder_without_exactly_one_list_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no such folder or list: /.*gone"):
        read(tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"need a list of recordings .* which is empty"):
        read(tmp_path)
    (tmp_path / "1.wav").touch()
    with pytest.raises(CorpusError, match=r"need a list of recordings .* which holds none"):
        read(tmp_path)
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.TSV").touch()
    with pytest.raises(CorpusError, match=r"holds 2 lists \(a.txt, b.TSV\): give the one to read"):
        read(tmp_path)
