"""One reporter for each study, however many were started: who speaks has signed in the study, and raises a beat there.

Study attributes know no "set if unset", so this is Fischer's protocol: whoever finds nobody signs, waits for longer than a
write takes, and speaks if the signature is still his own. Who is gone is told as of a trial (storage/leases.py).
"""

import time
import uuid
from typing import Any

import optuna

from storage.leases import gone, owner
from storage.optuna_private import storage_of, study_id

ATTRIBUTE = "telegram_lease"
SETTLE_S = 3.0  # from signing to speaking
BEAT_S = 10.0
GRACE_S = 60.0  # after so long without a beat a reporter elsewhere is dead


class Lease:
    """This reporter's claim. Seconds are its own, and count only while it looks, so differing clocks make nobody dead."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._claim, self._beats = uuid.uuid4().hex, 0
        self._seen: Any = None
        self._stood, self._looked = 0.0, time.monotonic()

    def free(self) -> bool:
        """Whether nobody speaks. To be asked again and again."""
        now, signed = time.monotonic(), self._signed()
        passed, self._looked = min(now - self._looked, GRACE_S / 2), now
        self._stood = self._stood + passed if signed == self._seen else 0.0
        self._seen = signed
        return not signed or gone(signed["owner"], owner()) or self._stood >= GRACE_S

    def sign(self) -> None:
        """Also the beat of who has signed before."""
        self._beats += 1
        self.study.set_user_attr(ATTRIBUTE, {"owner": owner(), "claim": self._claim, "beat": self._beats})

    def mine(self) -> bool:
        signed = self._signed()
        return bool(signed) and signed["claim"] == self._claim

    def release(self) -> None:
        if self.mine():
            self.study.set_user_attr(ATTRIBUTE, None)

    def _signed(self) -> Any:
        return storage_of(self.study).get_study_user_attrs(study_id(self.study)).get(ATTRIBUTE)
