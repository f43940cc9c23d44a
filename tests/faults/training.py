"""Faults of one long training (`tacotune train`): it is killed, its disk fills up, its gradients or its rate are poisoned."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Lock

import torch

from model import checkpoints
from objective.events.log_reader import Lines
from storage.outcome import reason
from tests.faults.files import Disk
from tests.faults.harness import Bench, Broken, Row, Study, measured
from tests.faults.outages import expect_failure_message

BUDGET = 45  # kframes: about 165 updates
SET = ("training.batch_size=1", "training.learning_rate=3e-3", "budget.snapshot_kframes=3", "network.reduction=4")
ONE = Lock()  # of several studies that run side by side, one trains what nothing disturbs
POISONS = {  # what is done to it, and the fault of the launcher that does it
    "NaN gradients, 2 updates": "nan:60:61",
    "NaN gradients, 20 updates": "nan:60:79",
    "NaN gradients from update 60 on": "nan:60:1000000",
    "learning rate x 100 from update 60 on": "rate:60:100",
    "learning rate x 10,000 from update 60 on": "rate:60:10000",
}


class Training(Study):
    """One training of the tiny network. It is no study of a kind that others are compared with."""

    program = "objective.train"

    def __init__(self, bench: Bench, name: str, row: Row, disk: Disk | None = None) -> None:
        super().__init__(bench, name, row, trials=1, out=None if disk is None else disk.folder)
        named = ["--settings", f"{self.out}/small.yaml", "--name", name, "--out", str(self.out), "--storage", self.url]
        self.arguments = [*named, "--device", "cpu", "--budget-kframes", str(BUDGET)]
        self.arguments += [part for one in SET for part in ("--set", one)]
        self.incomparable = True

    @property
    def voice(self) -> Path:
        """The file that it ends with."""
        return self.folder / "voice.pt"

    def actions(self) -> list[str]:
        """Return what the training said about itself."""
        events = Lines(self.folder / "events.jsonl").new()
        return [event["sentence"] for event in events if event["event"] == "Warned"]


def equal_to_undisturbed(bench: Bench, training: Training) -> None:
    """Compare the weights of a training with those of one that nothing disturbed."""
    kept = bench.root / "undisturbed.voice"
    with ONE:
        if not kept.exists():
            with Training(bench, "training-undisturbed", Row("undisturbed")) as other:
                other.start(plain=True).ends(0)
                shutil.copyfile(other.voice, kept)
    expected, found = weights(kept), weights(training.voice)
    training.row.equal = all(torch.equal(weight, found[name]) for name, weight in expected.items())
    training.row.finished = 1
    if not training.row.equal:
        training.row.broken.append("its weights differ from those of an undisturbed training")


def weights(voice: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoints.load(voice)["weights"])


def killed(bench: Bench, times: int = 4) -> Iterator[Row]:
    """SIGKILL at random moments, and the same command again: the voice is the one that nothing disturbed."""
    random, row = Random(f"{bench.seed} training"), Row("training, SIGKILL")
    with Training(bench, "training-killed", row) as training, measured(row):
        for _ in range(times):
            run = training.start("slow:0.02")
            if run.updates(random.randint(5, 35)):
                time.sleep(random.uniform(0, 0.5))
                run.stop()
            if run.ends(-signal.SIGKILL, 0) == 0:
                raise Broken("it was done before the kill: kill it earlier")
            row.kills["any moment"] += 1
        training.finish()
        equal_to_undisturbed(bench, training)
    yield row


def interrupted(bench: Bench) -> Iterator[Row]:
    """SIGTERM, then --continue with nothing but the name."""
    row = Row("training, SIGTERM and --continue")
    with Training(bench, "training-stopped", row) as training, measured(row):
        run = training.start("slow:0.02")
        run.updates(40)
        run.process.terminate()
        run.ends(130)
        training.arguments = ["--continue", "--name", training.name, "--out", str(training.out), "--device", "cpu"]
        training.arguments += ["--storage", training.url]
        training.finish()
        equal_to_undisturbed(bench, training)
    yield row


def full_disk(bench: Bench) -> Iterator[Row]:
    """The disk fills up: the command ends with its reason, and after room was made the same command continues."""
    row = Row("training, disk full", "PostgreSQL")
    disk = Disk(bench.root / "training-full.disk")
    try:
        with Training(bench, "training-full", row, disk) as training, measured(row):
            run = training.start("slow:0.02")
            run.updates(40)
            disk.fill(run)
            expect_failure_message(run, "stop")
            disk.make_room(run)
            training.finish()
            equal_to_undisturbed(bench, training)
        yield row
    finally:
        disk.close()


def poisoned(bench: Bench) -> Iterator[Row]:
    """Each poison is survived, or ends the training with a diagnosis and the last good weights as its voice."""
    for place, (what, fault) in enumerate(POISONS.items()):
        row = Row(f"training, {what}")
        with Training(bench, f"training-poisoned-{place}", row) as training, measured(row):
            training.finish(fault)
            row.notes, row.finished = training.actions(), 1
            if not all(
                bool(weight.isfinite().all()) for weight in weights(training.voice).values() if weight.is_floating_point()
            ):
                row.broken.append("its voice has weights that are not finite")
            trial = training.stored().trials[-1]
            row.notes.append(f"{trial.state.name}: {reason(trial) or 'trained to the end of its budget'}")
        yield row
