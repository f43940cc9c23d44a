"""Compare letters and phonemes as the input of a network: what the listener hears wrong, over the frames trained on.

    python -m benchmarks.input [--language ru] [--corpus general] [--stress silero] [--seeds 3] [--kframes 2000] [--json OUT]

Both inputs have the same recordings, the same held-out sentences, the same recipe and listeners trained from the same seed.
Prints a line for each report and a table in Markdown: the mean over the seeds, and the seeds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from model.errors import BadInput
from model.trainer import Trainer
from objective.settings.resolve import resolve
from objective.settings.schema import Settings
from objective.trial.corpus import load_data, load_listener, speech_of
from objective.trial.judge import Judge
from search_spaces.recipes import load_recipes

INPUTS = ("letters", "phonemes")
CPU = torch.device("cpu")


def settings_of(parsed: argparse.Namespace, input: str) -> Settings:
    """Return the settings of one input: those of the demo, and what the command says."""
    assignments = [f"data.input={input}", f"data.stress={parsed.stress}", f"data.demo={parsed.corpus}", *parsed.set]
    utterances = {"matrix": 360, "general": 288}[parsed.corpus]
    given = {"profile": "demo", "device": "cpu", "out": str(parsed.out), "data.language": parsed.language}
    start = {"data.demo_utterances": utterances}
    return resolve(None, assignments, given | {"budget.kframes": parsed.kframes}, gpu=False, start=start)


def measure(settings: Settings, reports: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Train a network for each seed, and yield the figures of each report."""
    corpus = load_data(settings)
    speech = speech_of(corpus)
    ears, config = load_listener(settings, corpus, speech, CPU), settings.config(load_recipes()["tacotune"])
    hop_s = config.audio.hop_samples / config.audio.rate_hz
    judge = Judge(corpus, speech, ears, hop_s, settings.health.targets.mumbled, CPU, len(speech.validation))
    print(f"{settings.data.input}: {len(speech.symbols)} symbols, {len(speech.validation)} sentences; {ears.note}", flush=True)
    for seed in range(seeds):
        trainer, began = Trainer(config, speech, settings.budget.total_kframes, reports, CPU, seed=seed), time.perf_counter()
        for report in trainer.reports():
            _, spoken = judge(trainer.network)
            yield {
                "input": settings.data.input,
                "seed": seed,
                "kframes": round(trainer.cursor.frames / 1_000),
                "val_loss": report.val_loss,
                "errors": spoken and spoken.errors,
                "recorded_errors": spoken and spoken.recorded_errors,
                "faults": spoken and spoken.failures,
                "seconds": time.perf_counter() - began,
            }


def table(rows: list[dict[str, Any]], reports: int, seeds: int) -> Iterator[str]:
    """Yield the table: a line for each report."""
    yield f"| kframes | {' | '.join(f'{input}: heard wrong | seeds | faults' for input in INPUTS)} |"
    yield "|---" * (1 + 3 * len(INPUTS)) + "|"
    for place in range(reports):
        cells, kframes = [], 0
        for input in INPUTS:
            own = [row for row in rows if row["input"] == input]
            now = [own[seed * reports + place] for seed in range(seeds)]
            kframes = now[0]["kframes"]
            errors = [row["errors"] for row in now]
            faults = [1.0 if row["faults"] is None else row["faults"] for row in now]
            known = [error for error in errors if error is not None]
            shown = " ".join("-" if error is None else f"{error:.3f}" for error in errors)
            cells += [f"{mean(known):.3f}" if len(known) == len(errors) else "-", shown, f"{mean(faults):.2f}"]
        yield f"| {kframes} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", choices=("en", "ru"), default="en")
    parser.add_argument("--corpus", choices=("matrix", "general"), default="matrix", help="limited domain, or any sentences")
    parser.add_argument("--stress", choices=("none", "silero"), default="none", help="marks for both inputs, Russian only")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--kframes", type=int, default=2_000, metavar="N", help="of each training (default 2000)")
    parser.add_argument("--reports", type=int, default=8, metavar="N", help="measurements in each training (default 8)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a further setting")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    parsed = parser.parse_args()
    if min(parsed.seeds, parsed.reports) < 1 or parsed.reports > parsed.kframes:
        parser.error("need at least one seed, one report, and as many kframes as reports")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    try:
        for input in INPUTS:
            for row in measure(settings_of(parsed, input), parsed.reports, parsed.seeds):
                rows.append(row)
                heard = "-" if row["errors"] is None else f"{row['errors']:.3f}"
                done = f"{len(rows)} of {len(INPUTS) * parsed.seeds * parsed.reports}"
                state = f"seed {row['seed']}, {row['kframes']} kframes, heard wrong {heard}, {row['seconds']:.0f} s"
                print(f"{done}: {row['input']}, {state}", file=sys.stderr, flush=True)
                if parsed.json is not None:  # each time: what was measured before a Ctrl-C stays
                    parsed.json.write_text(json.dumps({"command": sys.argv[1:], "rows": rows}, indent=1), encoding="utf-8")
    except BadInput as why:
        sys.exit(str(why))
    print("\n".join(table(rows, parsed.reports, parsed.seeds)))


if __name__ == "__main__":
    main()
