"""Drive headless Chromium over its own protocol (CDP) with aiohttp: no driver and no further package."""

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync", "default-apps", "extensions", "dev-shm-usage")
FLAGS = ["--headless=new", "--no-sandbox", "--no-first-run", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
START_S, ANSWER_S, WAIT_S, LOOK_S = 60.0, 30.0, 60.0, 0.1  # this machine may have other work
MOST_BYTES = 64 << 20  # of an answer: a picture of a page


class Chromium:
    """A page of a browser with its own profile in `folder`. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        without = [f"--disable-{name}" for name in QUIET]
        line = [PROGRAM, *FLAGS, *without, f"--user-data-dir={self.folder}", "--remote-debugging-port=0", "about:blank"]
        with self.folder.with_suffix(".log").open("wb") as log:
            # a group of its own, so that its many processes can be ended together
            self.process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
        self._runner, self._ids = asyncio.Runner(), itertools.count(1)
        try:
            self._runner.run(self._connect())
            self.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if hasattr(self, "_session"):
            self._runner.run(self._session.close())
        self._runner.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def _connect(self) -> None:
        port_file, until = self.folder / "DevToolsActivePort", time.monotonic() + START_S
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert time.monotonic() < until, "chromium does not start: " + self.folder.with_suffix(".log").read_text()
            await asyncio.sleep(LOOK_S)  # it writes its port into a file without a message
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list") as answer:
            (page,) = [target for target in await answer.json() if target["type"] == "page"]
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=MOST_BYTES)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        return self._runner.run(asyncio.wait_for(self._call(method, params), ANSWER_S))

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        mine = next(self._ids)
        await self._socket.send_json({"id": mine, "method": method, "params": params})
        while (answer := await self._socket.receive_json()).get("id") != mine:
            pass  # events
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def js(self, expression: str) -> Any:
        """Return the value of an expression in the page, of a promise once it is fulfilled."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, what: str) -> None:
        """Wait until an expression is true in the page."""
        until = time.monotonic() + WAIT_S
        while not self.js(f"(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()"):
            assert time.monotonic() < until, f"{what}: not seen in\n{self.js('document.body.innerText')}"
            self._runner.run(asyncio.sleep(LOOK_S))  # a page changes without an event

    def press(self, label: str, place: int = 0) -> None:
        """Press the button with that label, of several the one at that place."""
        button = f"[...document.querySelectorAll('button')].filter(it => it.innerText.trim() === {label!r})[{place}]"
        self.until(f"!!{button} && !{button}.disabled", f"a button {label}")
        self.js(f"{button}.click()")

    def picture(self, file: Path) -> None:
        """Save what the window shows as PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
