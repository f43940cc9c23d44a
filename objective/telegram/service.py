"""The program of the command `telegram`: report a study until it ends or a signal arrives, or test the setup."""

import argparse
import asyncio
import shlex
import signal
import sys

import optuna

from model.errors import BadInput
from objective.runtime.cli import as_typed
from objective.runtime.signals import SIGNALS
from objective.settings.schema import mask_url
from objective.settings.telegram_env import Setup, SetupError
from objective.telegram.bot_api import Bot, Message, RequestRefused
from objective.telegram.reporter import NotAllReported, Reporter
from objective.telegram.translations import Translator
from storage.lookup import existing_study
from storage.optuna_private import storage_of
from storage.paths import url_of
from storage.studies import stop_retrying

CHECK_S = 30.0  # for which `--check` waits for an answer


def run(parsed: argparse.Namespace) -> int:
    """Return 0 at the end of the study and after a signal, 1 if not everything could be reported in time.

    Raises BadInput if the setup is wrong, there is no such study, or Telegram rejects the bot.
    """
    setup = Setup.read()
    if parsed.check:
        asyncio.run(_check(setup, parsed.language))
        return 0
    study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
    if "settings" not in study.user_attrs:
        raise BadInput(f"study {parsed.study} was made by another program: choose another --study")
    try:
        asyncio.run(_report(setup, study, parsed))
    except asyncio.CancelledError:
        return 0
    except RequestRefused as why:
        raise BadInput(f"reporting is off, the study continues: {why}") from why
    except NotAllReported as why:
        _log(f"{why}: {_command(parsed)} reports the rest")
        return 1
    return 0


async def _report(setup: Setup, study: optuna.Study, parsed: argparse.Namespace) -> None:
    reporting = asyncio.current_task()
    assert reporting is not None

    def stop() -> None:
        for number in SIGNALS:  # one is enough: a message that is under way is still sent and recorded
            signal.signal(number, signal.SIG_IGN)
        stop_retrying(storage_of(study))
        reporting.cancel()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    async with Bot(setup.token, setup.base, setup.proxy, _log) as bot:
        await Reporter(study, bot, setup.chats, parsed.language, parsed.out, setup.topic).run()


async def _check(setup: Setup, language: str) -> None:
    """Send one message and print where to. Raises SetupError."""
    try:
        async with asyncio.timeout(CHECK_S), Bot(setup.token, setup.base, setup.proxy, _log) as bot:
            name = (await bot.call("getMe"))["username"]
            await bot.send(setup.chats[0], Message(Translator(language)("check"), loud=True), setup.topic)
    except TimeoutError:
        way_out = "check TELEGRAM_API_BASE and TELEGRAM_PROXY"
        raise SetupError(f"no answer from {mask_url(setup.base)} within {CHECK_S:g} s: {way_out}") from None
    except RequestRefused as why:
        way_out = "write to the bot first, or add it to the group"
        if why.code in (401, 404):
            way_out = "check TELEGRAM_BOT_TOKEN"
        raise SetupError(f"{why}: {way_out}") from None
    print(f"@{name} can write to {setup.chats[0]}")


def _command(parsed: argparse.Namespace) -> str:
    """Return the command that continues this one, without passwords."""
    flags = ["--out", str(parsed.out), "--study", parsed.study, "--language", parsed.language]
    if parsed.storage:
        flags += ["--storage", mask_url(parsed.storage)]
    return f"{as_typed('telegram')} {shlex.join(flags)}"


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
