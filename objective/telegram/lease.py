"""One reporter per study, however many were started: the active one has signed the study and renews its signature.

Study attributes have no "set if unset", so this is Fischer's protocol: a reporter that finds no valid signature signs, waits
for longer than a write takes, and becomes active if the signature is still its own. A dead reporter is recognised in the same
way as a trial's dead worker (storage/leases.py).
"""

import time
import uuid
from typing import Any

import optuna

from storage.leases import gone, owner
from storage.optuna_private import storage_of, study_id

ATTRIBUTE = "telegram_lease"
SETTLE_S = 3.0  # from signing to becoming active
BEAT_S = 10.0
GRACE_S = 60.0  # without a beat, after which a reporter on another machine counts as dead


class Lease:
    """This reporter's claim on a study.

    Waiting time is measured by this process's clock and counts only while it looks, so differing clocks declare no process
    dead.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._claim, self._beats = uuid.uuid4().hex, 0
        self._last_signature: Any = None
        self._unchanged_s, self._looked_at = 0.0, time.monotonic()

    def free(self) -> bool:
        """Return whether no other reporter is active. Has to be called repeatedly, since it watches the other's beat."""
        now, signature = time.monotonic(), self._signature()
        passed, self._looked_at = min(now - self._looked_at, GRACE_S / 2), now
        self._unchanged_s = self._unchanged_s + passed if signature == self._last_signature else 0.0
        self._last_signature = signature
        return not signature or gone(signature["owner"], owner()) or self._unchanged_s >= GRACE_S

    def sign(self) -> None:
        """Sign the study, or renew the signature."""
        self._beats += 1
        self.study.set_user_attr(ATTRIBUTE, {"owner": owner(), "claim": self._claim, "beat": self._beats})

    def mine(self) -> bool:
        """Return whether the study bears this reporter's signature."""
        signature = self._signature()
        return bool(signature) and signature["claim"] == self._claim

    def release(self) -> None:
        if self.mine():
            self.study.set_user_attr(ATTRIBUTE, None)

    def _signature(self) -> Any:
        return storage_of(self.study).get_study_user_attrs(study_id(self.study)).get(ATTRIBUTE)
