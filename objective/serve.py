"""Serve a voice over HTTP, to programs that speak to coqui's, Piper's or OpenAI's server, and to a browser.

Any --host but this machine needs a token in the environment variable TACOTUNE_TOKEN. Programs send it as `Authorization: Bearer
TOKEN`, a browser asks for it as a password. Ctrl-C and SIGTERM let the running requests end.
"""

import argparse
import sys

from objective.runtime.cli import Command
from objective.speak import add_vocoder, add_voice


def arguments(parser: argparse.ArgumentParser) -> None:
    add_voice(parser)
    add_vocoder(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to serve (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5002, metavar="PORT", help="0: any free one (default 5002)")
    parser.add_argument("--queue", type=int, default=64, metavar="N", help="requests at a time, more get 429 (default 64)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="sentences said together (default 16)")
    parser.add_argument(
        "--most-characters", type=int, default=2_000, metavar="N", help="of a text, longer ones get 413 (default 2000)"
    )
    parser.add_argument("--timeout-s", type=float, default=120.0, metavar="S", help="for a request, then 504 (default 120)")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="of a sentence with a fault (default 3)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the network (default: all; 1 for the demo's)")
    parser.add_argument("--log-texts", action="store_true", help="print the texts with the requests")


COMMAND = Command("serve", "objective.speech.server.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
