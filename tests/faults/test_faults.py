"""The short part of the fault suite: the same code with a few kills on SQLite."""

import shutil
from collections.abc import Iterator

import pytest

from tests.faults.harness import Bench
from tests.faults.suite import QUICK, QUICK_LENGTHS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One corpus and one undisturbed study for all tests."""
    folder = tmp_path_factory.mktemp("faults")
    yield Bench(folder, 0, QUICK_LENGTHS)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", QUICK)
def test_every_promise_is_kept(name: str, bench: Bench) -> None:
    for row in QUICK[name](bench):
        assert row.broken == []
        assert row.equal
