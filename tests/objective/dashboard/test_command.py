"""The dashboard command: what it refuses, what it serves, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import pytest

from objective.dashboard.__main__ import main
from objective.dashboard.app import TOKEN
from objective.views.launcher import FROM_STUDY
from storage.artifacts import publish
from storage.paths import STORAGE_VARIABLE as STORAGE
from storage.paths import STUDY
from storage.studies import open_storage
from tests.objective.asking import ask
from tests.processes import until

ROOT = Path(__file__).parents[3]
LONG = "a-token-of-length"
BAD = {
    "no database": ([], {}, "tacotune.db, which does not exist: give --storage or --out"),
    "no study": (["--study", "berta"], {}, "got berta: choose one of anna"),
    "for others": (["--host", "0.0.0.0"], {}, f"to serve 0.0.0.0, which others can reach: set {TOKEN}, or leave --host out"),
    "IPv6": (["--host", "::"], {}, f"set {TOKEN}"),
    "an empty token": (["--host", "0.0.0.0"], {TOKEN: "  "}, f"set {TOKEN}"),
    "a short token": (["--host", "0.0.0.0"], {TOKEN: "short"}, f"need a {TOKEN} of 12 characters or more, got 5"),
    "a short token here": ([], {TOKEN: "short"}, f"need a {TOKEN} of 12 characters or more"),
    "no such host": (["--host", "no such host"], {}, "need a name or an address of this machine, got no such host"),
    "another machine's address": (["--host", "203.0.113.1"], {TOKEN: LONG}, "cannot serve port 0 of 203.0.113.1"),
    "no port": (["--port", "65536"], {}, "need a port from 0 to 65535, got 65536"),
    "no study to hear": (["--listen"], {}, "got tacotron2: choose one of anna"),
    "one to hear": (["--study", "anna", "--listen", "1"], {}, "need at least 2 samples to compare, got --listen 1"),
    "a file to write to": (["--out", __file__], {}, f"need the folder that the study writes to, got the file {__file__}"),
    "a URL": (["--storage", "nonsense"], {}, "need a storage URL"),
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a study, `anna`: two healthy trials, and a sick one with a smaller value."""
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/tacotune.db"), study_name="anna")
    (tmp_path / "sample.ogg").write_bytes(bytes(range(100)))
    for value, amount in ((0.5, -1.0), (0.1, 1.0), (0.4, -1.0)):
        trial = study.ask()
        publish(study, trial, [tmp_path / "sample.ogg"], tmp_path)
        trial.set_constraint("health/diagonality", amount)
        study.tell(trial, value)
    return tmp_path


@contextmanager
def running(out: Path, *more: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command in a process of its own, and the address that it prints."""
    line = [sys.executable, "-m", "objective.dashboard", "--out", str(out), "--port", "0", *more]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    inherited = {name: value for name, value in os.environ.items() if name not in (TOKEN, STORAGE, FROM_STUDY)}
    with subprocess.Popen(line, cwd=ROOT, text=True, env={**inherited, **environment}, **pipes) as process:  # type: ignore[call-overload]
        try:
            first = process.stdout.readline()
            assert first.startswith("dashboard: open http://"), first + process.stdout.read()
            yield process, first.split()[-1]
        finally:
            process.kill()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_one_sentence(
    case: str, out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    more, environment, sentence = BAD[case]
    for name in (TOKEN, STORAGE, FROM_STUDY):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    where = out / "elsewhere" if case == "no database" else out
    assert main(["--out", str(where), "--port", "0", *more]) == 2
    printed = capfd.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert not (out / "elsewhere").exists()


def test_a_port_in_use_is_reported(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--out", str(out), "--port", str(port), "--study", "anna", "--listen"]) == 2
    assert f"cannot serve port {port} of 127.0.0.1: Address already in use: choose another --port" in capfd.readouterr().err
    assert optuna.get_all_study_names(f"sqlite:///{out}/tacotune.db") == ["anna"], "nothing was written"


def test_a_folder_without_artifacts_is_reported_and_not_made(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The studies are served all the same, and can be deleted."""
    wrong, database = out / "wrong", ["--storage", f"sqlite:///{out}/tacotune.db"]
    assert main(["--out", str(wrong), "--port", "0", *database, "--study", "anna", "--listen"]) == 2
    assert capfd.readouterr().err == f"need the samples of anna, got none of them in {wrong}/artifacts: give --out\n"
    with running(wrong, *database) as (process, address):
        port = urlsplit(address).port
        assert port
        assert ask(port, "DELETE", "/api/studies/1", "{}", Content_Type="application/json")[0] == 204
        assert json.loads(ask(port, path="/api/studies")[2]) == {"study_summaries": []}
        assert not wrong.exists()
        process.terminate()
        assert process.stdout.read() == f"no artifacts in {wrong}: give --out\n"


def test_what_is_uploaded_before_the_first_trial_has_ended_is_there(out: Path) -> None:
    early = out / "early"
    with running(early, "--storage", f"sqlite:///{out}/tacotune.db") as (_, address):
        port = urlsplit(address).port
        assert port
        file = json.dumps({"file": "data:text/plain;base64,eA==", "filename": "x.txt"})
        status, _, body = ask(port, "POST", "/api/artifacts/1", file, Content_Type="application/json")
        assert status == 201
        assert ask(port, path=f"/artifacts/1/{json.loads(body)['artifact_id']}")[2] == b"x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_studies_with_their_sounds_until_a_signal(out: Path, number: signal.Signals) -> None:
    with running(out, "--study", "anna") as (process, address):
        place = urlsplit(address)
        assert place.hostname == "127.0.0.1"
        assert place.path == "/dashboard/studies/1"
        assert place.port
        assert ask(place.port, path="/dashboard")[0] == 200
        answer = json.loads(ask(place.port, path="/api/studies/1")[2])
        assert [len(trial["artifacts"]) for trial in answer["trials"]] == [1, 1, 1]
        assert [trial["number"] for trial in answer["best_trials"]] == [2], "a sick trial is never the best"
        sound = answer["trials"][0]["artifacts"][0]["artifact_id"]
        status, headers, body = ask(place.port, path=f"/artifacts/1/1/{sound}", Range="bytes=10-19")
        assert (status, headers["content-type"], body) == (206, "audio/ogg", bytes(range(10, 20)))
        assert "access-control-allow-origin" not in headers
        assert ask(place.port, path="/dashboard", Host="evil.example")[0] == 403
        process.send_signal(number)
        assert (process.wait(30), process.stdout.read()) == (0, "")


def test_the_default_study_is_opened_first_where_it_is_there(out: Path) -> None:
    with running(out) as (_, address):
        assert urlsplit(address).path == "", "the list of all"
    optuna.create_study(storage=open_storage(f"sqlite:///{out}/tacotune.db"), study_name=STUDY)
    with running(out) as (_, address):
        assert urlsplit(address).path == "/dashboard/studies/2"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_more_signals_change_nothing(out: Path, number: signal.Signals) -> None:
    """As `timeout` sends them, and a person who presses Ctrl-C until it has ended."""
    with running(out) as (process, _):
        process.send_signal(number)
        until(lambda: process.send_signal(number) or process.poll() is not None)
        assert (process.wait(30), process.stdout.read()) == (0, "")


def test_others_may_come_with_the_token_which_is_never_shown(out: Path) -> None:
    with running(out, "--host", "0.0.0.0", **{TOKEN: LONG}) as (process, address):
        place = urlsplit(address)
        assert place.hostname == socket.gethostname().lower()
        assert place.port
        assert ask(place.port, path="/static/bundle.js")[0] == 401
        assert ask(place.port, path="/api/studies", Authorization=f"Bearer {LONG}", Host="any.example")[0] == 200
        line = Path(f"/proc/{process.pid}/cmdline")
        assert not line.exists() or LONG.encode() not in line.read_bytes()
        process.terminate()
        assert LONG not in address + process.stdout.read()


def test_started_by_a_study_it_ends_with_the_study(out: Path) -> None:
    url = f"sqlite:///{out}/tacotune.db"
    with running(out / "artifacts-alone", **{FROM_STUDY: "1", STORAGE: url}) as (process, _):
        process.stdin.close()  # killed, without a message
        assert (process.wait(30), process.stdout.read()) == (0, "")


def test_choices_that_a_person_makes_while_it_serves_become_ranks(out: Path) -> None:
    with running(out, "--study", "anna", "--listen") as (_, address):
        port, path = urlsplit(address).port, urlsplit(address).path.replace("/dashboard", "/api")
        assert port
        heard = json.loads(ask(port, path=path)[2])
        assert (heard["name"], heard["is_preferential"], len(heard["trials"])) == ("anna-listen", True, 2)
        chosen = {"mode": "ChooseWorst", "candidates": [0, 1], "clicked": 1}
        assert ask(port, "POST", f"{path}/preference", json.dumps(chosen), Content_Type="application/json")[0] == 204
        study = optuna.load_study(storage=open_storage(f"sqlite:///{out}/tacotune.db"), study_name="anna")
        until(lambda: "listened" in study.user_attrs)
    assert study.user_attrs["listened"] == {"0": 1, "2": 2}
