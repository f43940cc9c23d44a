"""Faults of files: a full disk, damaged snapshots, a damaged mel cache."""

import resource
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.harness import INTERVAL, KFRAMES, Bench, Broken, Evidence, Row, Run, Study, measured
from tests.faults.judge import judge
from tests.faults.outages import expect_failure_message

DISK_MB = 24
ON_DISK = "set:objective.trial.corpus.FRAMES_IN_MEMORY:0"  # reads mels from disk, as for a corpus too large for the memory


class Disk:
    """A small disk, where this user may mount one; else a limit on the file size of a process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.ballast = folder, folder / "ballast"
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
        self.mounted = subprocess.run(command, capture_output=True).returncode == 0

    def fill(self, run: Run) -> None:
        if not self.mounted:
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
            return
        try:
            with self.ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4_096))
        except OSError:
            return

    def make_room(self, run: Run) -> None:
        if self.mounted:
            self.ballast.unlink()
        elif run.process.poll() is None:
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def full_disk(bench: Bench) -> Iterator[Row]:
    """The disk fills up during a trial, with the database on another disk or on the same one."""
    random = Random(f"{bench.seed} full")
    for setting, same in (("stop", False), ("wait", False), ("stop", True)):
        database = "with the database on it" if same else "the database elsewhere"
        row = Row(f"disk full, {database}, on_failure={setting}", "SQLite" if same else "PostgreSQL")
        name = f"full-{setting}-{same}"
        disk = Disk(bench.root / f"{name}.disk")
        more = ("--set", f"study.on_failure={setting}", "--set", "study.database_s=2")
        try:
            if disk.mounted or not same:
                with Study(bench, name, row, more=more, out=disk.folder) as study, measured(row):
                    _filled(study, disk, random, setting, same)
                yield row
        finally:
            disk.close()


def _filled(study: Study, disk: Disk, random: Random, setting: str, same: bool) -> None:
    run = study.start("slow:0.03")
    run.updates(random.randint(3, 40))
    disk.fill(run)
    try:
        expect_failure_message(run, setting)
    finally:
        disk.make_room(run)
    if not same:
        _expect_released(study)
    run.ends(0) if setting == "wait" else study.finish()
    judge(study)


def _expect_released(study: Study) -> None:
    if not any("released" in trial.user_attrs for trial in study.stored().trials):
        study.row.broken.append("the trial was not released")


def damaged_snapshots(bench: Bench) -> Iterator[Row]:
    """The newest snapshot is damaged between a kill and the next command, which resumes from the one before with a warning."""
    row = Row("newest snapshot damaged: a bit, half, empty, another trial's", most=2 * INTERVAL)
    with Study(bench, "damaged", row, 4) as study, measured(row):
        stolen, expected = b"", None
        for damage in ("a bit", "half", "empty", "another's"):
            run = study.start("slow:0.05")
            if expected is not None:
                _expect_resumed_at(run, expected)
            newest, saved = _killed_after_two(run, other=damage == "another's")
            row.kills["any moment"] += 1
            expected = saved[-2]
            stolen = stolen or newest.read_bytes()
            _damage(newest, damage, stolen)
        _expect_resumed_at(study.finish(), expected or 0.0)
        judge(study)
    yield row


def destroyed_snapshots(bench: Bench) -> Iterator[Row]:
    """No snapshot is left undamaged: the trial restarts from its beginning."""
    row = Row("all snapshots damaged", most=KFRAMES)
    with Study(bench, "destroyed", row, 2) as study, measured(row):
        _killed_after_two(study.start("slow:0.05"))
        row.kills["any moment"] += 1
        for path in study.folder.rglob("*.pt"):
            _damage(path, "half", b"")
        _expect_resumed_at(study.finish(), 0.0)
        judge(study)
    yield row


def _killed_after_two(run: Run, other: bool = False) -> tuple[Path, list[float]]:
    """Kill a trial once it has two snapshots; return the newest one, and the kframes of all. `other`: not the first trial."""

    def two(run: Run) -> bool:
        seen = _of(run, "saved")
        first_ended = bool(_of(run, "stored")) or not other
        return first_ended and len(seen) > 1 and seen[-1]["folder"] == seen[-2]["folder"]

    run.until(two, "a trial had two snapshots")
    run.stop()
    seen = _of(run, "saved")
    folder = seen[-1]["folder"]
    return Path(folder) / "last.pt", [line["kframes"] for line in seen if line["folder"] == folder]


def _expect_resumed_at(run: Run, kframes: float) -> None:
    """The killed configuration is the first to run."""
    run.until(lambda run: bool(_of(run, "start")), "the trial resumed")
    began = _of(run, "start")[0]["kframes"]
    if began != kframes:
        raise Broken(f"with a damaged snapshot it resumed at {began}, not at {kframes} kframes")
    if "resuming from an earlier one" not in run.stdout:
        raise Broken(f"no warning of a damaged snapshot: {run.stdout[-400:]}")


def _of(run: Run, what: str) -> list[Evidence]:
    return [line for line in run.evidence() if line["what"] == what]


def _damage(path: Path, damage: str, stolen: bytes) -> None:
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content[largest.header_offset + largest.file_size // 2 + 200] ^= 8
    path.write_bytes({"a bit": bytes(content), "half": bytes(content[: len(content) // 2]), "empty": b""}.get(damage, stolen))


def damaged_mels(bench: Bench) -> Iterator[Row]:
    """Damage between two commands is repaired silently. During a run, the trial is released and the retry repairs it."""
    random = Random(f"{bench.seed} mels")
    row = Row("mel cache damaged between two commands")
    with Study(bench, "mels-between", row) as study, measured(row):
        run = study.start()
        run.updates(random.randint(5, 40))
        run.kill()
        row.kills["any moment"] += 1
        _damage_mels(study, ("*.npy", "*.json"), _flipped)
        study.finish()
        judge(study)
    yield row
    for setting in ("stop", "wait"):
        row = Row(f"mel cache damaged during a run, on_failure={setting}")
        with Study(bench, f"mels-{setting}", row, more=("--set", f"study.on_failure={setting}")) as study, measured(row):
            run = study.start(ON_DISK, "slow:0.05")
            run.updates(random.randint(5, 40))
            _damage_mels(study, ("*.npy",), _flipped)
            expect_failure_message(run, setting)
            if "the mel cache is damaged" not in run.stdout + run.stderr:
                row.broken.append(f"its message was {run.stderr!r}")
            _expect_released(study)
            run.ends(0) if setting == "wait" else study.finish(ON_DISK)
            judge(study)
        yield row


def _damage_mels(study: Study, patterns: tuple[str, ...], how: Callable[[bytes], bytes]) -> None:
    for pattern in patterns:
        for path in (study.out / "cache" / "mels").glob(pattern):
            with path.open("r+b") as file:  # in place, so that a process that has it open sees the change
                content = how(file.read())
                file.seek(0)
                file.write(content)


def _flipped(content: bytes) -> bytes:
    return content[:-50] + bytes([content[-50] ^ 16]) + content[-49:]
