"""Measure the cost of a poll of the dashboard: `python -m benchmarks.dashboard [--trials 1000] [--polls 20] [--json OUT]`.

A browser polls a study every few seconds (`/api/studies/ID?after=N`), and optuna-dashboard reads the study again if its own
copy is 2 to 10 s old. Measured over HTTP with that copy always too old: with the cached storage that `tacotune dashboard`
provides, behind its authentication, and with the bare one that optuna-dashboard would open for a URL. The trials have
24 reports, a health record and a note each, and one runs.
"""

import argparse
import http.client
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from socket import AF_INET
from statistics import median
from typing import Any

import optuna
from optuna_dashboard import wsgi

from benchmarks.filled_study import fill
from benchmarks.storage import ARCHIVE, NAME, settings_of
from objective.dashboard.app import WRAPPED
from objective.dashboard.auth import Guard
from objective.dashboard.server import Server, seekable, styled
from objective.display.notes import note, save
from pruners.replay.archive import read
from search_spaces.space import load
from storage.artifacts import artifact_store
from storage.lookup import existing_storage
from storage.outcome import finished
from storage.studies import open_storage


def prepare(url: str, out: Path, count: int) -> None:
    """A study of `count` trials with their notes, of which the first has failed, and another one that runs."""
    settings = settings_of(url, out)
    study = optuna.create_study(storage=open_storage(url), study_name=NAME, direction="minimize")
    curves = [curve for curve in read(ARCHIVE) if curve.value is not None and len(curve.more["points"]) == 24]
    fill(study, count, curves, load("record", settings.config()))
    study = optuna.load_study(storage=open_storage(url), study_name=NAME)
    for trial in finished(study):
        save(study, note(trial, settings.budget.total_kframes), trial)
    study.ask()


class Polled:
    """A dashboard on a port, and a browser that has seen `count` trials."""

    def __init__(self, storage: optuna.storages.BaseStorage, out: Path, count: int) -> None:
        self.inner: Any = wsgi(storage, artifact_store=artifact_store(out))
        self.server = Server(Guard(styled(seekable(self.inner), WRAPPED), None), AF_INET, ("127.0.0.1", 0))
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.path = f"/api/studies/{storage.get_study_id_from_name(NAME)}?after={count}"

    def poll(self) -> float:
        """Milliseconds until the answer is there."""
        self.inner._inmemory_cache._trials_last_fetched_at.clear()  # the copy is too old
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port)
        connection.request("GET", self.path)
        answer = connection.getresponse()
        known = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, known
        assert len(known["trials"]) == 1, "the one that runs"
        return 1e3 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000, help="in the study (default 1000)")
    parser.add_argument("--polls", type=int, default=20, help="of each, in turns (default 20)")
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        url = f"sqlite:///{out}/studies.db"
        prepare(url, out, arguments.trials)
        ours = Polled(existing_storage(url), out, arguments.trials)
        bare = Polled(optuna.storages.RDBStorage(url), out, arguments.trials)
        first, times = [ours.poll(), bare.poll()], [(ours.poll(), bare.poll()) for _ in range(arguments.polls)]
    cached, uncached = (sorted(row) for row in zip(*times, strict=True))
    result = {
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, optuna {optuna.__version__}, {arguments.trials} trials",
        **{f"{name}_ms": {"first": began, "median": median(row), "least": row[0], "most": row[-1]}
           for name, began, row in zip(("cached", "bare"), first, (cached, uncached), strict=True)},
        "ratio": median(uncached) / median(cached),
    }  # fmt: skip
    print(result["machine"])
    for name, row in (("cached, guarded", result["cached_ms"]), ("bare RDBStorage", result["bare_ms"])):
        print(f"{name:16} {'  '.join(f'{label} {amount:.1f} ms' for label, amount in row.items())}")
    print(f"bare / cached: {result['ratio']:.1f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
