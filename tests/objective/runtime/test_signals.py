"""A signal requests a stop, which is confirmed at once; a second one stops at once."""

import os
import signal
from collections.abc import Iterator

import pytest

from objective.runtime.signals import SIGNALS, STOPPING, Interruption, StopNotice


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers: a supervised process whose stop was requested ignores signals for good."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_is_confirmed_once_and_the_second_one_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Interruption() as interruption:
        interruption.graceful = True
        with StopNotice(interruption):
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.reason == "interrupted"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    assert capsys.readouterr().err.splitlines() == [STOPPING]


def test_a_stop_without_a_signal_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Interruption() as interruption, StopNotice(interruption):
        interruption.request()
    assert capsys.readouterr().err == ""


def test_a_supervised_process_prints_nothing_and_survives_repeated_signals(capsys: pytest.CaptureFixture[str]) -> None:
    with Interruption(supervised=True) as interruption:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.reason == "interrupted"
    os.kill(os.getpid(), signal.SIGTERM)
    assert capsys.readouterr().err == ""
