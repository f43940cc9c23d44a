"""Workers on a real Ray cluster of two nodes with room for one each: the study gets its trials, whatever is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from objective.events.fanout import Sinks
from objective.events.types import Event, Progressed, Reported, Resumed, TrialEnded, Warned
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.resolve import resolve
from objective.settings.schema import Settings, SettingsError
from objective.workers import supervision
from objective.workers.ray_cluster import place_workers
from storage.outcome import finished
from storage.paths import LAST, trial_folder
from tests.objective.corpus import copy_of
from tests.objective.small_study import command, study, tried

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tacotune[ray]'")
pytestmark = pytest.mark.slow

ONE_CPU = {"num_cpus": 1, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args=ONE_CPU)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def pair(cluster: Any) -> Any:
    """The cluster with a second node."""
    if not cluster.worker_nodes:
        cluster.add_node(**ONE_CPU)
    return cluster


@pytest.fixture(scope="module")
def spoken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(corpus, tmp_path_factory.mktemp("runs"))


class Recorder:
    """A sink that keeps all events, and calls `react` with each of them in the process of the command."""

    name = "recorder"

    def __init__(self, react: Callable[[Event], object] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.react = react

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.react(event)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def warnings(self) -> list[str]:
        return [event.sentence for event in self.events if isinstance(event, Warned)]


def settings_of(out: Path, name: str, trials: int, kframes: int = 12) -> Settings:
    """The settings of an existing study without trials."""
    more = ("--study", name, "--trials", str(trials), "--budget-kframes", str(kframes))
    assert command(out, *more, "--timeout", "1e-9") == 0
    flags = {"out": out, "device": "cpu", "study.name": name, "study.trials": trials, "budget.kframes": kframes}
    return resolve(out / "small.yaml", ["study.unaligned=0"], flags, gpu=False)  # these networks are too small to align


def placed(settings: Settings, cluster: Any, recorder: Recorder, count: int | None = None) -> StopReason:
    with Interruption() as interruption:
        interruption.graceful = True
        return place_workers(settings, count, cluster.address, Sinks([recorder]), interruption)


def worker_of(out: Path, name: str, number: int) -> int:
    return int(study(out, name).trials[number].user_attrs["owner"]["pid"])


def raylet_of(worker: int) -> int:
    """The process that started a worker. Each node has its own."""
    return int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])


def test_each_node_gets_a_worker_and_a_killed_one_is_placed_again(spoken: Path, pair: Any) -> None:
    """There are as many workers as there is room for, and exactly the requested trials."""
    first: dict[int, int] = {}  # node -> its first trial

    def kill(event: Event) -> None:
        if isinstance(event, Reported) and len(first) < 2:
            worker = worker_of(spoken, "killed", event.number)
            first.setdefault(raylet_of(worker), event.number)
            if len(first) == 2:
                os.kill(worker, signal.SIGKILL)

    recorder = Recorder(kill)
    end = placed(settings_of(spoken, "killed", 4), pair, recorder)
    assert (end.reason, end.code) == ("finished", 0)
    assert first.keys() == {node.all_processes["raylet"][0].process.pid for node in pair.list_all_nodes()}
    (lost,) = recorder.warnings()
    assert "its process or its node was lost" in lost
    assert "it is placed again in 1 s" in lost
    stored = study(spoken, "killed")
    assert len(finished(stored)) == 4
    assert [trial.user_attrs["again_of"] for trial in finished(stored) if "again_of" in trial.user_attrs] == [
        [*first.values()][1]
    ]
    shown = {event.number: event.state for event in recorder.events if isinstance(event, TrialEnded)}
    assert shown == {trial.number: trial.state.name for trial in tried(spoken, "killed")}


def test_sigterm_releases_every_trial_within_ten_seconds(spoken: Path, pair: Any) -> None:
    workers: set[int] = set()
    began: list[float] = []

    def stop(event: Event) -> None:
        if isinstance(event, Progressed) and not began:
            workers.add(worker_of(spoken, "stopped", event.number))
            if len(workers) == 2:
                began.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGTERM)

    settings = settings_of(spoken, "stopped", 2, kframes=1_000)
    recorder = Recorder(stop)
    end = placed(settings, pair, recorder, 3)
    assert time.monotonic() - began[0] < 10
    assert recorder.warnings() == ["the Ray cluster has room for 2 of 3 workers, each needs 1 CPU: the others wait for room"]
    assert (end.reason, end.code, end.early) == ("interrupted", 130, True)
    stopped = [trial for trial in tried(spoken, "stopped") if trial.state.name == "FAIL"]
    assert len(stopped) == 2
    for trial in stopped:
        assert trial.user_attrs["released"] == "interrupted"
        assert (trial_folder(settings.folder, trial.number) / LAST).exists()
    assert not any(trial.state.name == "RUNNING" for trial in study(spoken, "stopped").trials)
    for worker in workers:
        subprocess.run(["tail", f"--pid={worker}", "-f", "/dev/null"], timeout=30, check=True)  # waits until it has ended


def test_the_trial_of_a_lost_node_resumes_on_another_one(spoken: Path, pair: Any) -> None:
    (node,) = pair.worker_nodes
    raylet = node.all_processes["raylet"][0].process.pid
    lost: list[int] = []

    def remove(event: Event) -> None:
        if lost or not isinstance(event, Reported) or event.report.kframes != 6.0:
            return
        if raylet_of(worker_of(spoken, "lost", event.number)) == raylet:
            lost.append(event.number)
            pair.remove_node(node, allow_graceful=False)

    recorder = Recorder(remove)
    assert placed(settings_of(spoken, "lost", 4), pair, recorder, 2).reason == "finished"
    stored = study(spoken, "lost")
    assert len(finished(stored)) == 4
    (resumed,) = (event for event in recorder.events if isinstance(event, Resumed))
    assert resumed.of == lost[0]
    assert resumed.kframes >= 3.0
    assert stored.trials[lost[0]].user_attrs["released"] == "its worker died"


def test_a_worker_that_cannot_start_reports_why_and_is_given_up(
    spoken: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine lacks a file, or tacotune itself. The reason ends the study."""
    monkeypatch.setattr(supervision, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(supervision, "MAX_CRASHES", 2)
    settings = settings_of(spoken, "lacking", 2)
    without_file = settings.study.model_copy(update={"space": str(spoken / "away.yaml")})
    recorder = Recorder()
    end = placed(settings.model_copy(update={"study": without_file}), cluster, recorder, 1)
    assert end.code == 1
    assert "away.yaml" in end.reason
    assert end.reason.endswith("it crashed 2 times without finishing a trial")
    assert len(recorder.warnings()) == 2

    module = ModuleType("only_here")  # stands for a module of this project that the node lacks
    exec("from objective.settings.schema import Settings\nclass Ours(Settings): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    end = placed(module.Ours(**dict(settings)), cluster, Recorder(), 1)
    assert "ModuleNotFoundError: No module named 'only_here'" in end.reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="the worker must fail for want of a GPU")
def test_the_gpus_of_a_cluster_are_used_where_this_machine_has_none(
    spoken: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node claims to have one, which two workers share; the cores of other nodes are not used."""
    monkeypatch.setattr(supervision, "MAX_CRASHES", 1)
    settings = settings_of(spoken, "gpu", 1)
    two_per_gpu = settings.study.model_copy(update={"trials_per_gpu": 2})
    node = cluster.add_node(num_cpus=0, num_gpus=1)
    recorder = Recorder()
    end = placed(settings.model_copy(update={"device": "auto", "study": two_per_gpu}), cluster, recorder)
    cluster.remove_node(node, allow_graceful=False)
    assert "device cuda: need a CUDA device, torch finds none" in end.reason
    assert sorted(sentence[:8] for sentence in recorder.warnings()) == ["worker 0", "worker 1"]


def test_a_storage_that_other_machines_cannot_use_is_refused(spoken: Path, cluster: Any) -> None:
    other = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.2")
    try:
        with pytest.raises(SettingsError, match=r"cannot reach the storage of this one: use postgresql://"):
            placed(settings_of(spoken, "refused", 1), cluster, Recorder())
    finally:
        cluster.remove_node(other)  # gracefully, or Ray would take it for alive for a while
