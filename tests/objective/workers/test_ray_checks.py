"""Checks before workers are placed on a Ray cluster: the address, the storage, the resources. Starts no cluster."""

import sys
import time

import optuna
import pytest

from objective.settings.resolve import resolve
from objective.settings.schema import SettingsError
from objective.workers.ray_cluster import check_cluster, is_local, resources_of_worker
from storage.proxy import serve

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tacotune[ray]'")


@pytest.mark.parametrize(
    ("url", "local"),
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
def test_a_storage_that_only_this_machine_can_use_is_local(url: str, local: bool) -> None:
    assert is_local(url) == local


def test_as_many_workers_share_a_gpu_as_requested() -> None:
    """Ray counts in units of 0.0001, and seven sevenths must not be more than one."""
    for count in (1, 2, 3, 7):
        settings = resolve(None, [], {"device": "cuda", "study.trials_per_gpu": count}, gpu=True)
        resource, amount = resources_of_worker(settings)
        assert resource == "GPU"
        assert round(amount, 4) == amount
        assert count * amount <= 1 < (count + 1) * amount
    assert resources_of_worker(resolve(None, [], {"device": "cpu", "threads": 3}, gpu=False)) == ("CPU", 3.0)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", ":1: connection refused"),
        ("nowhere.invalid:6379", "cannot reach a cluster at nowhere.invalid:6379"),
        ("nonsense", "Invalid address format: nonsense"),
        ("ray://head:10001", "need HOST:PORT of a cluster, got ray://head:10001"),
    ],
)
def test_an_unreachable_cluster_is_reported_at_once(address: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(SettingsError) as caught:
        check_cluster(address)
    assert message in str(caught.value)
    assert "give HOST:PORT of its head" in str(caught.value)
    assert time.monotonic() - began < 10


def test_another_server_is_not_taken_for_a_cluster() -> None:
    server, port = serve(optuna.storages.InMemoryStorage(), "127.0.0.1", 0)
    with pytest.raises(SettingsError, match="cannot reach a cluster"):
        check_cluster(f"127.0.0.1:{port}")
    server.stop(None).wait()


def test_a_missing_ray_is_reported_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ray", "ray._private.services"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(SettingsError, match=r"pip install 'tacotune\[ray\]'"):
        check_cluster("head:6379")
