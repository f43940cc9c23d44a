"""Record whole learning curves, sick ones included: `python -m objective.record --trials 128 --workers 2 --archive FILE`.

Trial k is a random point of a wide space, trained to the end of its budget with no pruner, and depends on the seed and k alone.
Every trial is a file of its own as soon as it is finished, so a recording that was stopped goes on where it was; the archive
is those files in order, one JSON object a line:

    {"k": 0, "held_out": false, "params": {...}, "seconds": 41.2, "budget_kframes": 400.0,
     "points": [{"kframes": 16.667, "val_loss": 1.2, ...}, ...],
     "end": {"premature_rate": 0.0, "overrun_rate": 0.2, "alignment_score": 0.4, "mcd_db": 11.0},
     "kept": {"kframes": 383.33, "premature_rate": 0.0, ...}}

`end` is how the network spoke freely at the end, `kept` how the snapshot spoke that a study would have kept, which is its best
(objective/trial/score.py). The later half of the first --trials is held out, or what --held-out-from says: levels are chosen on
the others, and proved on these. A missing value is null.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.data.problems import CorpusError
from model.files import atomic_write
from model.report import Report
from objective.settings.resolve import absent, resolve
from objective.settings.schema import Settings, SettingsError


def record(k: int, settings: Settings, context: tuple[Any, ...]) -> dict[str, Any]:
    """Train trial k to the end; one line of the archive."""
    from model.trainer import Trainer
    from model.warmstart import warm_start
    from objective.search.worker import TRAINER, seed
    from objective.trial.evaluation import sentences, speak
    from objective.trial.score import better

    space, corpus, speech, device, pretrained = context
    params = space.sample(random.Random(f"{settings.study.seed} {k}"))
    budget, targets = settings.budget, settings.health.targets
    trainer = Trainer(
        settings.config(params), speech, budget.kframes, budget.reports, device, seed=seed(settings.study.seed, k, TRAINER)
    )
    if pretrained is not None:
        warm_start(trainer.network, speech.symbols, pretrained)
    reports: list[Report] = []
    best, weights = None, {}
    for report in trainer.reports():
        reports.append(report)
        if better(report, best, targets):
            best, weights = report, {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    asked = sentences(corpus, speech)
    _, end = speak(trainer.network, asked, device)
    kept = None
    if best is not None:
        trainer.network.load_state_dict(weights)
        _, spoken = speak(trainer.network, asked, device)
        kept = spoken and {"kframes": best.kframes} | asdict(spoken)
    return {
        "k": k,
        "params": params,
        "seconds": trainer.cursor.seconds,
        "budget_kframes": float(budget.kframes),
        "points": [_point(report) for report in reports],
        "end": end and asdict(end),
        "kept": kept,
    }


def _point(report: Report) -> dict[str, Any]:
    from pruners.health_record import point

    more = {"order": report.health.order, "stop_error": report.health.stop_error, "clipped": report.gradients.clipped}
    trained = {f"train_{name}": amount for name, amount in asdict(report.train_health).items()}
    return point(report) | asdict(report.validation) | more | trained


def work(settings: Settings, ks: Sequence[int], folder: Path) -> None:
    """Records the trials of `ks` that have no file yet."""
    import torch

    from objective.settings.device import device_of
    from objective.trial.corpus import load_data, load_pretrained, speech_of
    from search_spaces.space import load

    if settings.threads:
        torch.set_num_threads(settings.threads)
    pretrained, corpus = load_pretrained(settings), load_data(settings)
    context = load(settings.study.space, settings.config()), corpus, speech_of(corpus), device_of(settings.device), pretrained
    for k in ks:
        path = file_of(folder, k)
        if path.exists():
            continue
        line = record(k, settings, context)
        with atomic_write(path) as part:
            part.write_text(json.dumps(_rounded(line)), encoding="utf-8")
        last = line["points"][-1]
        shown = {name: last[name] for name in ("val_loss", "diagonality", "alignment_score", "gate_accuracy")}
        print(f"trial {k}: {line['seconds']:.0f} s, {json.dumps(_rounded(shown))}", flush=True)


def file_of(folder: Path, k: int) -> Path:
    return folder / f"curve-{k:05d}.json"


def _rounded(value: Any) -> Any:
    """Five significant digits: curves that are read again, not resumed."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128, help="curves in the archive (default 128)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--archive", type=Path, default=Path("runs/curves.jsonl"), help="the file to write")
    parser.add_argument("--held-out-from", type=int, default=None, metavar="K", help="trials held out (default the later half)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of corpora and caches (default runs)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    try:
        return run(parsed, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
    except (SettingsError, CorpusError) as why:
        print(why, file=sys.stderr)
        return 2
    except OSError as why:
        print(f"the machine failed: {why}: mend that, the same command goes on", file=sys.stderr)
        return 1


def run(parsed: argparse.Namespace, words: list[str]) -> int:
    """One worker's part, or all of it. Raises SettingsError, CorpusError, OSError and KeyboardInterrupt."""
    from objective.trial.corpus import load_data

    assignments = ["profile=demo", "device=cpu", "study.space=record", *parsed.set]
    settings = resolve(None, assignments, {"out": parsed.out}, gpu=False, check=absent)
    if parsed.workers < 1 or parsed.trials < 1:
        raise SettingsError([f"need --trials and --workers >= 1, got {parsed.trials} and {parsed.workers}"])
    folder = parsed.archive.with_suffix(".curves")
    folder.mkdir(parents=True, exist_ok=True)
    if parsed.worker is not None:
        work(settings, range(parsed.worker, parsed.trials, parsed.workers), folder)
        return 0
    first = _held_out_from(folder, settings, parsed)
    load_data(settings)  # once, before everybody does
    line = [sys.executable, "-m", "objective.record", *words]
    workers = [subprocess.Popen([*line, "--worker", str(number)]) for number in range(parsed.workers)]
    try:
        codes = [worker.wait() for worker in workers]
    except KeyboardInterrupt:
        for worker in workers:  # a terminal tells them, too; whoever signals this process alone does not
            worker.terminate()
            worker.wait()
        raise
    if any(codes):
        print(f"{sum(map(bool, codes))} of {len(codes)} workers failed: the same command goes on", file=sys.stderr)
        return 1
    lines = [json.loads(file_of(folder, k).read_text(encoding="utf-8")) for k in range(parsed.trials)]
    with atomic_write(parsed.archive) as part:
        marked = (json.dumps({**line, "held_out": line["k"] >= first}) + "\n" for line in lines)
        part.write_text("".join(marked), encoding="utf-8")
    print(f"{parsed.trials} curves in {parsed.archive}")
    return 0


def _held_out_from(folder: Path, settings: Settings, parsed: argparse.Namespace) -> int:
    """The first trial that is held out. It stays what it was at first, and so must the settings: curves of two kinds are no
    archive. SettingsError where they differ."""
    known = folder / "settings.json"
    here = {name: value for name, value in settings.dump().items() if name not in ("out", "threads", "quiet")}
    first = parsed.trials // 2
    if known.exists():
        before = json.loads(known.read_text(encoding="utf-8"))
        changed = [name for name in here if before["settings"].get(name) != here[name]]
        if changed:
            raise SettingsError([f"{folder} was recorded with other settings ({', '.join(changed)}): choose another --archive"])
        first = before["held_out_from"]
    if parsed.held_out_from is not None:
        first = parsed.held_out_from
    with atomic_write(known) as part:
        part.write_text(json.dumps({"held_out_from": first, "settings": here}), encoding="utf-8")
    return int(first)


if __name__ == "__main__":
    sys.exit(main())
