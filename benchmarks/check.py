"""Damage copies of a corpus in known ways, and print precision and recall of what `tacotune check` names.

Also with --clips: a corpus of short tones, to measure time and memory. Nothing is written beside the corpus: a copy is a list
of absolute paths.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from model.data.corpus import read_texts
from model.data.limits import Limits
from model.text.languages import LANGUAGES, find_language
from objective.checking.findings import BY_LINE
from objective.checking.look import Listen, look
from objective.checking.report import Report
from objective.settings.resolve import resolve

Texts = list[str]
SWAPPED, CUT, FOREIGN = 0.1, 0.1, 0.05  # shares of the lines


def shifted(texts: Texts, draw: random.Random) -> tuple[Texts, str | set[int]]:
    """Give each line the text of the one above."""
    return [texts[-1], *texts[:-1]], "shifted"


def shuffled(texts: Texts, draw: random.Random) -> tuple[Texts, str | set[int]]:
    """Shuffle all texts."""
    return draw.sample(texts, len(texts)), "shuffled"


def swapped(texts: Texts, draw: random.Random) -> tuple[Texts, str | set[int]]:
    """Pass the texts of some lines around."""
    chosen = _chosen(texts, SWAPPED, draw)
    passed = dict(zip(chosen, [*chosen[1:], chosen[0]], strict=True))
    return [texts[passed.get(place, place)] for place in range(len(texts))], set(chosen)


def halved(texts: Texts, draw: random.Random) -> tuple[Texts, str | set[int]]:
    """Cut half of the words of some texts."""
    chosen = set(_chosen(texts, CUT, draw))
    return [_half(text) if place in chosen else text for place, text in enumerate(texts)], chosen


def foreign(texts: Texts, draw: random.Random, code: str = "en") -> tuple[Texts, str | set[int]]:
    """Replace some texts by sentences of another language."""
    chosen = _chosen(texts, FOREIGN, draw)
    other = next(language for language in LANGUAGES.values() if language.code != code)
    sentences = [line for line in other.sentences.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = dict(zip(chosen, draw.sample(sentences, len(chosen)), strict=True))
    return [found.get(place, text) for place, text in enumerate(texts)], set(chosen)


def doubled(texts: Texts, draw: random.Random) -> tuple[Texts, str | set[int]]:
    """Write the text of one line twice: one whose double the reader's own limits accept."""
    short = [place for place, text in enumerate(texts) if len(text) < Limits().max_symbols / 2 - 10]
    place = draw.choice(short)
    return [f"{text} {text}" if at == place else text for at, text in enumerate(texts)], {place}


DAMAGES: dict[str, Callable[..., tuple[Texts, str | set[int]]]] = {
    "none": lambda texts, draw: (texts, set()),
    "shifted": shifted,
    "shuffled": shuffled,
    "swapped": swapped,
    "halved": halved,
    "foreign": foreign,
    "doubled": doubled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a good corpus")
    parser.add_argument("--language", default="en")
    parser.add_argument("--only", nargs="*", choices=DAMAGES, default=list(DAMAGES))
    parser.add_argument("--listen", nargs="*", choices=DAMAGES, default=[], help="damages with a listener")
    parser.add_argument("--kframes", type=float, default=2_500.0, help="of the listener, in each half")
    parser.add_argument("--clips", type=int, default=0, help="generate a corpus of so many tones instead")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if parsed.clips:
            _tones(Path(folder), parsed.clips)
            _sized(_looked(Path(folder) / "metadata.csv", "en", parsed.out, Listen(False, 0, 0)))
            return
        print("| damage | lines | named | precision | recall | findings | seconds |\n|---|---|---|---|---|---|---|")
        for name in parsed.only:
            listen = Listen(name in parsed.listen, parsed.kframes, 3600.0)
            print(_row(name, parsed, Path(folder), listen), flush=True)


def _row(name: str, parsed: argparse.Namespace, folder: Path, listen: Listen) -> str:
    manifest = read_texts(parsed.data, find_language(parsed.language), Limits()).manifest
    texts = [line.text for line in manifest.lines]
    more = {"code": parsed.language} if name == "foreign" else {}
    damaged, wrong = DAMAGES[name](texts, random.Random(1), **more)
    path = folder / f"{name}.csv"
    rows = (f"{line.audio.absolute()}|{text}\n" for line, text in zip(manifest.lines, damaged, strict=True))
    path.write_text("".join(rows), encoding="utf-8")
    report = _looked(path, parsed.language, parsed.out, listen)
    kinds = ", ".join(
        f"{one.kind} {len(one.rows) or ''}".strip() for one in report.findings if one.stops or one.kind in BY_LINE
    )
    if isinstance(wrong, str):
        right = wrong == report.lengths
        return f"| {name} | all | {report.lengths} | {right:d} | {right:d} | {kinds} | {report.seconds:.0f} |"
    named = {row.line - 1 for one in report.findings if one.kind in BY_LINE for row in one.rows}
    named |= {problem.line - 1 for problem in report.problems}
    hits = len(named & wrong)
    precision, recall = (f"{hits / len(of):.2f}" if of else "-" for of in (named, wrong))
    return f"| {name} | {len(wrong)} | {len(named)} | {precision} | {recall} | {kinds} | {report.seconds:.0f} |"


def _looked(path: Path, language: str, out: Path, listen: Listen) -> Report:
    flags = {"data.path": str(path), "data.language": language, "out": str(out), "quiet": True}
    return look(resolve(None, [], flags, gpu=False), torch.device("cpu"), listen, network=False)


def _chosen(texts: Texts, share: float, draw: random.Random) -> list[int]:
    return draw.sample(range(len(texts)), max(2, int(share * len(texts))))


def _half(text: str) -> str:
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


def _tones(folder: Path, clips: int) -> None:
    """Write short tones with texts of their length."""
    random_numbers = np.random.default_rng(0)
    (folder / "wavs").mkdir()
    rows = []
    for number in range(clips):
        words = int(random_numbers.integers(2, 6))
        seconds = 0.3 * words * random_numbers.uniform(0.9, 1.1)
        time_s = np.arange(int(22_050 * seconds)) / 22_050
        wave = 0.3 * np.sin(2 * np.pi * random_numbers.uniform(100, 400) * time_s)
        soundfile.write(folder / f"wavs/{number}.wav", wave, 22_050)
        rows.append(f"wavs/{number}.wav|{' '.join(random_numbers.choice(['tone', 'hums', 'long', 'hear'], words))}.\n")
    (folder / "metadata.csv").write_text("".join(rows))


def _sized(report: Report) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{len(report.rows)} clips, {report.hours:.1f} h: {report.seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU s, ",
        end="",
    )
    print(f"{used.ru_maxrss / 1024:.0f} MiB; {report.lengths}; {[one.kind for one in report.findings]}; at {time.ctime()}")


if __name__ == "__main__":
    main()
