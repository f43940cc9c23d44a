"""Serve a database to hundreds of workers through one process.

Every client that reaches the port may read and change the studies: serve 127.0.0.1, or a network in which everybody is trusted.
"""

import argparse
import sys

from objective.runtime.cli import Command
from storage.paths import PROXY_PORT


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", required=True, metavar="URL", help="as for the study, e.g. postgresql://user@host/name")
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to serve; 0.0.0.0: on every network")
    parser.add_argument("--port", type=int, default=PROXY_PORT, metavar="PORT", help=f"0: any free one (default {PROXY_PORT})")


COMMAND = Command("proxy", "storage.proxy", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
