"""Ports for other processes, and waits for what they do, by looking again and again."""

import asyncio
import socket
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

LONGEST_S = 120.0  # on a machine that has other work
LOOK_S = 0.02


def free_port() -> int:
    """Return the number of a port that is free at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(true: Callable[[], object]) -> None:
    """Wait until `true` returns something true; fail after LONGEST_S."""
    deadline = time.monotonic() + LONGEST_S
    while not true():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(LOOK_S)


async def happens(true: Callable[[], object]) -> None:
    """Wait like `until`, while other tasks of this process run."""
    async with asyncio.timeout(LONGEST_S):
        while not true():
            await asyncio.sleep(LOOK_S)


def answers(port: int, path: str) -> bool:
    """Return whether a server on this machine serves the page `path`."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
