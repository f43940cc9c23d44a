"""Report a study to Telegram, in English or Russian, and take commands from there.

Set the environment variables TELEGRAM_BOT_TOKEN, as @BotFather gave it, and TELEGRAM_CHAT_ID: several chats with commas, the
first of which receives the reports. Optional: TELEGRAM_TOPIC_ID, a topic of a forum; TELEGRAM_PROXY, an HTTP proxy;
TELEGRAM_API_BASE, another Bot API server. --check tests the setup with one message.
"""

import argparse
import sys

from objective.runtime.cli import Command, add_out, add_storage, add_study


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_storage(parser)
    add_out(parser)
    parser.add_argument("--language", choices=("en", "ru"), default="en", help="of the messages (default en)")
    parser.add_argument("--check", action="store_true", help="test the setup with one message, and end")


COMMAND = Command("telegram", "objective.telegram.service", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
