"""MLflow's own server, which tests and benchmarks start, kill and start again on the same port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import answers, until


@contextmanager
def mlflow_server(database: Path, port: int) -> Iterator[str]:
    """Run a server and return its address; it is killed at the end of the block."""
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    line += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(database.parent / "served")]
    with (database.parent / "server.log").open("ab") as log:
        plain = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # it starts in half the time
        process = subprocess.Popen(line, stdout=log, stderr=log, env=plain, start_new_session=True)
    try:
        until(lambda: answers(port, "/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
