"""What a network says free-running is judged: each fault is noticed, and what equals the recordings has none."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from model.config import Audio
from model.listener import train_listener
from model.synthesis import Synthesis, synthesise
from model.tacotron2 import Tacotron2
from objective.trial.ears import POOR, Ears, errors_of
from objective.trial.judge import SENTENCES, Judge, due
from tests.conftest import tiny_network
from tests.model.voices import BANDS, FRAMES, TAIL, TOY, said, sentences, voice, with_tail

CPU = torch.device("cpu")
HOP_S = 256 / 22_050
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.set_num_threads(1)
    corpus, speech = voice(sentences(7, 9))
    listener = train_listener(corpus, speech.train, 80, CPU, seed=0)
    return Judge(corpus, speech, Ears(listener, errors_of(listener, corpus, speech, CPU)), HOP_S, 0.3, CPU)


@pytest.fixture
def deaf(judge: Judge) -> Judge:
    made = object.__new__(Judge)
    made.__dict__.update(judge.__dict__)
    made.ears = Ears(judge.ears.listener, POOR + 0.01)
    return made


def same(values: np.ndarray) -> np.ndarray:
    return values


def synthesis(judge: Judge, change: Change = same, read: Change = same, ended: str = "gate") -> Synthesis:
    """Return what a network would have said that says the recordings after a `change`, and reads the text as `read` does."""
    mels = [change(sentence.mel) for sentence in judge.sentences]
    lengths = torch.tensor([len(mel) for mel in mels])
    symbols = max(len(sentence.ids) for sentence in judge.sentences)
    mel, alignment = torch.zeros(len(mels), int(lengths.max()), BANDS), torch.zeros(len(mels), int(lengths.max()), symbols)
    for row, (sentence, sound) in enumerate(zip(judge.sentences, mels, strict=True)):
        mel[row, : len(sound)] = torch.from_numpy(sound)
        path = read(np.linspace(0, len(sentence.ids) - 1, len(sound)))
        path = np.rint(path[np.rint(np.linspace(0, len(path) - 1, len(sound))).astype(int)]).astype(int)
        alignment[row, torch.arange(len(sound)), torch.from_numpy(path)] = 1
    return Synthesis(mel, torch.zeros(len(mels), mel.shape[1]), alignment, lengths, lengths, (ended,) * len(mels))  # type: ignore[arg-type]


def test_what_equals_the_recordings_has_no_fault(judge: Judge, deaf: Judge) -> None:
    for one in (judge, deaf):
        found = one.judged(synthesis(one), reduction=1)
        assert found.failures == 0
        assert found.mcd_db == pytest.approx(0, abs=1e-3)
        assert found.length == 1
    found = judge.judged(synthesis(judge), reduction=1)
    assert found.errors is not None
    assert found.errors < 0.05
    assert found.recorded_errors == judge.ears.errors


def half(mel: np.ndarray) -> np.ndarray:
    return mel[: len(mel) // 2]


def thrice(mel: np.ndarray) -> np.ndarray:
    return np.concatenate([mel[:-TAIL]] * 3 + [mel[-TAIL:]])


def without_the_middle(mel: np.ndarray) -> np.ndarray:
    return np.concatenate([mel[: len(mel) // 3], mel[2 * len(mel) // 3 :]])


def smeared(mel: np.ndarray) -> np.ndarray:
    window = np.ones(4 * FRAMES) / (4 * FRAMES)
    return with_tail(np.stack([np.convolve(band, window, "same") for band in mel[:-TAIL].T], 1).astype(np.float32))


def stuck_on_the_first_letter(mel: np.ndarray) -> np.ndarray:
    return with_tail(np.repeat(mel[:FRAMES], len(mel) // FRAMES, 0))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (half, {"cut"}),
        (thrice, {"repeated"}),
        (without_the_middle, {"skipped", "mumbled"}),
        (smeared, {"mumbled", "skipped", "cut"}),
        (stuck_on_the_first_letter, {"cut", "skipped", "mumbled"}),
    ],
)
def test_what_is_not_understood_is_a_fault(judge: Judge, change: Change, faults: set[str]) -> None:
    """Teacher-forced figures, and a check for early and missing stops, saw none of these."""
    found = judge.judged(synthesis(judge, change), reduction=1)
    assert found.failures >= 0.8
    assert {fault for spoken in found.sentences for fault in spoken.faults} <= faults


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda path: path * 0.55, "cut"),
        (lambda path: np.concatenate([path, path, path]), "repeated"),
        (lambda path: np.concatenate([path[path < 4], path[path > 14]]), "skipped"),
    ],
)
def test_without_a_listener_the_attention_shows_it(deaf: Judge, read: Change, fault: str) -> None:
    found = deaf.judged(synthesis(deaf, read=read), reduction=1)
    assert all(fault in spoken.faults for spoken in found.sentences)


@pytest.mark.parametrize(("silent_s", "faults"), [(0.0, set()), (0.15, set()), (0.4, {"late"})])
def test_a_stop_counts_from_the_end_of_the_speech(judge: Judge, silent_s: float, faults: set[str]) -> None:
    """A steady noise behind the speech is none; the exact frame does not matter."""
    noise = np.full((round(silent_s / HOP_S), BANDS), -9.0, np.float32)
    found = judge.judged(synthesis(judge, lambda mel: np.concatenate([mel, noise])), reduction=1)
    assert {fault for spoken in found.sentences for fault in spoken.faults} == faults


def test_a_sound_that_is_held_is_a_fault_though_every_letter_is_heard(judge: Judge) -> None:
    """A listener takes a letter of three seconds for one letter."""

    def held(path: np.ndarray) -> np.ndarray:
        return np.concatenate([path, np.full(4 * len(path), path[-1])])

    slow = round((judge.pause_s + 1.0) / HOP_S)
    found = judge.judged(synthesis(judge, lambda mel: np.concatenate([mel[:-TAIL], np.repeat(mel[-TAIL - 1 :][:1], slow, 0),
                                                                      mel[-TAIL:]]), read=held), reduction=1)  # fmt: skip
    assert all("stuck" in spoken.faults for spoken in found.sentences)


def test_what_never_stops_is_endless(judge: Judge) -> None:
    found = judge.judged(synthesis(judge, ended="limit"), reduction=1)
    assert all(spoken.faults == ("endless",) and spoken.stop_s is None for spoken in found.sentences)


@pytest.mark.parametrize(("bias", "faults"), [(50.0, {"cut", "skipped", "late"}), (-50.0, {"endless"})])
def test_a_network_is_judged_by_its_own_stops(deaf: Judge, bias: float, faults: set[str]) -> None:
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(), len(TOY.symbols), BANDS)
    with torch.no_grad():
        network.gate.bias.fill_(bias)
    output, found = deaf(network)
    assert found is not None
    assert all(faults & set(spoken.faults) for spoken in found.sentences)
    assert output.frame_lengths.max() <= 2 * deaf.recordings.frame_lengths.max() + 1 / HOP_S, "it is not heard out for minutes"


def test_the_attention_does_not_make_up_for_a_gate_that_never_fires(deaf: Judge) -> None:
    """It rests on the end of the text from the first step on, which would end an utterance in ordinary synthesis."""
    torch.manual_seed(1)
    network = Tacotron2(tiny_network(), len(TOY.symbols), BANDS)
    with torch.no_grad():
        network.gate.bias.fill_(-50.0)
        network.attention.query.weight.zero_()
        network.attention.location_dense.weight.zero_()
    batch = deaf.recordings
    assert "alignment" in synthesise(network, batch.ids, batch.symbol_lengths).ended
    output, _ = deaf(network)
    assert set(output.ended) == {"limit"}


def test_a_synthesis_that_is_not_finite_is_not_judged(judge: Judge) -> None:
    assert judge(Tacotron2(tiny_network(), len(TOY.symbols), BANDS, float("nan")))[1] is None


@pytest.mark.parametrize("count", [1, 2, 5, SENTENCES, SENTENCES + 9])
def test_the_sentences_are_short_and_long_ones(count: int) -> None:
    corpus, speech = voice(sentences(count, 4))
    made = Judge(corpus, speech, Ears(None), HOP_S, 0.3, CPU)
    lengths = [len(sentence.ids) for sentence in made.sentences]
    assert lengths == sorted(lengths)
    assert len(lengths) == min(count, SENTENCES)
    given = [len(utterance.ids) for utterance in corpus.validation]
    assert (lengths[0], lengths[-1]) == (min(given), max(given))
    for sentence in made.sentences:
        assert any((one.ids, one.text) == (sentence.ids, sentence.text) for one in corpus.validation)
        assert len(sentence.mel) == len(with_tail(said(sentence.text))), "text and recording belong together"


@pytest.mark.parametrize(
    ("budget_kframes", "frames", "times"), [(12, 1_000, 1), (400, 8_000, 1), (2_000, 6_600, 6), (360_000, 20_000, 24)]
)
def test_judging_on_the_way_costs_less_than_two_per_cent(budget_kframes: int, frames: int, times: int) -> None:
    marks = [mark for mark in range(1, 25) if due(mark, mark - 1, budget_kframes, 24, frames)]
    assert len(marks) == times
    assert marks[-1] == 24, "the last report is always judged"
    assert times == 1 or times * frames <= 0.02 * 1_000 * budget_kframes
    assert due(24, 20, budget_kframes, 24, frames), "reports that an update has passed are made up for"


def test_the_audio_of_these_tests_is_the_default() -> None:
    assert pytest.approx(Audio().hop_samples / Audio().rate_hz) == HOP_S
