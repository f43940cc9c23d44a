"""Workers on a real Ray cluster of two nodes, each with room for one: whoever is lost, the study gets its trials."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
import torch

from objective.events.fanout import Sinks
from objective.events.types import Event, Progressed, Reported, Resumed, TrialEnded, Warned
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.resolve import resolve
from objective.settings.schema import Settings, SettingsError
from objective.workers import supervision as crew
from objective.workers.ray_cluster import check, local, place, share
from storage.outcome import finished
from storage.paths import LAST, trial_folder
from storage.proxy import serve
from tests.objective.small_study import ROOT, SMALL, command, study, tried

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
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    (out / "small.yaml").write_text(SMALL)
    return out


class Seen:
    """All that was shown; `react` is called with each event, in the process of the command."""

    name = "seen"

    def __init__(self, react: Callable[[Event], object] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.react = react

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.react(event)

    def close(self) -> None:
        """Nothing is open."""

    def warnings(self) -> list[str]:
        return [event.sentence for event in self.events if isinstance(event, Warned)]


def settings_of(out: Path, name: str, trials: int, kframes: int = 12) -> Settings:
    """Of a study that exists, without a trial so far."""
    more = ("--study", name, "--trials", str(trials), "--budget-kframes", str(kframes))
    assert command(out, *more, "--timeout", "1e-9") == 0
    flags = {"out": out, "device": "cpu", "study.name": name, "study.trials": trials, "budget.kframes": kframes}
    return resolve(out / "small.yaml", [], flags, gpu=False)


def placed(settings: Settings, cluster: Any, seen: Seen, count: int | None = None) -> StopReason:
    with Interruption() as interruption:
        interruption.patient = True
        return place(settings, count, cluster.address, Sinks([seen]), interruption)


def worker_of(out: Path, name: str, number: int) -> int:
    return int(study(out, name).trials[number].user_attrs["owner"]["pid"])


def raylet_of(worker: int) -> int:
    """The process that started a worker: each node has its own."""
    return int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_worker_on_each_node_and_one_that_is_killed_is_placed_again(spoken: Path, pair: Any) -> None:
    """As many workers as there is room for, and exactly as many trials as asked for."""
    at: dict[int, int] = {}  # node -> its first trial

    def kill(event: Event) -> None:
        if isinstance(event, Reported) and len(at) < 2:
            worker = worker_of(spoken, "killed", event.number)
            at.setdefault(raylet_of(worker), event.number)
            if len(at) == 2:
                os.kill(worker, signal.SIGKILL)

    seen = Seen(kill)
    end = placed(settings_of(spoken, "killed", 4), pair, seen)
    assert (end.why, end.code) == ("finished", 0)
    assert at.keys() == {node.all_processes["raylet"][0].process.pid for node in pair.list_all_nodes()}
    (gone,) = seen.warnings()
    assert "its process or its node is gone" in gone
    assert "it is placed again in 1 s" in gone
    known = study(spoken, "killed")
    assert len(finished(known)) == 4
    assert [trial.user_attrs["again_of"] for trial in finished(known) if "again_of" in trial.user_attrs] == [[*at.values()][1]]
    told = {event.number: event.state for event in seen.events if isinstance(event, TrialEnded)}
    assert told == {trial.number: trial.state.name for trial in tried(spoken, "killed")}


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
    seen = Seen(stop)
    end = placed(settings, pair, seen, 3)
    assert time.monotonic() - began[0] < 10
    assert seen.warnings() == ["the Ray cluster has room for 2 of 3 workers, each needs 1 CPU: the others wait for it"]
    assert (end.why, end.code, end.early) == ("interrupted", 130, True)
    stopped = [trial for trial in tried(spoken, "stopped") if trial.state.name == "FAIL"]
    assert len(stopped) == 2
    for trial in stopped:
        assert trial.user_attrs["released"] == "interrupted"
        assert (trial_folder(settings.folder, trial.number) / LAST).exists()
    assert not any(trial.state.name == "RUNNING" for trial in study(spoken, "stopped").trials)
    for worker in workers:
        subprocess.run(["tail", f"--pid={worker}", "-f", "/dev/null"], timeout=30, check=True)  # until it has ended


def test_the_trial_of_a_lost_node_goes_on_elsewhere(spoken: Path, pair: Any) -> None:
    (node,) = pair.worker_nodes
    there = node.all_processes["raylet"][0].process.pid
    lost: list[int] = []

    def remove(event: Event) -> None:
        if lost or not isinstance(event, Reported) or event.report.kframes != 6.0:
            return
        if raylet_of(worker_of(spoken, "lost", event.number)) == there:
            lost.append(event.number)
            pair.remove_node(node, allow_graceful=False)

    seen = Seen(remove)
    assert placed(settings_of(spoken, "lost", 4), pair, seen, 2).why == "finished"
    known = study(spoken, "lost")
    assert len(finished(known)) == 4
    (resumed,) = (event for event in seen.events if isinstance(event, Resumed))
    assert resumed.of == lost[0]
    assert resumed.kframes >= 3.0
    assert known.trials[lost[0]].user_attrs["released"] == "its worker died"


def test_a_worker_that_cannot_begin_says_why_and_stays_away_at_last(
    spoken: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that lacks a file, or lacks tacotune: the reason ends the study."""
    monkeypatch.setattr(crew, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(crew, "CRASHES", 2)
    settings = settings_of(spoken, "lacking", 2)
    without_file = settings.study.model_copy(update={"space": str(spoken / "away.yaml")})
    seen = Seen()
    end = placed(settings.model_copy(update={"study": without_file}), cluster, seen, 1)
    assert end.code == 1
    assert "away.yaml" in end.why
    assert end.why.endswith("it crashed 2 times without finishing a trial")
    assert len(seen.warnings()) == 2

    module = ModuleType("only_here")  # stands for our own modules, which the worker finds
    exec("from objective.settings.schema import Settings\nclass Ours(Settings): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    end = placed(module.Ours(**dict(settings)), cluster, Seen(), 1)
    assert "ModuleNotFoundError: No module named 'only_here'" in end.why


@pytest.mark.skipif(torch.cuda.is_available(), reason="shown by what CUDA says where there is no GPU")
def test_the_gpus_of_a_cluster_are_used_where_this_machine_has_none(
    spoken: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node says that it has one, which two workers share; the other nodes' cores are left alone."""
    monkeypatch.setattr(crew, "CRASHES", 1)
    settings = settings_of(spoken, "gpu", 1)
    side_by_side = settings.study.model_copy(update={"trials_per_gpu": 2})
    node = cluster.add_node(num_cpus=0, num_gpus=1)
    seen = Seen()
    end = placed(settings.model_copy(update={"device": "auto", "study": side_by_side}), cluster, seen)
    cluster.remove_node(node, allow_graceful=False)
    assert "device cuda: need a CUDA device, torch finds none" in end.why
    assert sorted(sentence[:8] for sentence in seen.warnings()) == ["worker 0", "worker 1"]


def test_a_storage_that_other_machines_cannot_use_is_refused(spoken: Path, cluster: Any) -> None:
    other = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.2")
    try:
        with pytest.raises(SettingsError, match=r"cannot use this one's storage: use postgresql://"):
            placed(settings_of(spoken, "refused", 1), cluster, Seen())
    finally:
        cluster.remove_node(other)  # in order, or Ray would think for a while that it lives


@pytest.mark.parametrize(
    ("url", "alone"),
    [
        ("sqlite:////shared/studies.db", True),
        ("postgres-local", True),
        ("postgres-local:/shared/db", True),
        ("postgresql:///studies", True),
        ("postgresql://me@localhost/studies", True),
        ("postgresql://me@/studies?host=/run/postgresql", True),
        ("grpc://127.0.0.1:13000", True),
        ("grpc://[::1]:13000", True),
        ("postgresql://me:secret@db/studies", False),
        ("postgresql:///studies?host=db", False),
        ("grpc://head:13000", False),
    ],
)
def test_whether_a_storage_is_of_one_machine_alone(url: str, alone: bool) -> None:
    assert local(url) == alone


def test_so_many_workers_share_a_gpu_as_were_asked_for() -> None:
    """Ray counts in ten thousandths: seven sevenths must not be more than one."""
    for side_by_side in (1, 2, 3, 7):
        what, amount = share(resolve(None, [], {"device": "cuda", "study.trials_per_gpu": side_by_side}, gpu=True))
        assert what == "GPU"
        assert round(amount, 4) == amount
        assert side_by_side * amount <= 1 < (side_by_side + 1) * amount
    assert share(resolve(None, [], {"device": "cpu", "threads": 3}, gpu=False)) == ("CPU", 3.0)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", ":1: connection refused"),
        ("nowhere.invalid:6379", "cannot reach a cluster at nowhere.invalid:6379"),
        ("nonsense", "Invalid address format: nonsense"),
        ("ray://head:10001", "need HOST:PORT of a cluster, got ray://head:10001"),
    ],
)
def test_an_address_that_nobody_answers_is_told_at_once(address: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(SettingsError) as caught:
        check(address)
    assert words in str(caught.value)
    assert "give HOST:PORT of its head" in str(caught.value)
    assert time.monotonic() - began < 10


def test_something_else_that_answers_is_no_cluster() -> None:
    server, port = serve(optuna.storages.InMemoryStorage(), "127.0.0.1", 0)
    with pytest.raises(SettingsError, match="cannot reach a cluster"):
        check(f"127.0.0.1:{port}")
    server.stop(None).wait()


def test_a_machine_without_ray_is_told_how_to_get_it() -> None:
    code = """if True:
        import sys
        sys.modules["ray"] = None
        from objective.workers.ray_cluster import check
        try:
            check("head:6379")
        except ValueError as why:
            print(why)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'tacotune[ray]'" in done.stdout
