"""Leases on running trials: each worker signs its trial (host, process, boot) and sends heartbeats, so that dead ones show."""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from storage.errors import FAILURES
from storage.optuna_private import set_attribute

BEAT_S = 5.0  # between two heartbeats
WATCH_S = 20.0  # between two observations of the other workers while a trial runs: each reads all trials
SLOWEST_S = 60.0  # between two heartbeats while the database does not answer
SIGNATURE_S = 30.0  # for a worker to sign a trial that it has taken


def owner() -> dict[str, Any]:
    """Return the signature of this process.

    It differs from that of a process with the same number after a reboot, or in another container of this machine.
    """
    here = {"host": socket.gethostname(), "machine": _text("/etc/machine-id"), "boot": _text("/proc/sys/kernel/random/boot_id")}
    return here | {"pids": _link("/proc/self/ns/pid"), "pid": os.getpid(), "started": _started(os.getpid())}


class Watch:
    """Distinguishes trials whose worker is alive from those whose worker is dead.

    A dead process of this machine is recognised at once, any other when its heartbeat has not changed for `grace_s` seconds.
    These seconds are measured by this process's monotonic clock, and only between two calls of `classify` that follow one
    another closely. So no worker is taken for dead because a clock jumps, clocks differ, or the database was away for an hour.
    """

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self._unchanged: dict[int, tuple[Any, float]] = {}  # trial -> its heartbeat, and for how many seconds it is unchanged
        self._last_call = time.monotonic()
        self._lock = threading.Lock()

    def classify(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial], list[FrozenTrial]]:
        """Split the RUNNING ones of `trials` by worker: other workers that are alive, dead workers, this process.

        `trials` are all trials of the study, just read from the storage.
        """
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        here = owner()
        with self._lock:
            now = time.monotonic()
            passed, self._last_call = min(now - self._last_call, 2 * WATCH_S, self.grace_s / 2), now
            self._unchanged = {trial.number: self._count(trial, passed) for trial in running}
            dead = [trial for trial in running if self._is_dead(trial, here)]
        own = [trial for trial in running if trial.user_attrs.get("owner") == here]
        return [trial for trial in running if trial not in dead and trial not in own], dead, own

    def _count(self, trial: FrozenTrial, passed: float) -> tuple[Any, float]:
        beat, before = trial.user_attrs.get("beat"), self._unchanged.get(trial.number)
        return (beat, before[1] + passed) if before and before[0] == beat else (beat, 0.0)

    def _is_dead(self, trial: FrozenTrial, here: dict[str, Any]) -> bool:
        signature = trial.user_attrs.get("owner")
        unchanged = self._unchanged[trial.number][1]
        if signature is None:
            return unchanged >= SIGNATURE_S
        return signature != here and (gone(signature, here) or unchanged >= self.grace_s)


class Lease:
    """The claim of this process to a running trial. A context manager: signs the trial, then sends heartbeats from a thread.

    The thread survives a database that does not answer. It sets `lost` where another program has ended the trial, and calls
    `on_hang` with a sentence, in the thread, where `progressed` has not been called for `hang_s` seconds.
    """

    def __init__(
        self, study: optuna.Study, trial: optuna.Trial, watch: Watch, hang_s: float, on_hang: Callable[[str], None]
    ) -> None:
        self.study, self.trial, self.watch = study, trial, watch
        self.hang_s, self.on_hang = hang_s, on_hang
        self.lost = False
        self._idle_s, self._kframes = 0.0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self.trial.set_user_attr("owner", owner())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=1)  # it may be waiting for the database: a late heartbeat does no harm

    def progressed(self, kframes: float) -> None:
        """Record that the trial has trained on `kframes`. Raises UpdateFinishedTrialError where the lease is lost."""
        if self.lost:
            raise UpdateFinishedTrialError(f"trial {self.trial.number} was ended by another program")
        self._idle_s, self._kframes = 0.0, kframes

    def _beat(self) -> None:
        wait, beats, last = BEAT_S, 0, time.monotonic()
        watched = last
        while not self._done.wait(min(wait, self.hang_s)):
            now = time.monotonic()
            self._idle_s += min(now - last, 2 * wait)  # a process that was suspended has not hung
            last = now
            if self._idle_s >= self.hang_s:
                self.on_hang(f"no progress for {self._idle_s:.0f} s at {self._kframes:.0f} kframes")
                return
            try:
                beats += 1
                set_attribute(self.study, self.trial, "beat", beats)
                if now - watched >= WATCH_S:
                    self.watch.classify(self.study.get_trials(deepcopy=False))  # its seconds count only from call to call
                    watched = now
                wait = BEAT_S
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except (OSError, *FAILURES):  # training continues without the database until the next report
                wait = min(2 * wait, SLOWEST_S)


def gone(signature: dict[str, Any], here: dict[str, Any]) -> bool:
    """Return whether the process of a signature ran on this machine and has certainly ended.

    `here` is the signature of the calling process. Machines may share a host name, and containers even a boot.
    """
    if any(signature.get(name) != here[name] for name in ("host", "machine")):
        return False
    if signature.get("boot") != here["boot"]:
        return bool(here["machine"])  # this machine was rebooted; without a machine id it may be another one
    return bool(signature.get("pids") == here["pids"] and _started(signature["pid"]) != signature["started"])


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The start time of a process in the kernel's ticks, "" if there is none. Without /proc: "alive" or ""."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "alive"
    # The name, in parentheses, may hold spaces; the start time is the 20th field after it.
    state = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return state[19] if len(state) > 19 and state[0] != "Z" else ""
