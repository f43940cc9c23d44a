"""The command `serve`: what it refuses, its self-check, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from model.audio import decode
from objective.serve import main
from objective.speech.server.program import TOKEN
from tests.objective.asking import ask
from tests.objective.speech.serving import talking
from tests.processes import until

ROOT = Path(__file__).parents[3]
LONG = "a-token-of-length"
BAD = {
    "for others": (["--host", "0.0.0.0"], {}, f"to serve 0.0.0.0, which others can reach: set {TOKEN}, or leave --host out"),
    "a short token": ([], {TOKEN: "short"}, f"need a {TOKEN} of 12 characters or more, got 5"),
    "no such host": (["--host", "no such host"], {}, "need a name or an address of this machine"),
    "no port": (["--port", "65536"], {}, "need a port from 0 to 65535, got 65536"),
    "no queue": (["--queue", "0"], {}, "--queue: need at least 1, got 0"),
    "no characters": (["--most-characters", "0"], {}, "--most-characters: need at least 1, got 0"),
    "no time": (["--timeout-s", "nan"], {}, "--timeout-s: need seconds above 0, got nan"),
    "no voice": (["--voice", "nothing.pt"], {}, "need the file of a voice, got"),
    "no study": (["--out", "nowhere"], {}, "tacotune.db, which does not exist: give --storage or --out"),
}


@contextmanager
def running(voice: Path | str, *more: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command in a process of its own, and the address that it prints."""
    line = [
        sys.executable,
        "-m",
        "objective.serve",
        "--voice",
        str(voice),
        "--port",
        "0",
        "--tries",
        "1",
        "--threads",
        "1",
        *more,
    ]
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, cwd=ROOT, text=True, env={**inherited, **environment}, **pipes) as process:  # type: ignore[call-overload]
        try:
            lines = [process.stdout.readline()]
            while lines[-1] and not lines[-1].startswith("serving "):
                lines.append(process.stdout.readline())
            assert lines[-2].startswith("self-check: "), lines
            yield process, lines[-1].split()[-1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talking(figures={"text": "Only one."}).save(tmp_path_factory.mktemp("voice") / "voice.pt")


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_one_sentence(
    case: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more, environment, sentence = BAD[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["--port", "0", *more]) == 2
    printed = capfd.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


def test_a_port_in_use_is_reported(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--voice", str(file), "--port", str(port)]) == 2
    assert f"cannot serve port {port} of 127.0.0.1: Address already in use: choose another --port" in capfd.readouterr().err


def test_a_voice_that_is_not_finite_ends_with_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = talking(figures={"text": "Only one."})
    with torch.no_grad():
        own.network.projection.weight.fill_(torch.nan)
    assert main(["--voice", str(own.save(tmp_path / "voice.pt")), "--port", "0"]) == 1
    assert "need a voice whose speech is finite" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_speaks_until_a_signal_of_which_more_change_nothing(file: Path, number: signal.Signals) -> None:
    with running(file) as (process, address):
        port = urlsplit(address).port
        assert port
        status, _, body = ask(port, "POST", "/", "Only one.")
        assert status == 200
        decoded, _ = decode(body, talking().config.audio)
        assert len(decoded) > 22_050
        until(lambda: process.send_signal(number) or process.poll() is not None)
        assert process.wait(30) == 0
        assert "Only" not in process.stdout.read()


@pytest.mark.slow
def test_others_may_come_with_the_token_which_is_never_shown(file: Path) -> None:
    with running(file, "--host", "0.0.0.0", **{TOKEN: LONG}) as (process, address):
        port = urlsplit(address).port
        assert port
        assert ask(port, path="/health")[0] == 401
        assert ask(port, path="/health", Authorization=f"Bearer {LONG}", Host="any.example")[0] == 200
        process.terminate()
        assert LONG not in address + process.stdout.read()
