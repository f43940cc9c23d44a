"""Run the reporter in tests: in this process, or as the command in a process of its own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from objective.runtime.processes import environment, python_module
from objective.telegram.bot_api import Bot
from objective.telegram.reporter import Reporter
from storage.lookup import existing_study
from tests.objective.telegram.server import TOKEN, BotApi
from tests.objective.telegram.short_waits import shorten_waits
from tests.objective.telegram.studies import NAME

INHERITED = {name: value for name, value in environment().items() if not name.startswith(("TELEGRAM_", "TACOTUNE_"))}


async def report_all(telegram: BotApi, out: Path, why: str = "interrupted", log: list[str] | None = None, **more: Any) -> None:
    """Report everything, as the reporter of a study whose command has ended."""
    study = existing_study(f"sqlite:///{out}/tacotune.db", NAME)
    async with Bot(TOKEN, telegram.url, None, [].append if log is None else log.append) as bot:
        reporter = Reporter(study, bot, **{"chats": (1,), "language": "en", "out": out, **more})
        reporter.command.why = why
        reporter.command.ended.set()
        await asyncio.wait_for(reporter.run(), 60)


def report_all_in_process(url: str, out: Path) -> None:
    """The same as the main function of a process, with short waits."""
    shorten_waits()
    server = BotApi()
    server.url = url
    asyncio.run(report_all(server, out))


@asynccontextmanager
async def watching(telegram: BotApi, out: Path, log: list[str] | None = None, **more: Any) -> AsyncIterator[Reporter]:
    """Run the reporter of a study whose command ends with the block."""
    study = existing_study(f"sqlite:///{out}/tacotune.db", NAME)
    async with Bot(TOKEN, telegram.url, None, [].append if log is None else log.append) as bot:
        reporter = Reporter(study, bot, **{"chats": (1, 2), "language": "en", "out": out, **more})
        running = asyncio.create_task(reporter.run())
        yield reporter
        reporter.command.ended.set()
        await asyncio.wait_for(running, 60)


def reported(telegram: BotApi) -> list[str]:
    """Return the first line of each message, without the board."""
    return [line for line in telegram.lines if not line.startswith(f"{NAME}:")]


def marks(telegram: BotApi) -> list[str]:
    """Return the first character of each message, without the board; "t" for pictures and samples, which begin with "trial"."""
    return [line[0] for line in reported(telegram)]


def start(
    out: Path, telegram: BotApi, *arguments: str, module: str = "tests.objective.telegram.short_waits", **variables: str
) -> "subprocess.Popen[str]":
    """Start the command, with short waits unless `module` is the real one."""
    line = [*python_module(module), "--out", str(out), "--study", NAME, *arguments]
    setup = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1", "TELEGRAM_API_BASE": telegram.url}
    return subprocess.Popen(
        line,
        env=INHERITED | setup | variables,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for the command and return its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
