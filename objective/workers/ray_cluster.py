"""Run workers on a Ray cluster: Ray places each one on a node with its share of a GPU. They share only the study's storage.

A worker is an actor. The command polls its messages, of which the last one is the reason why it stopped. A worker that crashes,
or whose node is lost, is placed again wherever there is room.
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

import grpc  # type: ignore[import-untyped]
from sqlalchemy.engine import make_url

from objective.events.fanout import Sinks
from objective.events.types import Event, Warned
from objective.runtime.errors import cause
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.schema import Settings, SettingsError
from objective.workers.processes import join_study
from objective.workers.supervision import RELEASE_S, ProgressThrottle, SupervisedWorker, outcome

ANSWER_S = 5.0  # for the head of a cluster to answer
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
WAY_OUT = "on a machine of the cluster, give HOST:PORT of its head (ray start --head starts one)"
TOKEN = "it requires a token, which Ray sends where RAY_AUTH_MODE=token is set"
UNSHARED = "other machines of the Ray cluster cannot reach the storage of this one: use postgresql://user@host/name or grpc://HOST:PORT"


def place_workers(
    settings: Settings, count: int | None, address: str | None, sinks: Sinks, interruption: Interruption
) -> StopReason:
    """Run `count` workers, or as many as there is room for, until all have stopped; return why.

    address: HOST:PORT of the head of a cluster that this machine belongs to. None: the cluster that `ray start` started here,
    or else one of this machine alone for as long as the study runs. Raises SettingsError where Ray is missing, no cluster
    answers, or its machines cannot share the storage.
    """
    with _connected(address):
        others = {node["NodeManagerAddress"] for node in _nodes()} - {_ray().util.get_node_ip_address()}
        if others and is_local(settings.storage_url):
            raise SettingsError([UNSHARED])
        device = settings.device
        if device == "auto":
            device = "cuda" if any("GPU" in node["Resources"] for node in _nodes()) else "cpu"
        threads = settings.threads or (1 if device == "cpu" else None)
        settings = settings.model_copy(update={"device": device, "threads": threads})
        resource, amount = resources_of_worker(settings)
        room = sum(int(node["Resources"].get(resource, 0.0) / amount) for node in _nodes())
        count = count or max(1, room)
        if count > room:
            each = f"each needs {amount:g} {resource}"
            sinks.emit(Warned(f"the Ray cluster has room for {room} of {count} workers, {each}: the others wait for room"))
        return _run([_Worker(number, settings) for number in range(count)], sinks, interruption)


def check_cluster(address: str | None) -> None:
    """Raise SettingsError where Ray is missing or no cluster answers at `address`. Ray itself would try for a long time."""
    try:
        if address and "://" in address:
            raise ValueError(f"need HOST:PORT of a cluster, got {address}")
        found = _ray("_private.services").canonicalize_bootstrap_address(address or None)
    except (ValueError, OSError) as why:
        raise SettingsError([f"--ray: {str(why).partition('. ')[0]}: {WAY_OUT}"]) from why
    if found is None:
        return  # without an address, a cluster of this machine alone is started
    failure = _connection_failure(found)
    if failure == TOKEN and (address or os.environ.get("RAY_ADDRESS") or "auto") == "auto":
        return  # Ray sends the token to a cluster that it found itself
    if failure is not None:
        raise SettingsError([f"--ray: cannot reach a cluster at {found}: {failure}: {WAY_OUT}"])


def is_local(url: str) -> bool:
    """Return whether only this machine can use a storage: a local server, or a file, whose locks may fail on a network disk."""
    if url.partition(":")[0] == "postgres-local":
        return True
    parsed = make_url(url)
    hosts = [host for host in (parsed.host, *parsed.normalized_query.get("host", ())) if host]
    return parsed.get_backend_name() == "sqlite" or all(host in LOOPBACK or host.startswith("/") for host in hosts)


def resources_of_worker(settings: Settings) -> tuple[str, float]:
    """Return the resource of a node that a worker needs, and how much of it.

    A share of a GPU, rounded down to a multiple of Ray's unit 0.0001, or one CPU core for each thread.
    """
    if settings.device == "cuda":
        return "GPU", 10_000 // settings.study.trials_per_gpu / 10_000
    return "CPU", float(settings.threads or 1)


def _ray(part: str = "") -> Any:
    """Import Ray, or a part of it, when it is needed: it is optional."""
    try:
        return import_module(f"ray.{part}" if part else "ray")
    except ImportError as why:
        raise SettingsError([f"--ray needs Ray, which is not installed ({why}): pip install 'tacotune[ray]'"]) from why


def _nodes() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _connection_failure(address: str) -> str | None:
    """The reason why no head of a cluster answers at HOST:PORT; None where one does."""
    with _ray("_private.grpc_utils").init_grpc_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=ANSWER_S)
        except grpc.RpcError as why:
            if why.code() == grpc.StatusCode.UNAUTHENTICATED:
                return TOKEN
            return str(why.details()).rpartition(": ")[2].strip(" ])!").lower()
    return None


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect this process to a cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    check_cluster(address)
    ray = _ray()
    ours = signal.getsignal(signal.SIGTERM)
    _ray("_private.worker")._worker_logs_enabled = False  # its daemons' messages would disturb the display
    try:
        ray.init(address or None, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as why:
        message = " ".join(str(why.__cause__ or why).split())
        raise SettingsError([f"--ray: cannot join the cluster: {message}: type the command on one of its machines"]) from why
    finally:
        signal.signal(signal.SIGTERM, ours)  # Ray's own handler ends the process at once
    try:
        yield
    finally:
        ray.shutdown()


def _run(workers: Sequence["_Worker"], sinks: Sinks, interruption: Interruption) -> StopReason:
    deadline = None
    try:
        while any(worker.end is None for worker in workers):
            stopping = interruption.reason is not None
            if stopping and deadline is None:
                deadline = time.monotonic() + RELEASE_S
                for worker in workers:
                    worker.stop()
            if deadline is not None and time.monotonic() > deadline:
                break
            if stopping or any(worker.end is not None and worker.end.code == 0 for worker in workers):
                for worker in workers:
                    worker.cancel_unplaced()
            for worker in workers:
                worker.start_if_due()
            polled = {worker.messages: worker for worker in workers if worker.messages is not None}
            if not polled:
                interruption.wait(0.5)
                continue
            for ready in _ray().wait(list(polled), timeout=0.5)[0]:
                polled[ready].read(sinks)
    finally:
        for worker in workers:
            worker.remove()
    return outcome(workers, interruption)


class _Worker(SupervisedWorker):
    """A worker in an actor of Ray."""

    def __init__(self, number: int, settings: Settings) -> None:
        super().__init__(number, settings)
        self.actor: Any = None
        self.messages: Any = None  # a reference to its next messages
        self.host: str | None = None  # set once it is placed

    def start_if_due(self) -> None:
        if self.end is not None or self.actor is not None or time.monotonic() < self.due:
            return
        resource, amount = resources_of_worker(self.settings)
        resources = {"num_cpus": 0.0, f"num_{resource.lower()}s": amount}
        actor = _ray().remote(_Actor).options(max_concurrency=2, **resources)  # two calls at once: `messages` and `stop`
        self.actor = actor.remote(self.settings, self.number, Path.cwd(), _ray().util.get_node_ip_address())
        self.messages = self.actor.next_messages.remote()

    def read(self, sinks: Sinks) -> None:
        try:
            messages = _ray().get(self.messages)
        except _ray().exceptions.RayError as why:
            self._gone(_reason(why), sinks)
            return
        self.messages = self.actor.next_messages.remote()
        for message in messages:
            if isinstance(message, str):
                self.host = message
            elif isinstance(message, StopReason):
                self.end = message
                self.remove()
            elif isinstance(message, Exception):
                self._gone(str(message), sinks)
            else:
                self.receive(message, sinks)

    def stop(self) -> None:
        """Request it to release its trial and end."""
        if self.host is not None:
            self.actor.stop.remote()

    def cancel_unplaced(self) -> None:
        """End a worker that has not been placed yet."""
        if self.host is None and self.end is None:
            self.end = StopReason("there was no room for it", 1)
            self.remove()

    def remove(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.actor is not None:
            _ray().kill(self.actor)
        self.actor = self.messages = self.host = None

    def _gone(self, why: str, sinks: Sinks) -> None:
        message = f"worker {self.number} ended{f' on {self.host}' if self.host else ''}: {why}"
        self.remove()
        self.crashed(message, "is placed again", sinks)


def _reason(why: Exception) -> str:
    """The informative line of the long message that Ray writes about a lost actor."""
    lines = str(why).strip().splitlines() or [type(why).__name__]
    if getattr(why, "actor_init_failed", False):
        return lines[-1]
    return "its process or its node was lost" if isinstance(why, _ray().exceptions.RayActorError) else lines[0]


class _Actor:
    """A worker in the process where Ray has placed it. It works in a thread, so that `next_messages` and `stop` can be called.

    It is the sink of its own events.
    """

    name = "ray"

    def __init__(self, settings: Settings, number: int, folder: Path, home: str) -> None:
        """folder: where the command was typed. home: the address of the command's machine."""
        self.queue: SimpleQueue[str | Event | StopReason | Exception] = SimpleQueue()
        self.interruption, self.throttle = Interruption(), ProgressThrottle()
        self.queue.put(socket.gethostname())
        threading.Thread(target=self._work, args=(settings, number, folder, home), daemon=True).start()

    def next_messages(self) -> list[str | Event | StopReason | Exception]:
        """Return all messages since the last call, waiting for at least one.

        The first message ever is the worker's host, the last one the reason why it stopped, or the exception of a crash.
        """
        first = self.queue.get()
        return [first, *(self.queue.get() for _ in range(self.queue.qsize()))]

    def stop(self) -> None:
        self.interruption.request()

    def emit(self, event: Event) -> None:
        if self.throttle.sends(event):
            self.queue.put(event)

    def close(self) -> None:
        """Do nothing: the messages stay in the queue until they are polled."""

    def _work(self, settings: Settings, number: int, folder: Path, home: str) -> None:
        try:
            os.chdir(folder)  # a relative path means the same everywhere
            if (
                is_local(settings.storage_url) and _ray().util.get_node_ip_address() != home
            ):  # this machine may have joined the cluster later
                raise SettingsError([UNSHARED])
            settings.folder.mkdir(parents=True, exist_ok=True)
            with (settings.folder / f"worker-{number}.log").open("ab", buffering=0) as log:
                os.dup2(log.fileno(), sys.stderr.fileno())
                os.dup2(log.fileno(), sys.stdout.fileno())
            self.queue.put(join_study(settings, Sinks([self]), self.interruption))
        except BaseException as why:  # any exception at all: the command waits for the last message
            traceback.print_exc()
            self.queue.put(RuntimeError(cause(why)))
