"""A listener hears what was said, notices what was not, and is the same one each time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.listener import Heard, Listener, error_rate, spelled, train_listener
from model.text.languages import find_language
from tests.model.voices import FRAMES, TOY, said, sentences, voice

CPU = torch.device("cpu")
HELD_OUT = sentences(12, 1)[-6:] + sentences(6, 2)


CORPUS, SPEECH = voice(HELD_OUT)


def trained(kframes: float = 80.0, seed: int = 0) -> Listener:
    return train_listener(CORPUS, SPEECH.train, kframes, CPU, seed)


@pytest.fixture(scope="module")
def listener() -> Listener:
    torch.set_num_threads(1)
    return trained()


def heard(listener: Listener, mels: list[np.ndarray], texts: list[str]) -> list[Heard]:
    lengths = torch.tensor([len(mel) for mel in mels])
    padded = torch.zeros(len(mels), int(lengths.max()), mels[0].shape[1])
    for row, mel in enumerate(mels):
        padded[row, : len(mel)] = torch.from_numpy(mel)
    return listener.hear(padded, lengths, texts)


def errors(listener: Listener, mels: list[np.ndarray]) -> float:
    found = heard(listener, mels, HELD_OUT)
    return error_rate([spelled(text, TOY) for text in HELD_OUT], [one.text for one in found])


def test_it_hears_recordings_that_it_was_not_trained_on(listener: Listener) -> None:
    mels = [said(text, seed=100 + place) for place, text in enumerate(HELD_OUT)]
    assert errors(listener, mels) < 0.05
    assert max(one.surprise for one in heard(listener, mels, HELD_OUT)) < 0.5


def test_it_notices_what_was_not_said(listener: Listener) -> None:
    mels = [said(text, seed=100 + place) for place, text in enumerate(HELD_OUT)]
    assert errors(listener, [mel[: len(mel) // 2] for mel in mels]) > 0.4, "half is missing"
    assert errors(listener, [np.concatenate([mel, mel]) for mel in mels]) > 0.8, "said twice"
    assert errors(listener, [mel[::-1].copy() for mel in mels]) > 0.5, "reversed"
    window = np.ones(5 * FRAMES) / (5 * FRAMES)
    mumbled = [np.stack([np.convolve(band, window, "same") for band in mel.T], 1).astype(np.float32) for mel in mels]
    assert errors(listener, mumbled) > 0.5, "smeared over five letters"


def test_it_is_surprised_by_another_text(listener: Listener) -> None:
    mels = [said(text, seed=100 + place) for place, text in enumerate(HELD_OUT)]
    right = heard(listener, mels, HELD_OUT)
    wrong = heard(listener, mels, HELD_OUT[1:] + HELD_OUT[:1])
    assert [one.text for one in right] == [one.text for one in wrong], "what it hears does not depend on what it expects"
    assert min(one.surprise for one in wrong) > max(one.surprise for one in right)
    short = heard(listener, [mels[0][:2]], HELD_OUT[:1])[0]
    assert short.surprise == 1, "too short for its letters: as surprising as a guess, not infinitely"


def test_padding_changes_nothing(listener: Listener) -> None:
    short, long = said("ab ba."), said("abc def gha.")
    alone, together = heard(listener, [short], ["ab ba."])[0], heard(listener, [short, long], ["ab ba.", "abc def gha."])[0]
    assert alone.text == together.text
    assert alone.surprise == pytest.approx(together.surprise, abs=1e-4)


def test_one_seed_gives_the_same_weights_bit_for_bit() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = trained(kframes=3).network.state_dict()
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left as it was"
    torch.manual_seed(2)
    again, other = (trained(kframes=3, seed=seed).network.state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_budget_bounds_the_frames() -> None:
    seen: list[tuple[int, int]] = []
    train_listener(CORPUS, SPEECH.train, 2, CPU, 0, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2_000, 2_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_seconds_end_its_training_early() -> None:
    seen: list[int] = []
    train_listener(CORPUS, SPEECH.train, 2_000, CPU, 0, lambda done, total: seen.append(done), seconds=1e-3)
    assert len(seen) == 1


def test_a_restored_listener_is_the_same(listener: Listener) -> None:
    mel = said(HELD_OUT[0])
    again = Listener.restored(listener.state(), TOY, CPU)
    assert heard(again, [mel], HELD_OUT[:1]) == heard(listener, [mel], HELD_OUT[:1])
    with pytest.raises((KeyError, RuntimeError)):
        Listener.restored(listener.state(), replace(TOY, symbols=tuple("_ab")), CPU)


def test_only_letters_are_spelled() -> None:
    en, ru = find_language("en"), find_language("ru")
    assert spelled("Don't stop,  it's - OK!", en) == "dont stop its ok"
    assert spelled("вол+осы, ёлка?", ru) == "волосы ёлка"
    assert spelled("...", en) == ""
