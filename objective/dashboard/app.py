"""Serve optuna-dashboard behind our own server and guard: the program of `dashboard` (objective/dashboard/__main__.py)."""

import argparse
import sys
import threading
import time
import warnings

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna_dashboard import wsgi

from model.errors import BadInput
from objective.dashboard.auth import Guard
from objective.dashboard.preferences import Listening
from objective.dashboard.server import Server, seekable, styled
from objective.runtime.access import address_of, origin, token_for
from objective.runtime.signals import Interruption
from objective.views.launcher import StudyCommand
from storage.artifacts import artifact_store
from storage.lookup import existing_storage, study_in
from storage.outcome import best_of
from storage.paths import ARTIFACTS, STUDY, url_of
from storage.studies import stop_retrying

TOKEN = "DASHBOARD_TOKEN"
# A health record is a line of thousands of letters: unwrapped, it makes a trial's page 8,000 pixels wide.
WRAPPED = "#dashboard main p { white-space: normal; overflow-wrap: anywhere }"
LOOK_S = 5.0  # between two looks at what was chosen
TICK_S = 0.2


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal, or the end of the study command that has started it. Raises BadInput, StorageError, OSError."""
    with Interruption(supervised=True) as interruption:  # one signal is enough, and `timeout` sends two
        return _serve(parsed, interruption)


def _serve(parsed: argparse.Namespace, interruption: Interruption) -> int:
    command = StudyCommand()
    family, address = address_of(parsed.host, parsed.port)
    token = token_for(parsed.host, address, TOKEN)
    _check(parsed)
    storage = existing_storage(url_of(parsed.storage, parsed.out))
    study = _first(storage, parsed)
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
        print(f"dashboard: open {origin(server.server_address)}{page}", flush=True)
        if not command.present and not (parsed.out / ARTIFACTS).is_dir():  # of a running study they are still to come
            print(f"no artifacts in {parsed.out}: give --out", file=sys.stderr)
        looked = time.monotonic()
        while interruption.reason is None and not command.ended.wait(TICK_S):
            if listening and time.monotonic() - looked >= LOOK_S:
                listening.look_again()
                looked = time.monotonic()
        server.shutdown()
    return 0


def _first(storage: optuna.storages.BaseStorage, parsed: argparse.Namespace) -> optuna.Study | None:
    """Return the study to open first, or None for the list of all: the default study need not be there. Raises StorageError."""
    if parsed.study == STUDY and parsed.listen is None and STUDY not in optuna.get_all_study_names(storage):
        return None
    return study_in(storage, parsed.study)


def _check(parsed: argparse.Namespace) -> None:
    if parsed.out.exists() and not parsed.out.is_dir():
        raise BadInput(f"need the folder that the study writes to, got the file {parsed.out}: choose another --out")
    if parsed.listen is not None and parsed.listen < 2:
        raise BadInput(f"need at least 2 samples to compare, got --listen {parsed.listen}: leave the number out for 8")


def _listening(study: optuna.Study, parsed: argparse.Namespace) -> Listening:
    listening = Listening(study, parsed.listen, parsed.out)
    listening.look()
    if listening.heard is None:
        print(f"--listen waits for the samples of two healthy trials of {parsed.study}", flush=True)
    return listening


def _show_the_healthy(storage: optuna.storages.BaseStorage) -> None:
    """Make optuna-dashboard's best trial a healthy one while there is one.

    By itself it takes the smallest value, also that of a sick trial, which finished but misses a target.
    """
    smallest = storage.get_best_trial

    def best(study_id: int) -> FrozenTrial:
        if storage.get_study_directions(study_id) != [StudyDirection.MINIMIZE]:
            return smallest(study_id)  # another program's
        return best_of(storage.get_all_trials(study_id, deepcopy=False)) or smallest(study_id)

    vars(storage)["get_best_trial"] = best
