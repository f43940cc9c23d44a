"""optuna-dashboard with the pictures and sounds of the trials: `python -m objective.dashboard [--out runs] [--port 8080]`.

It serves this machine. Any other --host needs a token in the environment variable DASHBOARD_TOKEN, which the browser then asks
for as a password (objective/dashboard/auth.py). `--study NAME --listen [K]` puts the samples of the K best trials side by side,
to be compared by ear (objective/dashboard/preferences.py). Exit codes: 0 stopped, 1 the machine failed, 2 bad input.
"""

import argparse
import ipaddress
import os
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objective.runtime.signals import Interruption
from objective.views.launcher import Command
from storage.outcome import best_of
from storage.paths import ARTIFACTS, url_of
from storage.paths import STORAGE_VARIABLE as STORAGE

if TYPE_CHECKING:
    import optuna

    from objective.dashboard.preferences import Listening

TOKEN = "DASHBOARD_TOKEN"
SHORTEST = 12  # characters of a token
# A health record is a line of thousands of letters: unwrapped, it makes a trial's page 8,000 pixels wide.
WRAPPED = "#dashboard main p { white-space: normal; overflow-wrap: anywhere }"
LOOK_S = 5.0  # between two looks at what was chosen
TICK_S = 0.2


class BadInput(ValueError):
    """What was typed cannot be served. The message says why, and the way out."""


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    with Interruption(supervised=True) as interruption:  # one signal is enough, and `timeout` sends two
        from storage.errors import FAILURES, StorageError, database_failure

        try:
            return serve(parsed, interruption)
        except (BadInput, StorageError) as why:
            print(why, file=sys.stderr)
            return 2
        except (OSError, *FAILURES) as why:
            failure = str(why.strerror or why) if isinstance(why, OSError) else database_failure(why)
            if failure is None:
                raise
            print(f"the machine failed: {failure}: mend that and type the command again", file=sys.stderr)
            return 1


def serve(parsed: argparse.Namespace, interruption: Interruption) -> int:
    """Serve until somebody asks for the end, or the command beside it has ended. Raises BadInput, StorageError, OSError."""
    command = Command()
    token = os.environ.get(TOKEN, "").strip() or None
    family, address = _address(parsed.host, parsed.port)
    _check(parsed, address, token)
    from optuna_dashboard import wsgi

    from objective.dashboard.auth import Guard
    from objective.dashboard.server import Server, seekable, styled
    from storage.artifacts import artifact_store
    from storage.lookup import existing_storage, existing_study
    from storage.optuna_private import storage_of
    from storage.studies import stop_retrying

    url = url_of(parsed.storage or os.environ.get(STORAGE), parsed.out)
    study = existing_study(url, parsed.study) if parsed.study else None
    storage = storage_of(study) if study else existing_storage(url)
    interruption.on_request = lambda: stop_retrying(storage)
    warnings.filterwarnings("ignore", category=UserWarning, module="optuna")  # of parameters that few trials have
    _show_the_healthy(storage)
    app = wsgi(storage, artifact_store=artifact_store(parsed.out))
    try:
        server = Server(Guard(styled(seekable(app), WRAPPED), token), family, address)
    except OSError as why:
        raise BadInput(f"cannot serve port {parsed.port} of {parsed.host}: {why.strerror}: choose another --port") from why
    with server:
        listening = _listening(study, parsed) if study and parsed.listen else None
        threading.Thread(target=server.serve_forever, args=(TICK_S,), daemon=True).start()
        shown = listening.heard if listening and listening.heard else study
        page = f"/dashboard/studies/{storage.get_study_id_from_name(shown.study_name)}" if shown else ""
        print(f"dashboard: open {_origin(server.server_address)}{page}", flush=True)
        if not command.there and not (parsed.out / ARTIFACTS).is_dir():  # beside a study they are still to come
            print(f"no artifacts in {parsed.out}: say --out", file=sys.stderr)
        looked = time.monotonic()
        while interruption.reason is None and not command.ended.wait(TICK_S):
            if listening and time.monotonic() - looked >= LOOK_S:
                listening.look_again()
                looked = time.monotonic()
        server.shutdown()
    return 0


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    if not 0 <= port <= 65_535:
        raise BadInput(f"need a port from 0 to 65535, got {port}: choose another --port")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as why:
        raise BadInput(f"need a name or an address of this machine, got {host}: say --host 127.0.0.1") from why
    return family, address


def _check(parsed: argparse.Namespace, address: tuple[Any, ...], token: str | None) -> None:
    if token is None and not ipaddress.ip_address(address[0]).is_loopback:
        way_out = f"set {TOKEN}, or leave --host away"
        raise BadInput(f"need a token in the environment to serve {parsed.host}, where others may come: {way_out}")
    if token is not None and len(token) < SHORTEST:
        raise BadInput(f"need a {TOKEN} of {SHORTEST} characters or more, got {len(token)}: choose a longer one")
    if parsed.out.exists() and not parsed.out.is_dir():
        raise BadInput(f"need the folder that the study writes to, got the file {parsed.out}: choose another --out")
    if parsed.listen is not None and not parsed.study:
        raise BadInput("need the study whose samples are to be heard: say --study NAME beside --listen")
    if parsed.listen is not None and parsed.listen < 2:
        raise BadInput(f"need at least 2 samples to compare, got --listen {parsed.listen}: leave the number away for 8")


def _listening(study: "optuna.Study", parsed: argparse.Namespace) -> "Listening":
    from objective.dashboard.preferences import Listening

    listening = Listening(study, parsed.listen, parsed.out)
    listening.look()
    if listening.heard is None:
        print(f"listening begins when there are samples of two healthy trials of {parsed.study}", flush=True)
    return listening


def _show_the_healthy(storage: "optuna.storages.BaseStorage") -> None:
    """optuna-dashboard calls the smallest value the best, and no sick trial ever is while there is a healthy one."""
    from optuna.study import StudyDirection

    smallest = storage.get_best_trial

    def best(study_id: int) -> "optuna.trial.FrozenTrial":
        if storage.get_study_directions(study_id) != [StudyDirection.MINIMIZE]:
            return smallest(study_id)  # another program's
        return best_of(storage.get_all_trials(study_id, deepcopy=False)) or smallest(study_id)

    vars(storage)["get_best_trial"] = best


def _origin(address: Any) -> str:
    host, port = address[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m objective.dashboard", description="Watch studies in a browser.", allow_abbrev=False
    )
    parser.add_argument("--storage", default=None, metavar="URL", help="as for the study (default: a SQLite file under --out)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder that the study writes to (default runs)")
    parser.add_argument("--host", default="127.0.0.1", help=f"where to listen; what is not this machine alone needs {TOKEN}")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one (default 8080)")
    parser.add_argument("--study", default=None, metavar="NAME", help="the study to open first")
    parser.add_argument(
        "--listen", type=int, nargs="?", const=8, default=None, metavar="K",
        help="compare the samples of the K best trials of --study by ear (default 8)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
