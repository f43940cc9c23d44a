"""Faults by people and machines: a button, a signal, a jumping clock, a suspended process, a step that never ends."""

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
from optuna.trial import TrialState

from storage.outcome import ENDED_OUTSIDE
from tests.faults.harness import RANDOM, Bench, Broken, Evidence, Row, Run, Study, measured
from tests.faults.judge import judge

DAY_S = 86_400
EXIT_S = 10.0
GRACE = ("--set", "study.grace_s=12")  # a little more than two heartbeats
WILD = """
name: wild
about: every trial diverges
fixed: {training.learning_rate: 1.0e+20, training.clip_norm: 1.0e+20, training.warmup_share: 0.0}
parameters:
  loss.gate_positive_weight: {float: [1.0, 20.0], log: true}
"""


def fail_button(bench: Bench) -> Iterator[Row]:
    """A running trial is failed from outside, through Optuna and through the dashboard: it stops, and the study continues."""
    row = Row("Fail button (Optuna, and the dashboard over HTTP)")
    with Study(bench, "button", row) as study, measured(row):
        study.by_key = True  # the two configurations are not retried, others take their places
        run = study.start("slow:0.03")
        pressed: list[int] = []
        for press in (_tell, _dashboard):
            run.until(lambda run: bool(_reporting(run, pressed)), "a trial reported")
            number = _reporting(run, pressed)[0]["number"]
            press(study, number)
            pressed.append(number)
            seen = sum(line["number"] == number for line in _reporting(run, []))
            run.until(lambda run: run.stdout.count(ENDED_OUTSIDE) == len(pressed), "the trial stopped")
            more = sum(line["number"] == number for line in _reporting(run, [])) - seen
            if more > 1:
                row.broken.append(f"trial {number} made {more} reports after it was failed")
        run.ends(0)
        if any("released" in trial.user_attrs for trial in study.stored().trials):
            row.broken.append("a trial that a person ended was released")
        judge(study)
    yield row


def _reporting(run: Run, others: list[int]) -> list[Evidence]:
    return [line for line in run.evidence() if line["what"] == "reported" and line["number"] not in others]


def _tell(study: Study, number: int) -> None:
    study.stored().tell(number, state=TrialState.FAIL)


def _dashboard(study: Study, number: int) -> None:
    """Press the button as a browser does."""

    class Silent(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    app = optuna_dashboard.wsgi(optuna.storages.RDBStorage(study.url))
    with make_server("127.0.0.1", 0, app, handler_class=Silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/api/trials/{study.stored().trials[number]._trial_id}/tell"
        pressed = urllib.request.Request(address, json.dumps({"state": "Fail"}).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(pressed) as answer:
                if answer.status != 204:
                    raise Broken(f"the dashboard answered {answer.status}")
        finally:
            server.shutdown()
            thread.join()


def signals(bench: Bench, workers: int, times: int) -> Iterator[Row]:
    """Ctrl-C, which reaches all processes, or SIGTERM: the trial has a snapshot and is released, all end within 10 s."""
    random, row = Random(f"{bench.seed} signals {workers}"), Row("Ctrl-C, SIGTERM", "SQLite", workers)
    row.most, row.step = 0.0, False
    with Study(bench, f"signals-{workers}", row, 4, RANDOM) as study, measured(row):
        longest = 0.0
        for number in (signal.SIGINT, signal.SIGTERM) * times:
            run = study.start("slow:0.03")
            run.updates(random.randint(1, 25))
            began = time.monotonic()
            os.killpg(run.pid, number) if number == signal.SIGINT else run.process.terminate()
            run.ends(130)
            longest = max(longest, time.monotonic() - began)
            if any(trial.state == TrialState.RUNNING for trial in study.stored().trials):
                row.broken.append(f"after {number.name} a trial is left RUNNING")
        row.notes.append(f"ended after {longest:.1f} s at most")
        if longest > EXIT_S:
            row.broken.append(f"it took {longest:.1f} s to end")
        study.finish()
        judge(study)
    yield row


def starting(bench: Bench) -> Iterator[Row]:
    """SIGTERM at a bad moment: a crashed worker has been restarted, and does not handle signals yet."""
    row = Row("SIGTERM while a crashed worker restarts", workers=2)
    with Study(bench, "starting", row, 3, RANDOM) as study, measured(row):
        run = study.start("slow:0.05")
        run.until(lambda run: len(_training(run)) == 2, "two workers trained")
        before = _children(run)
        os.kill(min(_training(run)), signal.SIGKILL)
        row.kills["any moment"] += 1
        run.until(lambda run: bool(_children(run) - before), "a worker was restarted")
        began = time.monotonic()
        run.process.terminate()
        run.ends(130)
        if time.monotonic() - began > EXIT_S:
            row.broken.append(f"it took {time.monotonic() - began:.1f} s to end")
        study.finish()
        judge(study)
    yield row


def _training(run: Run) -> set[int]:
    return {line["pid"] for line in run.evidence() if line["what"] == "progressed"}


def _children(run: Run) -> set[str]:
    return set(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split())


def wrong_clocks(bench: Bench) -> Iterator[Row]:
    """Two workers seem to run on two machines. One clock jumps a day ahead, the other a day back: no trial is taken away."""
    row = Row("clocks of two machines jump by a day, back and forth")
    with Study(bench, "clocks", row, 4, RANDOM, more=GRACE) as study, measured(row):
        study.by_key = True
        runs = [study.start("slow:0.3", f"host:{name}", f"clock:10:{shift}") for name, shift in (("a", DAY_S), ("b", -DAY_S))]
        for run in runs:
            run.ends(0)
        if any("released" in trial.user_attrs for trial in study.stored().trials):
            row.broken.append("a trial was taken from a living worker")
        judge(study)
    yield row


def paused(bench: Bench) -> Iterator[Row]:
    """After SIGSTOP for longer than the grace period another machine takes over, and the resumed worker gives up the trial."""
    row = Row("worker of another machine stopped for longer than grace_s (SIGSTOP)")
    with Study(bench, "paused", row, 3, RANDOM, more=GRACE) as study, measured(row):
        study.by_key = True
        sleeper = study.start("slow:0.1", "host:elsewhere")
        sleeper.updates(15)
        os.kill(sleeper.pid, signal.SIGSTOP)
        try:
            other = study.start("slow:0.1")
            other.until(lambda run: "resumes at" in run.stdout, "it took over")
        finally:
            os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.ends(0)
        other.ends(0)
        judge(study)
    yield row


def _starts(run: Run) -> list[Evidence]:
    return [line for line in run.evidence() if line["what"] == "start"]


def hanging(bench: Bench) -> Iterator[Row]:
    """A training step never ends: the trial is released with the reason, and the worker restarted."""
    row = Row("training step that never ends", workers=2)
    with Study(bench, "hanging", row, 3, RANDOM, more=("--set", "study.hang_s=15")) as study, measured(row):
        study.finish("hang:12", "slow:0.03")
        released = [trial.user_attrs["released"] for trial in study.stored().trials if "released" in trial.user_attrs]
        if not any(why.startswith("no progress for") for why in released):
            row.broken.append(f"nothing was released for want of progress: {released}")
        row.notes += released
        judge(study)
    yield row


def poison(bench: Bench) -> Iterator[Row]:
    """A configuration that kills five workers at the same place is given up, and the study continues."""
    row = Row("a configuration that kills each of its workers")
    with Study(bench, "poison", row, 2, more=("--set", "study.recipes=[]")) as study, measured(row):
        study.incomparable = study.poisoned = True
        for _ in range(5):
            study.start("snapshot:1:half").ends(-signal.SIGKILL)
            row.kills["snapshot"] += 1
        study.finish()
        given_up = [trial.user_attrs["given_up"] for trial in study.stored().trials if "given_up" in trial.user_attrs]
        row.notes += given_up
        if len(given_up) != 1:
            row.broken.append(f"given up: {given_up}")
        judge(study)
    yield row


def dead_in_a_row(bench: Bench) -> Iterator[Row]:
    """After four trials that diverge before their first report, the study ends with a diagnosis."""
    row = Row("four consecutive trials that end at their first report")
    with Study(bench, "dead", row, 20) as study, measured(row):
        study.incomparable = True
        (study.out / "wild.yaml").write_text(WILD)
        run = study.start(more=("--space", f"{study.out}/wild.yaml", "--set", "study.recipes=[]"))
        run.ends(1)
        row.wanted = 4
        if "4 consecutive trials were stopped at their first report" not in " ".join(run.stdout.split()):
            row.broken.append(f"no diagnosis: {run.stdout[-300:]}")
        judge(study)
    yield row
