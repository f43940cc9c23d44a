"""A study as a table or a page: `python -m objective.export --study NAME --csv FILE`, `--parquet FILE` or `--html FILE`.

Rebuilt from the JSON lines alone, at any time, with no database. A table has one row for each report: the trial, every field of
the report by its dotted name, how the trial ended, and its parameters as `param.NAME`. The page holds the board, all trials,
their pictures and sounds, and needs no network (objective/views/html_page.py).

Exit codes: 0 done, 1 the machine failed, 2 bad input, 130 interrupted.
"""

import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from model.files import atomic_write
from model.report import Report
from objective.events.log_reader import NoStudyLog, StudyLog, open_study_log
from objective.views.follow import say, words

Row = dict[str, Any]


def columns(study_log: StudyLog) -> dict[str, type]:
    """By name, what stands in a column. A parameter that has values of several kinds is text."""
    params: dict[str, set[type]] = {}
    for trial in study_log.trials.values():
        for name, value in trial.params.items():
            params.setdefault(f"param.{name}", set()).add(type(value))
    kinds = {name: _common(found) for name, found in params.items()}
    return {"trial": int, **_fields(Report), "state": str, "value": float, "reason": str, **kinds}


def rows(study_log: StudyLog) -> Iterator[Row]:
    """One for each report, by trial and kframes. What is not known is None."""
    known = columns(study_log)
    for number, trial in sorted(study_log.trials.items()):
        end = trial.end or {}
        ended = {"trial": number, "state": trial.state, "value": end.get("value"), "reason": end.get("reason")}
        params = {f"param.{name}": value for name, value in trial.params.items()}
        for report in study_log.reports(number):
            row = ended | params | _flat(report.as_dict())
            yield {name: None if row.get(name) is None else kind(row[name]) for name, kind in known.items()}


def write_csv(study_log: StudyLog, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(columns(study_log)))
        table.writeheader()
        table.writerows(rows(study_log))


def write_parquet(study_log: StudyLog, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns(study_log).items()])
    parquet.write_table(pyarrow.Table.from_pylist(list(rows(study_log)), schema), path)


def write_html(study_log: StudyLog, path: Path) -> None:
    from objective.views.html_page import page

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


def main(arguments: list[str] | None = None) -> int:
    parser = words(__doc__)
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--csv", type=Path, metavar="FILE", help="a row for each report")
    to.add_argument("--parquet", type=Path, metavar="FILE", help="the same, with types")
    to.add_argument("--html", type=Path, metavar="FILE", help="one page to look at and to listen to")
    parsed = parser.parse_args(arguments)
    kind, path = next((kind, getattr(parsed, kind)) for kind in WRITERS if getattr(parsed, kind) is not None)
    if not path.parent.is_dir() or path.is_dir():
        say(f"need a file that can be written, in a folder that is there, got {path}: make the folder, or choose another file")
        return 2
    try:
        study_log = open_study_log(parsed.out, parsed.study)
        study_log.look()
        with atomic_write(path) as part:
            WRITERS[kind](study_log, part)
    except NoStudyLog as why:
        say(str(why))
        return 2
    except OSError as why:
        say(f"the machine failed: {why}: mend that and type it again")
        return 1
    except KeyboardInterrupt:
        return 130
    if study_log.torn:
        say(f"lines that a crash has torn, left out: {study_log.torn}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
