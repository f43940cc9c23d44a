"""Read the setup of Telegram from the environment: the bot's token, the chats, and the address of the Bot API."""

import os
import re
from dataclasses import dataclass, field

from model.errors import BadInput

OFFICIAL = "https://api.telegram.org"
GENERAL = 1  # a group's topic General has this number in its links, and messages to it must name none (telegram-bot-api #798)


class SetupError(BadInput):
    """A variable that is missing or invalid in the environment, with the way out."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup of Telegram. `topic` is the number of a topic in a group."""

    token: str = field(repr=False)
    chats: tuple[int, ...]
    base: str
    proxy: str | None = field(repr=False)
    topic: int | None

    @classmethod
    def read(cls) -> "Setup":
        """Read the environment. Raises SetupError."""
        values = {name: os.environ.get(f"TELEGRAM_{name}", "").strip() for name in ("BOT_TOKEN", "CHAT_ID", "TOPIC_ID")}
        if not re.fullmatch(r"\d+:[\w-]+", values["BOT_TOKEN"]):
            raise SetupError("need the token of a bot: export TELEGRAM_BOT_TOKEN as @BotFather gave it, digits:letters")
        if not re.fullmatch(r"-?\d+( *, *-?\d+)*", values["CHAT_ID"]):
            way_out = "export TELEGRAM_CHAT_ID, the number that @userinfobot shows, negative for a group"
            raise SetupError(f"need the number of a chat, got {_masked(values['CHAT_ID']) or 'none'}: {way_out}")
        if not re.fullmatch(r"\d*", values["TOPIC_ID"]):
            got = _masked(values["TOPIC_ID"])
            raise SetupError(f"need the number of a topic, got {got}: export TELEGRAM_TOPIC_ID, or unset it")
        base, proxy = os.environ.get("TELEGRAM_API_BASE") or OFFICIAL, os.environ.get("TELEGRAM_PROXY") or None
        for name, url in (("API_BASE", base), ("PROXY", proxy)):
            if url and not re.match(r"https?://\S+$", url):
                raise SetupError(f"need http:// or https:// and a host in TELEGRAM_{name}: export that, or unset it")
        chats = tuple(int(chat) for chat in values["CHAT_ID"].split(","))
        topic = int(values["TOPIC_ID"] or GENERAL)
        return cls(values["BOT_TOKEN"], chats, base.rstrip("/"), proxy, None if topic <= GENERAL else topic)


def _masked(text: str) -> str:
    """`text` without tokens, in case one was put into the wrong variable."""
    return re.sub(r"\d+:[\w-]+", "***", text)
