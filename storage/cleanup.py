"""Delete the snapshots that a study no longer needs: `python -m storage.cleanup --study NAME`; --dry-run only lists them.

Never what a trial uses that runs or is to go on (storage/retention.py). Exit codes: 0 done, 1 the machine failed, 2 bad input.
Nothing heavy is imported before it is needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from storage.retention import File, Plan


class CleanupRefused(ValueError):
    """What was typed cannot be meant, as a sentence."""


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    from storage.errors import FAILURES, StorageError, database_failure

    try:
        return run(parsed)
    except (StorageError, CleanupRefused) as why:
        print(why, file=sys.stderr)
        return 2
    except (OSError, *FAILURES) as why:
        failure = str(why) if isinstance(why, OSError) else database_failure(why)
        if failure is None:
            raise
        print(f"the machine failed: {failure}: mend that and type it again", file=sys.stderr)
        return 1


def run(parsed: argparse.Namespace) -> int:
    """Plan or tidy, and print what that was. Raises CleanupRefused, StorageError, and what the machine does."""
    from storage.lookup import existing_study
    from storage.paths import url_of
    from storage.retention import Keep, removable, tidy

    try:
        keep = Keep.of(parsed.top_k, parsed.quota_gb, parsed.keep_pruned)
    except ValueError as why:
        raise CleanupRefused(str(why)) from why
    study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
    folder = parsed.out / parsed.study
    if not folder.is_dir():
        raise CleanupRefused(f"need the folder of the study, got {folder}, which is none: say --out, the folder of all studies")
    trials = study.get_trials(deepcopy=False)
    plan = removable(trials, folder, keep) if parsed.dry_run else tidy(trials, folder, keep)
    print("\n".join(_told(plan, trials, parsed.dry_run)))
    return 0


def _told(plan: "Plan", trials: "Sequence[FrozenTrial]", dry: bool) -> list[str]:
    """A table of what goes, its sum, and what stays by its reasons."""
    from storage.retention import size

    rows = [("trial", "state", "file", "size", "why")]
    for file in plan.removals:
        rows.append((str(file.number), trials[file.number].state.name, file.path.name, size(file.bytes), file.why))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    if plan.removals:
        for number, state, name, amount, why in rows:
            left = f"{number:>{widths[0]}}  {state:<{widths[1]}}  {name:<{widths[2]}}  {amount:>{widths[3]}}"
            lines.append(f"{left}  {why}")
    went = "would be deleted: type it without --dry-run" if dry else "deleted"
    lines.append(f"{_sum(plan.removals)} {went}")
    lines.append(f"{_sum(plan.kept)} kept{':' if plan.kept else ''}")
    for why in dict.fromkeys(file.why for file in plan.kept):
        lines.append(f"  {_sum([file for file in plan.kept if file.why == why])}: {why}")
    return [*lines, plan.note] if plan.note else lines


def _sum(files: "Sequence[File]") -> str:
    from storage.retention import size

    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size(sum(file.bytes for file in files))}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m storage.cleanup",
        description="Delete the snapshots that a study does not need. Never touches what runs or is to go on.",
        allow_abbrev=False,
    )
    parser.add_argument("--study", default="tacotron2", metavar="NAME", help="name of the study (default tacotron2)")
    parser.add_argument("--storage", metavar="URL", help="its database (default: the SQLite file tacotune.db under --out)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the folder of all studies (default runs)")
    parser.add_argument("--top-k", type=int, metavar="K", help="keep the weights of the K best trials (default: of all)")
    parser.add_argument("--quota-gb", type=float, metavar="GB", help="delete the worst weights until all snapshots fit")
    parser.add_argument("--keep-pruned", action="store_true", help="keep the weights of pruned trials, too")
    parser.add_argument("--dry-run", action="store_true", help="delete nothing, say what would go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
