"""The listener of a corpus is trained once, by one of several processes, and shared; a damaged file is trained again."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objective.trial.ears import POOR, Ears, load_ears
from tests.model.voices import sentences, voice

CPU = torch.device("cpu")
CORPUS, SPEECH = voice(sentences(4, 9))


def load(cache: Path, fingerprint: str = "a", kframes: int = 2) -> tuple[Ears, int]:
    """Return the listener and how many updates it took to train it now."""
    updates: list[int] = []
    ears = load_ears(CORPUS, fingerprint, SPEECH, kframes, cache, CPU, lambda done, total: updates.append(done))
    return ears, len(updates)


def train_in_turn(cache: Path, results: "multiprocessing.Queue[int]") -> None:
    torch.set_num_threads(1)
    results.put(load(cache)[1])


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.pt"))


def test_it_is_trained_once_and_shared(tmp_path: Path) -> None:
    first, updates = load(tmp_path)
    again, none = load(tmp_path)
    assert updates > 0
    assert none == 0
    assert again.errors == first.errors
    assert first.listener is not None
    assert again.listener is not None
    weights, same = first.listener.network.state_dict(), again.listener.network.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_another_corpus_or_budget_has_another_one(tmp_path: Path) -> None:
    load(tmp_path)
    assert load(tmp_path, fingerprint="b")[1] > 0
    assert load(tmp_path, kframes=1)[1] > 0
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_file_is_trained_again(tmp_path: Path, content: bytes) -> None:
    load(tmp_path)
    (file,) = files(tmp_path)
    file.write_bytes(content or file.read_bytes()[:-100])
    assert load(tmp_path)[1] > 0
    assert load(tmp_path)[1] == 0


def test_of_two_processes_at_once_one_trains(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = spawned.Queue()
    workers = [spawned.Process(target=train_in_turn, args=(tmp_path, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    updates = sorted(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    assert updates[0] == 0 < updates[1]


def test_an_interrupted_training_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_ears(CORPUS, "a", SPEECH, 2, tmp_path, CPU, interrupt)
    assert files(tmp_path) == []
    assert load(tmp_path)[1] > 0


def test_one_that_misses_every_third_letter_does_not_judge(tmp_path: Path) -> None:
    ears = load(tmp_path)[0]
    assert replace(ears, errors=POOR).hears
    assert not replace(ears, errors=POOR + 0.01).hears
    assert not Ears(None).hears, "switched off"


def test_the_start_of_a_study_says_how_well_it_hears(tmp_path: Path) -> None:
    ears = load(tmp_path)[0]
    well = "the listener hears 2.0% of the letters of the held-out recordings wrong"
    assert replace(ears, errors=0.02).note == well
    assert "so alignment and stops alone do" in replace(ears, errors=0.5).note
    assert "listener.kframes=0" in Ears(None).note


def test_no_frames_mean_no_listener(tmp_path: Path) -> None:
    assert load(tmp_path, kframes=0) == (Ears(None), 0)
    assert files(tmp_path) == []
