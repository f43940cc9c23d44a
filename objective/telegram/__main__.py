"""Report a study to Telegram: `python -m objective.telegram --study NAME`.

The bot's token and the chat come from the environment: TELEGRAM_BOT_TOKEN, and TELEGRAM_CHAT_ID, several with commas, of which
the first one hears the reports. TELEGRAM_API_BASE names another Bot API server, TELEGRAM_PROXY an HTTP proxy, TELEGRAM_TOPIC_ID
a topic of a forum. `--check` proves all this with one message. Exit codes: 0 done, 1 the machine failed, 2 bad input, or
Telegram refuses.
"""

import argparse
import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from objective.runtime.signals import SIGNALS
from objective.settings.telegram_env import Setup, SetupError
from storage.paths import STORAGE_VARIABLE as STORAGE

if TYPE_CHECKING:
    import optuna

CHECK_S = 30.0  # that `--check` waits for an answer


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        setup = Setup.read()
        return asyncio.run(_check(setup, parsed.language)) if parsed.check else _report(setup, parsed)
    except SetupError as why:
        print(why, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0


def _report(setup: Setup, parsed: argparse.Namespace) -> int:
    from objective.settings.schema import mask_url
    from objective.telegram.bot_api import RequestRefused
    from storage.errors import FAILURES, StorageError, database_failure
    from storage.lookup import existing_study
    from storage.paths import url_of

    try:
        study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
        if "settings" not in study.user_attrs:
            raise SetupError(f"study {parsed.study} was made by another program: choose another --study")
        asyncio.run(_run(setup, study, parsed))
    except StorageError as why:
        raise SetupError(str(why)) from why
    except RequestRefused as why:
        raise SetupError(f"the reporter is off, the study goes on: {why}") from why
    except TimeoutError as why:
        words = {"--out": str(parsed.out), "--storage": parsed.storage and mask_url(parsed.storage), "--study": parsed.study}
        again = shlex.join(word for pair in words.items() if pair[1] for word in pair)
        _say(f"{why}: python -m objective.telegram {again} goes on")
        return 1
    except (OSError, *FAILURES) as why:
        sentence = str(why) if isinstance(why, OSError) else database_failure(why)
        if sentence is None:
            raise
        _say(f"the machine failed: {sentence}: typed again it goes on with what was not told")
        return 1
    return 0


async def _run(setup: Setup, study: "optuna.Study", parsed: argparse.Namespace) -> None:
    from objective.telegram.bot_api import Bot
    from objective.telegram.reporter import Reporter
    from storage.optuna_private import storage_of
    from storage.studies import stop_retrying

    reporting = asyncio.current_task()
    assert reporting is not None

    def stop() -> None:
        for number in SIGNALS:  # once is enough: what is being said is noted still
            signal.signal(number, signal.SIG_IGN)
        stop_retrying(storage_of(study))
        reporting.cancel()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    async with Bot(setup.token, setup.base, setup.proxy, _say) as bot:
        await Reporter(study, bot, setup.chats, parsed.language, parsed.out, setup.topic).run()


async def _check(setup: Setup, language: str) -> int:
    """One message. Raises SetupError."""
    from objective.settings.schema import mask_url
    from objective.telegram.bot_api import Bot, Message, RequestRefused
    from objective.telegram.translations import Words

    try:
        async with asyncio.timeout(CHECK_S), Bot(setup.token, setup.base, setup.proxy, _say) as bot:
            name = (await bot.call("getMe"))["username"]
            await bot.send(setup.chats[0], Message(Words(language)("check"), loud=True), setup.topic)
    except TimeoutError:
        way_out = "check TELEGRAM_API_BASE and TELEGRAM_PROXY"
        raise SetupError(f"no answer from {mask_url(setup.base)} within {CHECK_S:g} s: {way_out}") from None
    except RequestRefused as why:
        unknown = why.code in (401, 404)
        way_out = "check TELEGRAM_BOT_TOKEN" if unknown else "write to the bot first, or add it to the group"
        raise SetupError(f"{why}: {way_out}") from None
    print(f"@{name} can write to {setup.chats[0]}")
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m objective.telegram", description="Report a study to Telegram.")
    parser.add_argument("--study", default="tacotron2", metavar="NAME", help="the study (default tacotron2)")
    parser.add_argument("--storage", default=os.environ.get(STORAGE), metavar="URL", help="as for the study")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="OUT", help="folder of all studies (default runs)")
    parser.add_argument("--language", choices=("en", "ru"), default="en")
    parser.add_argument("--check", action="store_true", help="send one message that proves the set-up, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
