"""Who runs a trial: host, process and boot, so that a trial whose owner died on this machine is noticed at once."""
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

SIGNED_WITHIN = timedelta(seconds=10)  # between the asking for a trial and its owner's signature


def owner() -> dict[str, Any]:
    """This process, told apart from one that gets the same number after a reboot."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "boot": _boot(), "started": _started(os.getpid())}


def orphans(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """RUNNING trials whose owner was a process of this machine that is gone. What runs elsewhere is left alone."""
    here = owner()
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if _gone(trial.user_attrs.get("owner"), here)]


def beside(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """RUNNING trials of other living processes of this machine, or asked for a moment ago by nobody knows whom."""
    here, now = owner(), datetime.now()

    def lives(trial: optuna.trial.FrozenTrial) -> bool:
        lease = trial.user_attrs.get("owner")
        if lease is None:
            return trial.datetime_start is not None and now - trial.datetime_start < SIGNED_WITHIN
        return bool(lease["host"] == here["host"] and lease != here and not _gone(lease, here))

    return [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if lives(trial)]


def _gone(lease: dict[str, Any] | None, here: dict[str, Any]) -> bool:
    if lease is None or lease["host"] != here["host"]:
        return False
    return bool(lease["boot"] != here["boot"] or _started(lease["pid"]) != lease["started"])


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else ""


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
    try:
        # The name, in parentheses, may hold spaces; the start time is the 20th field after it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
