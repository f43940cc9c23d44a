"""Write the log of a study: one JSON object a line, for people with `tail -f` and `jq`, and for views that read it.

`trial-00012/reports.jsonl` holds the trial's reports with the fields of `Report`. `events.jsonl` in the study's folder holds
every event but `Progressed` and `Phase`, with its kind (`event`) and its UTC time (`at`). Both only grow, a line at a time, so
several workers may share one. Where a command was killed after the study had stored an end and before the line was written, the
next command writes it (`complete`).
"""

import json
import logging
import math
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from objective.events.types import Event, Phase, Progressed, Reported, Resumed, TrialEnded
from storage.paths import trial_folder

log = logging.getLogger(__name__)
# A lone surrogate: how a file name is written that is no valid text. Other file formats cannot hold it.
_LONE = re.compile(rb"(?<!\\)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class JsonLines:
    """A sink that writes the log of one study into its folder, `runs/<study>`."""

    name = "jsonl"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._due: list[tuple[Path, dict[str, Any]]] = []  # lines that could not be written yet, because of a full disk, say
        self._late = False

    def emit(self, event: Event) -> None:
        if isinstance(event, Progressed | Phase):
            return
        if isinstance(event, Reported | Resumed):
            file = trial_folder(self.folder, event.number) / "reports.jsonl"
            for report in event.reports if isinstance(event, Resumed) else (event.report,):
                self._due.append((file, report.as_dict()))
        if isinstance(event, Resumed):
            event = replace(event, reports=())  # they are in that file, and among the events of the earlier trial
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._due.append((self.folder / "events.jsonl", {"event": type(event).__name__, "at": at, **asdict(event)}))
        self._write()

    def close(self) -> None:
        """Write what is due; no file is held open between two lines."""
        self._write()

    def _write(self) -> None:
        """Write all that is due, in order; what cannot be written now stays due."""
        try:
            while self._due:
                append(*self._due[0])
                del self._due[0]
        except OSError as why:
            if not self._late:
                log.warning("the log cannot be written now, the next event retries: %s", why)
            self._late = True
        else:
            self._late = False


def complete(folder: Path, ends: Iterable[TrialEnded]) -> None:
    """Write those of `ends` that are not in the log."""
    file, start = folder / "events.jsonl", b'{"event": "TrialEnded"'
    written = set()
    if file.exists():
        with file.open("rb") as lines:
            ended = (record(line) for line in lines if line.startswith(start))
            written = {end["number"] for end in ended if end is not None}
    sink = JsonLines(folder)
    for event in ends:
        if event.number not in written:
            sink.emit(event)


def append(path: Path, record: dict[str, Any]) -> None:
    """Append `record` as one line of UTF-8. Non-finite numbers become null; a line that a crash has torn is ended first."""
    line = json.dumps(_plain(record), ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        torn = False
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        # a lone surrogate (an undecodable file name) becomes \udcxx, which is how JSON writes it
        file.write((b"\n" if torn else b"") + line.encode("utf-8", "backslashreplace") + b"\n")


def record(line: bytes) -> dict[str, Any] | None:
    """Return what `append` wrote; None for a line that a crash has torn, and that a later writer ended."""
    try:
        value = json.loads(_LONE.sub(b"?", line))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | None) else str(value)
