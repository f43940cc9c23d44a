"""What the environment says about Telegram: the bot's token, the chats, and where the Bot API is."""

import os
import re
from dataclasses import dataclass, field

from model.errors import BadInput

OFFICIAL = "https://api.telegram.org"


class SetupError(BadInput):
    """What is missing in the environment, with the way out."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the environment says."""

    token: str = field(repr=False)
    chats: tuple[int, ...]
    base: str
    proxy: str | None = field(repr=False)
    topic: int | None

    @classmethod
    def read(cls) -> "Setup":
        """Raises SetupError."""
        known = {name: os.environ.get(f"TELEGRAM_{name}", "").strip() for name in ("BOT_TOKEN", "CHAT_ID", "TOPIC_ID")}
        if not re.fullmatch(r"\d+:[\w-]+", known["BOT_TOKEN"]):
            raise SetupError("need the token of a bot: export TELEGRAM_BOT_TOKEN as @BotFather gave it, digits:letters")
        if not re.fullmatch(r"-?\d+( *, *-?\d+)*", known["CHAT_ID"]):
            way_out = "export TELEGRAM_CHAT_ID, the number that @userinfobot tells, negative for a group"
            raise SetupError(f"need the number of a chat, got {_masked(known['CHAT_ID']) or 'none'}: {way_out}")
        if not re.fullmatch(r"\d*", known["TOPIC_ID"]):
            got = _masked(known["TOPIC_ID"])
            raise SetupError(f"need the number of a topic, got {got}: export TELEGRAM_TOPIC_ID, or unset it")
        base, proxy = os.environ.get("TELEGRAM_API_BASE") or OFFICIAL, os.environ.get("TELEGRAM_PROXY") or None
        for name, url in (("API_BASE", base), ("PROXY", proxy)):
            if url and not re.match(r"https?://\S+$", url):
                raise SetupError(f"need http:// or https:// and a host in TELEGRAM_{name}: export that, or unset it")
        chats = tuple(int(chat) for chat in known["CHAT_ID"].split(","))
        return cls(known["BOT_TOKEN"], chats, base.rstrip("/"), proxy, int(known["TOPIC_ID"] or 0) or None)


def _masked(text: str) -> str:
    """Somebody may have put the token into the wrong variable."""
    return re.sub(r"\d+:[\w-]+", "***", text)
