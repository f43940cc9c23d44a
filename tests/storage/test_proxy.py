"""The proxy prints its address, ends on SIGTERM, and reports bad input in one sentence."""

import socket
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage

from objective.proxy import main
from storage.errors import StorageError
from tests.storage.servers import Proxy

Open = Callable[..., BaseStorage]


def test_the_proxy_prints_its_address_and_ends_cleanly(tmp_path: Path, opened: Open) -> None:
    proxy = Proxy(f"sqlite:///{tmp_path}/x.db")
    assert proxy.first_line == f"serving: give --storage {proxy.url} to the workers\n"
    study = optuna.create_study(storage=opened(proxy.url), study_name="s")
    study.tell(study.ask(), 1.0)
    assert proxy.stop() == 0
    kept = optuna.load_study(storage=opened(f"sqlite:///{tmp_path}/x.db"), study_name="s")
    assert kept.best_value == 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--storage", "nonsense"], "need a storage URL such as sqlite:///"),
        (["--storage", "postgresql://me:geheim@127.0.0.1:1/x"], "cannot open postgresql://me:***@127.0.0.1:1/x: "),
        (["--storage", "sqlite:///{}/x.db", "--port", "{}"], "of 127.0.0.1: Address already in use"),
        (["--storage", "sqlite:///{}/x.db", "--host", "192.0.2.1"], "of 192.0.2.1: Cannot assign requested address"),
        (["--storage", "sqlite:///{}/x.db", "--port", "70000"], "need a port from 0 to 65535, got 70000"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        assert main([argument.format(port if argument == "{}" else tmp_path) for argument in arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()  # of the process, gRPC's own output included
    assert sentence in line
    assert "geheim" not in line


def test_a_missing_proxy_is_reported(opened: Open) -> None:
    with pytest.raises(StorageError, match=r"no storage proxy answers at .*: start one there with `tacotune proxy`"):
        opened("grpc://127.0.0.1:1")
    for url in ("grpc://", "grpc://host:port", "grpc://me:geheim@host:1"):
        with pytest.raises(StorageError, match="need the address of a proxy such as grpc://host:13000") as caught:
            opened(url)
        assert "geheim" not in str(caught.value)
    assert main(["--storage", "grpc://127.0.0.1:1"]) == 2
