"""Load the server of a voice: `python -m benchmarks.serve [--voice FILE] [--clients 64] [--seconds 60] [--json OUT]`.

`tacotune serve` runs in a process of its own on loopback. First one client asks for a sentence again and again, then many do.
Printed: p50 and p95 of the time to an answer as ratios to the one client's p50, answers per second as a ratio to its, the
codes, and the server's resident memory before and after. Without --voice, an untrained network of the demo profile speaks,
whose sentences all run to their limit.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import torch

from model.config import PROFILES, Config
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.voice import FORMAT, Voice
from search_spaces.knobs import apply

TEXTS = ("Monday.", "Tuesday.", "Wednesday.", "Thursday.", "Friday.", "Saturday.", "Sunday.")


@dataclass(slots=True)
class Load:
    """The measurements of some clients: seconds of each answer with speech, and all codes."""

    seconds: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)

    def p95(self) -> float:
        return quantiles(self.seconds, n=20)[-1] if len(self.seconds) > 1 else self.seconds[0]


def untrained(file: Path) -> Path:
    """Write a voice that knows nothing."""
    torch.manual_seed(0)
    config, language = apply(Config(), PROFILES["demo"]), find_language("en")
    network = Tacotron2(config.network, len(language.symbols), config.audio.mel_bands)
    about = {"format": FORMAT, "config": asdict(config), "language": "en", "symbols": list(language.symbols)}
    return Voice(network, config, language, about).save(file)


async def load(address: str, clients: int, seconds: float) -> Load:
    """Let `clients` ask for sentences for so long."""
    found, until = Load(), time.monotonic() + seconds

    async def client(number: int) -> None:
        place = number
        while time.monotonic() < until:
            began = time.monotonic()
            async with session.post(address, data=TEXTS[place % len(TEXTS)].encode()) as answer:
                await answer.read()
            found.codes[answer.status] += 1
            if answer.status == 200:
                found.seconds.append(time.monotonic() - began)
            else:
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
            place += 1

    limits = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=limits, timeout=aiohttp.ClientTimeout(total=None)) as session:
        await asyncio.gather(*map(client, range(clients)))
    return found


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(voice: Path, parsed: argparse.Namespace) -> dict[str, Any]:
    """Start a server, load it, and return the figures."""
    line = [sys.executable, "-m", "objective.serve", "--voice", str(voice), "--port", "0", "--tries", "1"]
    line += ["--batch", str(parsed.batch), "--queue", str(parsed.queue), "--threads", str(parsed.threads)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        try:
            one = asyncio.run(load(address, 1, parsed.seconds / 2))
            before = resident_mb(server.pid)
            many = asyncio.run(load(address, parsed.clients, parsed.seconds))
            after = resident_mb(server.pid)
        finally:
            server.terminate()
    base = median(one.seconds)
    return {
        "machine": f"{os.cpu_count()} CPUs, {parsed.clients} clients, batches of {parsed.batch}",
        "one_client_s": base,
        "p50_ratio": median(many.seconds) / base,
        "p95_ratio": many.p95() / base,
        "answers_ratio": len(many.seconds) / parsed.seconds / (len(one.seconds) / (parsed.seconds / 2)),
        "codes": dict(many.codes),
        "memory_mb": [round(before), round(after)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", type=Path, metavar="FILE", help="a voice (default: an untrained one)")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load; half of it for the one client")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(parsed.voice or untrained(Path(folder) / "voice.pt"), parsed)
    for name, value in result.items():
        print(f"{name:14} {value:.2f}" if isinstance(value, float) else f"{name:14} {value}")
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
