"""A trial whose owner is gone is an orphan; one that runs, here or elsewhere, is not."""
import subprocess
import sys

import optuna

from storage.leases import _started, beside, orphans, owner


def test_only_the_dead_leave_orphans() -> None:
    study = optuna.create_study()
    ask = "import json; from storage.leases import owner; print(json.dumps(owner()))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    import json

    dead = json.loads(done.stdout)
    leases = {
        "alive": owner(),
        "dead": dead,
        "another boot": {**owner(), "boot": "another"},
        "elsewhere": {**dead, "host": "elsewhere"},
        "another process": {**owner(), "pid": 1, "started": _started(1)},
        "nobody's": None,
    }
    numbers = {}
    for name, lease in leases.items():
        trial = study.ask()
        numbers[trial.number] = name
        if lease is not None:
            trial.set_user_attr("owner", lease)
    assert [numbers[trial.number] for trial in orphans(study)] == ["dead", "another boot"]
    assert [numbers[trial.number] for trial in beside(study)] == ["another process", "nobody's"]
