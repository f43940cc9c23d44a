"""Write a study as a table or a page, from its JSON lines alone: the program of `export` (objective/export.py)."""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pyarrow
from pyarrow import parquet

from model.errors import BadInput
from model.files import atomic_write
from model.report import Report
from objective.events.log_reader import StudyLog, open_study_log
from objective.views.html_page import page
from storage.retention import format_bytes

Row = dict[str, Any]
SPOKEN: dict[str, type] = {"heard": str, "worst_heard": str}  # of a trial at its end (model/spoken.py: summary)


def columns(study_log: StudyLog) -> dict[str, type]:
    """Return the type of each column by its name. A parameter with values of several types is text."""
    params: dict[str, set[type]] = {}
    for trial in study_log.trials.values():
        for name, value in trial.params.items():
            params.setdefault(f"param.{name}", set()).add(type(value))
    kinds = {name: _common(found) for name, found in params.items()}
    return {"trial": int, **_fields(Report), "state": str, "value": float, "reason": str, **SPOKEN, **kinds}


def rows(study_log: StudyLog) -> Iterator[Row]:
    """Yield one row for each report, by trial and kframes. What is unknown is None."""
    kinds = columns(study_log)
    for number, trial in sorted(study_log.trials.items()):
        end = trial.end or {}
        ended = {"trial": number, "state": trial.state, "value": end.get("value"), "reason": end.get("reason")}
        ended |= {name: trial.spoken.get(name) for name in SPOKEN}
        params = {f"param.{name}": value for name, value in trial.params.items()}
        for report in study_log.reports(number):
            row = ended | params | _flat(report.as_dict())
            yield {name: None if row.get(name) is None else kind(row[name]) for name, kind in kinds.items()}


def write_csv(study_log: StudyLog, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(columns(study_log)))
        table.writeheader()
        table.writerows(rows(study_log))


def write_parquet(study_log: StudyLog, path: Path) -> None:
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns(study_log).items()])
    parquet.write_table(pyarrow.Table.from_pylist(list(rows(study_log)), schema), path)


def write_html(study_log: StudyLog, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(page(study_log))


WRITERS = {"csv": write_csv, "parquet": write_parquet, "html": write_html}


def _fields(of: type, prefix: str = "") -> dict[str, type]:
    found: dict[str, type] = {}
    for name, kind in get_type_hints(of).items():
        if dataclasses.is_dataclass(kind):
            found |= _fields(kind, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            found[prefix + name] = next((part for part in get_args(kind) if part is not NoneType), kind)
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> Row:
    found: Row = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _common(kinds: set[type]) -> type:
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 else str


def run(parsed: argparse.Namespace) -> int:
    """Write the file that the arguments name, and print what was written. Raises BadInput, and OSError for a full disk."""
    kind, path = next((kind, getattr(parsed, kind)) for kind in WRITERS if getattr(parsed, kind) is not None)
    if not path.parent.is_dir() or path.is_dir():
        rule = "need a file that can be written, in a folder that exists"
        raise BadInput(f"{rule}, got {path}: make the folder, or choose another file")
    study_log = open_study_log(parsed.out, parsed.study)
    study_log.look()
    with atomic_write(path) as part:
        WRITERS[kind](study_log, part)
    trials = len(study_log.trials)
    print(f"wrote {path}: {trials} trial{'' if trials == 1 else 's'}, {format_bytes(path.stat().st_size)}")
    if study_log.torn:
        print(f"lines torn by a crash, left out: {study_log.torn}", file=sys.stderr)
    return 0
