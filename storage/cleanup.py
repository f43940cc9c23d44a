"""Delete the snapshots that a study no longer needs, or list them: the program of `cleanup` (objective/cleanup.py).

Snapshots of a trial that runs or will be resumed are never deleted (storage/retention.py).
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from optuna.trial import FrozenTrial

from model.errors import BadInput
from storage.lookup import existing_study
from storage.paths import url_of
from storage.retention import File, Keep, Plan, removable, size, tidy


def run(parsed: argparse.Namespace) -> int:
    """Plan or tidy, and print what that was. Raises BadInput and what the machine does."""
    try:
        keep = Keep.of(parsed.top_k, parsed.quota_gb, parsed.keep_pruned)
    except ValueError as why:
        raise BadInput(str(why)) from why
    study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
    folder = parsed.out / parsed.study
    if not folder.is_dir():
        raise BadInput(f"need the folder of the study, got {folder}, which is none: say --out, the folder of all studies")
    trials = study.get_trials(deepcopy=False)
    plan = removable(trials, folder, keep) if parsed.dry_run else tidy(trials, folder, keep)
    print("\n".join(_told(plan, trials, parsed.dry_run)))
    return 0


def _told(plan: Plan, trials: Sequence[FrozenTrial], dry: bool) -> list[str]:
    """A table of what goes, its sum, and what stays by its reasons."""
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


def _sum(files: Sequence[File]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size(sum(file.bytes for file in files))}"


if __name__ == "__main__":
    sys.exit(import_module("objective.cleanup").main())
