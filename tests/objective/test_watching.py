"""Everything watches a study, and in the middle everything that it is watched with is taken away: the study notices nothing."""
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from objective.steer import pause
from objective.worker import PAUSED
from tests.objective.telegram.server import TOKEN, BotApi
from tests.objective.test_mlflow import server
from tests.objective.test_study import ROOT, command, events, points, study, words
from tests.waiting import answers, until

pytestmark = pytest.mark.slow
BUDGET = ("--trials", "6", "--budget-kframes", "60", "--seed", "3")


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def views(out: Path) -> dict[int, str]:
    """By process, the modules that show a study of `out`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode().split("\0")
            if str(out) in line and line[1:2] == ["-m"] and line[2] != "objective.study":
                found[int(folder.name)] = line[2]
    return found


def taken(folder: Path) -> None:
    """Where the folder was stands a file; its writer may make it anew in between."""
    while not folder.is_file():
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(IsADirectoryError):
            folder.write_text("no folder any more")


def test_what_is_taken_away_in_the_middle_changes_no_value(spoken: Path, tmp_path: Path) -> None:
    assert command(spoken, "--study", "unwatched", *BUDGET) == 0
    mlflow, dashboard, boards = free(), free(), spoken / "tensorboard" / "watched"
    away = ExitStack()
    (tmp_path / "server").mkdir()
    away.enter_context(server(tmp_path / "server" / "mlflow.db", mlflow))
    bot = away.enter_context(BotApi())
    all_of_it = ["--tensorboard", "--telegram", "--mlflow", f"http://127.0.0.1:{mlflow}", "--with-dashboard", str(dashboard)]
    line = [sys.executable, "-m", "objective.study", *words(spoken, "--study", "watched", *BUDGET, *all_of_it)]
    told = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "TELEGRAM_API_BASE": bot.url}
    with subprocess.Popen(line, cwd=ROOT, env={**os.environ, **told}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reports = (said for said in process.stdout if "kframes  loss" in said)
        next(reports)
        pause(study(spoken, "watched"), True)  # they may take longer to start than the trials take
        until(lambda: bot.chat and boards.exists() and answers(mlflow, "/health") and answers(dashboard, "/dashboard"))
        seen = set(views(spoken).values())
        pause(study(spoken, "watched"), False)
        next(reports)
        away.close()
        taken(boards)
        for _ in reports:
            pass
    for pid in views(spoken):  # they would try for a minute
        os.kill(pid, signal.SIGKILL)
    boards.unlink()
    assert process.returncode == 0
    assert seen == {"objective.dashboard", "objective.mlflow", "objective.tensorboard", "objective.telegram"}
    assert points(spoken, "watched") == points(spoken, "unwatched")
    warned = [event["sentence"] for event in events(spoken, "watched", "Warned")]
    assert set(warned) <= {PAUSED}
