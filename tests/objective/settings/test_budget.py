"""The budget of a trial: it holds enough updates and epochs for its corpus, and becomes a number once the corpus is loaded."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpus import Corpus, Utterance
from model.data.mels import Sound
from model.text.languages import find_language
from objective.settings.budget import default_budget, described, settled
from objective.settings.resolve import resolve
from objective.settings.schema import Settings
from tests.objective.corpus import copy_of
from tests.objective.small_study import command, study

MANY = st.integers(1, 10**6)


def corpus_of(utterances: int, frames: int) -> Corpus:
    sound = Sound(**dict.fromkeys(Sound.__slots__, 0) | {"frames": frames})
    train = tuple(Utterance(str(number), "", (), sound, sound.mel_path) for number in range(utterances))
    return Corpus(find_language("en"), train, (), (), (), 0.0, 1.0)


def full(*assignments: str) -> Settings:
    return resolve(None, ["profile=full", *assignments], {}, gpu=False)


@given(MANY, st.integers(1, 5_000), st.integers(1, 512), MANY, MANY)
def test_a_budget_holds_its_updates_and_its_epochs_and_no_more(
    utterances: int, mean: int, batch: int, updates: int, epochs: int
) -> None:
    frames = utterances * mean
    kframes = default_budget(frames, utterances, batch, updates, epochs)
    need = max(updates * batch * mean, epochs * frames) / 1_000
    assert need * (1 - 1e-9) <= kframes <= need * (1 + 1e-9) + 1


def test_ten_thousand_updates_of_64_are_51_epochs_of_ljspeech() -> None:
    """12,500 utterances of 566 frames, on which NVIDIA's network aligns after so many updates."""
    ljspeech = corpus_of(12_500, 566)
    trial = "a trial: 362,240 kframes = 51 epochs = 10,000 updates of 64"
    assert described(settled(full(), ljspeech), ljspeech) == trial
    halved = settled(full("training.batch_size=32"), ljspeech)
    assert described(halved, ljspeech) == "a trial: 181,120 kframes = 26 epochs = 10,000 updates of 32"
    by_frames = settled(full("training.batch_frames=20000"), ljspeech)
    assert described(by_frames, ljspeech) == "a trial: 200,000 kframes = 28 epochs = 10,000 updates of 35"


def test_a_corpus_too_large_for_them_is_read_twenty_times() -> None:
    large = corpus_of(50_000, 10)
    assert described(settled(full(), large), large) == "a trial: 10,000 kframes = 20 epochs = 15,625 updates of 64"


def test_a_given_budget_stays_and_every_report_has_a_kframe() -> None:
    tiny = corpus_of(8, 1)
    given = full("budget.kframes=30")
    assert settled(given, tiny) is given
    assert settled(full("budget.reports=6000"), tiny).budget.total_kframes == 6_000
    assert settled(full(), tiny).budget.total_kframes == 640
    with pytest.raises(AssertionError, match="the budget follows from the corpus"):
        _ = full().budget.total_kframes


def test_a_study_remembers_the_budget_that_its_corpus_decided(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copy_of(corpus, tmp_path)
    assert command(out, "--study", "derived", "--trials", "1", "--timeout", "1e-9", "--set", "budget.kframes=null") == 0
    attributes = study(out, "derived").user_attrs
    kframes = attributes["identity"]["budget_kframes"]
    assert kframes == attributes["settings"]["budget"]["kframes"] > 12
    assert f"a trial: {kframes:,} kframes = " in capsys.readouterr().out
