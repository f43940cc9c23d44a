"""Workers on a Ray cluster: Ray finds each one its node and its share of a GPU; the study's storage is all that they share.

A worker is an actor. It is asked for its news again and again, and at last says why it stopped. One that crashes, or whose node
is lost, is placed again, wherever there is room.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from objective.events.fanout import Sinks
from objective.events.types import Event, Warned
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.schema import Settings, SettingsError
from objective.workers.processes import join
from objective.workers.supervision import PATIENCE_S, ProgressThrottle, SupervisedWorker, outcome

ANSWER_S = 5.0  # that the head of a cluster has to answer
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
HERE = ("localhost", "127.0.0.1", "::1")  # each machine calls itself so
WAY_OUT = "on a machine of the cluster, give HOST:PORT of its head (ray start --head starts one)"
TOKEN = "it wants a token, which Ray sends where RAY_AUTH_MODE=token is set"
UNSHARED = (
    "other machines of the Ray cluster cannot use this one's storage: use postgresql://user@host/name or grpc://HOST:PORT"
)


def place(settings: Settings, count: int | None, address: str | None, sinks: Sinks, interruption: Interruption) -> StopReason:
    """Runs `count` workers, or as many as there is room for, until they have all stopped; returns why.

    `address` is HOST:PORT of the head of a cluster to which this machine belongs. None: the cluster that `ray start` started
    here, or else one of this machine alone, for as long as the study runs. Raises SettingsError where Ray is missing, no
    cluster answers, or its machines cannot share the storage.
    """
    with _joined(address):
        others = {node["NodeManagerAddress"] for node in _nodes()} - {_ray().util.get_node_ip_address()}
        if others and local(settings.storage_url):
            raise SettingsError([UNSHARED])
        device = settings.device
        if device == "auto":
            device = "cuda" if any("GPU" in node["Resources"] for node in _nodes()) else "cpu"
        threads = settings.threads or (1 if device == "cpu" else None)
        settings = settings.model_copy(update={"device": device, "threads": threads})
        what, amount = share(settings)
        room = sum(int(node["Resources"].get(what, 0.0) / amount) for node in _nodes())
        count = count or max(1, room)
        if count > room:
            each = f"each needs {amount:g} {what}"
            sinks.emit(Warned(f"the Ray cluster has room for {room} of {count} workers, {each}: the others wait for it"))
        return _run([_Worker(number, settings) for number in range(count)], sinks, interruption)


def check(address: str | None) -> None:
    """Raises SettingsError where Ray is missing or no cluster answers at `address`; Ray itself would try for a long time."""
    try:
        if address and "://" in address:
            raise ValueError(f"need HOST:PORT of a cluster, got {address}")
        found = _ray("_private.services").canonicalize_bootstrap_address(address or None)
    except (ValueError, OSError) as why:
        raise SettingsError([f"--ray: {str(why).partition('. ')[0]}: {WAY_OUT}"]) from why
    if found is None:
        return  # one of this machine alone will do
    silent = _silent(found)
    if silent == TOKEN and (address or os.environ.get("RAY_ADDRESS") or "auto") == "auto":
        return  # to a cluster that it found itself, Ray gives the token
    if silent is not None:
        raise SettingsError([f"--ray: cannot reach a cluster at {found}: {silent}: {WAY_OUT}"])


def local(url: str) -> bool:
    """Whether a storage is one machine's: a file, whose locks a network's file system may not keep, or a server at home."""
    from sqlalchemy.engine import make_url

    if url.partition(":")[0] == "postgres-local":
        return True
    parsed = make_url(url)
    hosts = [host for host in (parsed.host, *parsed.normalized_query.get("host", ())) if host]
    return parsed.get_backend_name() == "sqlite" or all(host in HERE or host.startswith("/") for host in hosts)


def share(settings: Settings) -> tuple[str, float]:
    """What a worker needs of a node: a part of a GPU, rounded down to the 0.0001 that Ray counts in, or a core a thread."""
    if settings.device == "cuda":
        return "GPU", 10_000 // settings.study.trials_per_gpu / 10_000
    return "CPU", float(settings.threads or 1)


def _ray(part: str = "") -> Any:
    """The library, which is loaded when it is needed."""
    try:
        return import_module(f"ray.{part}" if part else "ray")
    except ImportError as why:
        raise SettingsError([f"--ray needs Ray, which is not here ({why}): pip install 'tacotune[ray]'"]) from why


def _nodes() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _silent(address: str) -> str | None:
    """Why no head of a cluster answers at HOST:PORT; None where one does."""
    import grpc  # type: ignore[import-untyped]

    with _ray("_private.grpc_utils").init_grpc_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=ANSWER_S)
        except grpc.RpcError as why:
            if why.code() == grpc.StatusCode.UNAUTHENTICATED:
                return TOKEN
            return str(why.details()).rpartition(": ")[2].strip(" ])!").lower()
    return None


@contextmanager
def _joined(address: str | None) -> Iterator[None]:
    """This process as a part of a cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    check(address)
    ray = _ray()
    ours = signal.getsignal(signal.SIGTERM)
    _ray("_private.worker")._worker_logs_enabled = False  # what its daemons say in between would tear up the display
    try:
        ray.init(address or None, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as why:
        said = " ".join(str(why.__cause__ or why).split())
        raise SettingsError([f"--ray: cannot join the cluster: {said}: type the command on one of its machines"]) from why
    finally:
        signal.signal(signal.SIGTERM, ours)  # Ray's own handler ends the process at once
    try:
        yield
    finally:
        ray.shutdown()


def _run(crew: Sequence["_Worker"], sinks: Sinks, interruption: Interruption) -> StopReason:
    deadline = None
    try:
        while any(worker.end is None for worker in crew):
            over = interruption.why is not None
            if over and deadline is None:
                deadline = time.monotonic() + PATIENCE_S
                for worker in crew:
                    worker.stop()
            if deadline is not None and time.monotonic() > deadline:
                break
            if over or any(worker.end is not None and worker.end.code == 0 for worker in crew):
                for worker in crew:
                    worker.dismiss()
            for worker in crew:
                worker.start_if_due()
            asked = {worker.news: worker for worker in crew if worker.news is not None}
            if not asked:
                interruption.wait(0.5)
                continue
            for ready in _ray().wait(list(asked), timeout=0.5)[0]:
                asked[ready].read(sinks)
    finally:
        for worker in crew:
            worker.leave()
    return outcome(crew, interruption)


class _Worker(SupervisedWorker):
    """An actor."""

    def __init__(self, number: int, settings: Settings) -> None:
        super().__init__(number, settings)
        self.actor: Any = None
        self.news: Any = None  # what it will say next
        self.host: str | None = None  # known once it has a place

    def start_if_due(self) -> None:
        if self.end is not None or self.actor is not None or time.monotonic() < self.due:
            return
        what, amount = share(self.settings)
        needs = {"num_cpus": 0.0, f"num_{what.lower()}s": amount}
        kind = _ray().remote(_Actor).options(max_concurrency=2, **needs)  # two calls at once: for news, and to stop
        self.actor = kind.remote(self.settings, self.number, Path.cwd(), _ray().util.get_node_ip_address())
        self.news = self.actor.news.remote()

    def read(self, sinks: Sinks) -> None:
        try:
            news = _ray().get(self.news)
        except _ray().exceptions.RayError as why:
            self._gone(_reason(why), sinks)
            return
        self.news = self.actor.news.remote()
        for said in news:
            if isinstance(said, str):
                self.host = said
            elif isinstance(said, StopReason):
                self.end = said
                self.leave()
            elif isinstance(said, Exception):
                self._gone(str(said), sinks)
            else:
                self.hear(said, sinks)

    def stop(self) -> None:
        """Ask it to release its trial and end."""
        if self.host is not None:
            self.actor.stop.remote()

    def dismiss(self) -> None:
        """Where it has no place yet, it needs none any more."""
        if self.host is None and self.end is None:
            self.end = StopReason("it found no place", 1)
            self.leave()

    def leave(self) -> None:
        """No process stays behind, whatever happened."""
        if self.actor is not None:
            _ray().kill(self.actor)
        self.actor = self.news = self.host = None

    def _gone(self, why: str, sinks: Sinks) -> None:
        said = f"worker {self.number} ended{f' on {self.host}' if self.host else ''}: {why}"
        self.leave()
        self.crashed(said, "is placed again", sinks)


def _reason(why: Exception) -> str:
    """Of a page that Ray writes about a lost actor, the part that says something."""
    lines = str(why).strip().splitlines() or [type(why).__name__]
    if getattr(why, "actor_init_failed", False):
        return lines[-1]
    return "its process or its node is gone" if isinstance(why, _ray().exceptions.RayActorError) else lines[0]


class _Actor:
    """A worker, where Ray has put it. It works in a thread of its own, so that it can be asked for news, and to stop.

    It is its own sink.
    """

    name = "ray"

    def __init__(self, settings: Settings, number: int, folder: Path, home: str) -> None:
        """`folder` is where the command was typed, and `home` the address of its machine."""
        self.said: SimpleQueue[str | Event | StopReason | Exception] = SimpleQueue()
        self.interruption, self.seldom = Interruption(), ProgressThrottle()
        self.said.put(socket.gethostname())
        threading.Thread(target=self._work, args=(settings, number, folder, home), daemon=True).start()

    def news(self) -> list[str | Event | StopReason | Exception]:
        """All since the last call, waited for where there is nothing: first its host, at last why it stopped or crashed."""
        first = self.said.get()
        return [first, *(self.said.get() for _ in range(self.said.qsize()))]

    def stop(self) -> None:
        self.interruption.ask()

    def emit(self, event: Event) -> None:
        if self.seldom.sends(event):
            self.said.put(event)

    def close(self) -> None:
        """What was said stays until it is asked for."""

    def _work(self, settings: Settings, number: int, folder: Path, home: str) -> None:
        try:
            os.chdir(folder)  # a relative path means the same everywhere
            if local(settings.storage_url) and _ray().util.get_node_ip_address() != home:  # it may have joined late
                raise SettingsError([UNSHARED])
            settings.folder.mkdir(parents=True, exist_ok=True)
            with (settings.folder / f"worker-{number}.log").open("ab", buffering=0) as log:
                os.dup2(log.fileno(), sys.stderr.fileno())
                os.dup2(log.fileno(), sys.stdout.fileno())
            self.said.put(join(settings, Sinks([self]), self.interruption))
        except BaseException as why:  # whatever it was: somebody waits to hear of it
            traceback.print_exc()
            self.said.put(RuntimeError(f"{type(why).__name__}: {' '.join(str(why).split())}"))
