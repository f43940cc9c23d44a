"""Delete the snapshots that a study no longer needs, or list them: the program of `cleanup` (objective/cleanup.py).

Snapshots of a trial that is running or will be resumed are never deleted (storage/retention.py).
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from optuna.trial import FrozenTrial

from model.errors import BadInput
from storage.lookup import existing_study
from storage.paths import url_of
from storage.retention import File, Keep, Plan, format_bytes, removable, tidy


def run(parsed: argparse.Namespace) -> int:
    """Delete what is no longer needed, or only plan it with --dry-run, and print a table. Raises BadInput and OSError."""
    try:
        keep = Keep.of(parsed.top_k, parsed.quota_gb, parsed.keep_pruned)
    except ValueError as why:
        raise BadInput(str(why)) from why
    study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
    folder = parsed.out / parsed.study
    if not folder.is_dir():
        raise BadInput(
            f"need the folder of the study, got {folder}, which does not exist: give --out, the folder of all studies"
        )
    trials = study.get_trials(deepcopy=False)
    plan = removable(trials, folder, keep) if parsed.dry_run else tidy(trials, folder, keep)
    print("\n".join(_report(plan, trials, parsed.dry_run)))
    return 0


def _report(plan: Plan, trials: Sequence[FrozenTrial], dry_run: bool) -> list[str]:
    """Lines: a table of the files that are deleted with their sum, and the sums of those that are kept, by reason."""
    rows = [("trial", "state", "file", "size", "why")]
    for file in plan.removals:
        rows.append((str(file.number), trials[file.number].state.name, file.path.name, format_bytes(file.bytes), file.why))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    if plan.removals:
        for number, state, name, amount, why in rows:
            left = f"{number:>{widths[0]}}  {state:<{widths[1]}}  {name:<{widths[2]}}  {amount:>{widths[3]}}"
            lines.append(f"{left}  {why}")
    outcome = "would be deleted: run it without --dry-run" if dry_run else "deleted"
    lines.append(f"{_sum(plan.removals)} {outcome}")
    lines.append(f"{_sum(plan.kept)} kept{':' if plan.kept else ''}")
    for why in dict.fromkeys(file.why for file in plan.kept):
        lines.append(f"  {_sum([file for file in plan.kept if file.why == why])}: {why}")
    return [*lines, plan.note] if plan.note else lines


def _sum(files: Sequence[File]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {format_bytes(sum(file.bytes for file in files))}"


if __name__ == "__main__":
    sys.exit(import_module("objective.cleanup").main())
