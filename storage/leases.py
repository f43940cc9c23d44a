"""Who runs a trial, and whether it still does: a signature (host, process, boot), and a beat that its worker raises."""

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

BEAT_S = 5.0  # between two beats
LOOK_S = 20.0  # between two looks at the others while a trial runs: a look reads all that run
SLOWEST_S = 60.0  # the same, while the database does not answer
SIGNED_S = 30.0  # from the asking for a trial to its owner's signature


def owner() -> dict[str, Any]:
    """This process, told apart from one that gets the same number after a reboot, or in another container of this machine."""
    here = {"host": socket.gethostname(), "machine": _text("/etc/machine-id"), "boot": _text("/proc/sys/kernel/random/boot_id")}
    return here | {"pids": _link("/proc/self/ns/pid"), "pid": os.getpid(), "started": _started(os.getpid())}


class Watch:
    """Tells the trials of a study that run from those whose worker is dead.

    Of a process of this machine that is gone, it knows at once; of any other, when its beat has stood still for `grace_s`
    seconds. They are this process's own seconds, and count only while it looks: a clock that jumps, clocks that differ, and a
    database that was away for an hour make nobody dead.
    """

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self._stood: dict[int, tuple[Any, float]] = {}  # trial -> its beat, and for how long it has been that
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def look(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial], list[FrozenTrial]]:
        """Of all trials as they are now, those that run: of other living workers, of dead ones, and this process's own."""
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        here = owner()
        with self._lock:
            now = time.monotonic()
            passed, self._looked = min(now - self._looked, 2 * LOOK_S, self.grace_s / 2), now
            self._stood = {trial.number: self._counted(trial, passed) for trial in running}
            dead = [trial for trial in running if self._dead(trial, here)]
        mine = [trial for trial in running if trial.user_attrs.get("owner") == here]
        return [trial for trial in running if trial not in dead and trial not in mine], dead, mine

    def _counted(self, trial: FrozenTrial, passed: float) -> tuple[Any, float]:
        beat, known = trial.user_attrs.get("beat"), self._stood.get(trial.number)
        return (beat, known[1] + passed) if known and known[0] == beat else (beat, 0.0)

    def _dead(self, trial: FrozenTrial, here: dict[str, Any]) -> bool:
        signed = trial.user_attrs.get("owner")
        stood = self._stood[trial.number][1]
        if signed is None:
            return stood >= SIGNED_S
        return signed != here and (gone(signed, here) or stood >= self.grace_s)


class Lease:
    """This process's hold on a trial that it has asked for. A context manager: signed at entry, then a thread beats.

    The thread survives a database that does not answer. It sets `lost` where somebody else ended the trial, and calls `hung`
    with a sentence, in the thread, where `moved` has not been called for `hang_s` seconds.
    """

    def __init__(
        self, study: optuna.Study, trial: optuna.Trial, watch: Watch, hang_s: float, hung: Callable[[str], None]
    ) -> None:
        self.study, self.trial, self.watch = study, trial, watch
        self.hang_s, self.hung = hang_s, hung
        self.lost = False
        self._stood, self._kframes = 0.0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self.trial.set_user_attr("owner", owner())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=1)  # it may wait for a database that is away: a beat too late does no harm

    def moved(self, kframes: float) -> None:
        """The work goes on; with it, whether the trial is still ours: UpdateFinishedTrialError where it is not."""
        if self.lost:
            raise UpdateFinishedTrialError(f"trial {self.trial.number} was ended by somebody else")
        self._stood, self._kframes = 0.0, kframes

    def _beat(self) -> None:
        wait, beats, looked = BEAT_S, 0, time.monotonic()
        watched = looked
        while not self._done.wait(min(wait, self.hang_s)):
            now = time.monotonic()
            self._stood += min(now - looked, 2 * wait)  # a process that was stopped has not hung
            looked = now
            if self._stood >= self.hang_s:
                self.hung(f"no progress for {self._stood:.0f} s at {self._kframes:.0f} kframes")
                return
            try:
                beats += 1
                set_attribute(self.study, self.trial, "beat", beats)
                if now - watched >= LOOK_S:
                    self.watch.look(self.study.get_trials(deepcopy=False))  # its seconds count while somebody looks
                    watched = now
                wait = BEAT_S
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except (OSError, *FAILURES):  # the training goes on without the database until it has something to report
                wait = min(2 * wait, SLOWEST_S)


def gone(signed: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether this machine can say that the process is no more. Machines may share a name, and containers even a boot."""
    if any(signed.get(name) != here[name] for name in ("host", "machine")):
        return False
    if signed.get("boot") != here["boot"]:
        return bool(here["machine"])  # it was started anew; without a number of its own, it may be another machine
    return bool(signed.get("pids") == here["pids"] and _started(signed["pid"]) != signed["started"])


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
    """When a process began, in the kernel's ticks; "" if there is none. Without /proc: whether it lives."""
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
