"""All views of a study at once, with MLflow's own server, a Bot API server and a folder of TensorBoard files."""

import os
import shutil
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from objective.settings.views import VIEWS
from tests.objective.servers import mlflow_server
from tests.objective.telegram.server import TOKEN, BotApi
from tests.processes import answers, free_port


def in_the_way(folder: Path) -> None:
    """Put a file where the folder was, though its writer may make it anew in between."""
    while not folder.is_file():
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(IsADirectoryError):
            folder.write_text("no folder any more")


class Watchers:
    """The servers that views need, until they are taken away; at the end of its block no view of a study in `out` runs."""

    def __init__(self, out: Path, study: str) -> None:
        self.out, self.boards = out, out / "tensorboard" / study
        self._mlflow, self._dashboard = free_port(), free_port()
        self._bot, self._servers = BotApi(), ExitStack()

    def __enter__(self) -> Self:
        database = self.out / "server" / "mlflow.db"
        database.parent.mkdir()
        self._servers.enter_context(mlflow_server(database, self._mlflow))
        self._servers.enter_context(self._bot)
        self.flags = ["--tensorboard", "--telegram", "--mlflow", f"http://127.0.0.1:{self._mlflow}"]
        self.flags += ["--with-dashboard", str(self._dashboard)]
        telegram = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "TELEGRAM_API_BASE": self._bot.url}
        self.environment = {**os.environ, **telegram}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._servers.close()
        for pid in self._views():  # they would try for a minute
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def at_work(self) -> bool:
        """Return whether all of them show something."""
        seen = self._bot.chat and self.boards.exists() and answers(self._dashboard, "/dashboard")
        return bool(seen) and set(self._views().values()) == VIEWS.keys()

    def take_away(self) -> None:
        """Stop both servers, and put a file in the place of TensorBoard's folder."""
        self._servers.close()
        in_the_way(self.boards)

    def _views(self) -> dict[int, str]:
        """Return the names of the views that run, by process."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (folder / "cmdline").read_bytes().decode().split("\0")
                if str(self.out) in line and line[1:4] == ["-P", "-m", "objective"] and line[4] in VIEWS:
                    found[int(folder.name)] = line[4]
        return found
