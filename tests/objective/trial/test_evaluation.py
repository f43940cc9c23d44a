"""Free-running synthesis: the sentences are fixed; too early and never are measured against how long each should be."""

import numpy as np
import pytest
import torch

from model.config import Audio
from model.data.corpus import Corpus, Limits, load_corpus
from model.data.demo import speak_corpus
from model.synthesis import synthesise
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from objective.trial.corpus import speech_of
from objective.trial.evaluation import RECORDED, Sentence, sentences, speak
from tests.conftest import tiny_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["en", "ru"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    language = find_language(request.param)
    spoken = speak_corpus(folder, language, 0, 24)
    return load_corpus(spoken, language, Audio(), folder / "mels", Limits(), 8, 0)


def test_a_short_one_a_long_one_and_repeated_words(corpus: Corpus) -> None:
    asked = sentences(corpus, speech_of(corpus))
    recorded, repeated = asked[:RECORDED], asked[RECORDED]
    lengths = [len(utterance.ids) for utterance in corpus.validation]
    assert (len(recorded[0].ids), len(recorded[-1].ids)) == (min(lengths), max(lengths))
    for sentence in recorded:
        assert sentence.mel is not None
        assert sentence.frames == len(sentence.mel)
        (known,) = (utterance for utterance in corpus.validation if utterance.ids == sentence.ids)
        assert known.sound.frames == sentence.frames, "text and recording belong together"
    words = repeated.text.replace(",", " ").split()
    assert len(set(words)) < len(words) - 1
    assert repeated.mel is None
    assert repeated.text == corpus.language.repeated, "nothing of it is dropped"
    pace = [utterance.sound.frames / len(utterance.ids) for utterance in corpus.validation]
    assert min(pace) <= repeated.frames / len(repeated.ids) <= max(pace)


@pytest.mark.parametrize(("bias", "premature", "overrun"), [(50.0, 1.0, 0.0), (-50.0, 0.0, 1.0)])
def test_too_early_and_never(corpus: Corpus, bias: float, premature: float, overrun: float) -> None:
    """A gate that always says stop ends every sentence too early, one that never does none."""
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(), len(corpus.language.symbols), Audio().mel_bands, corpus.mel_mean, corpus.mel_std)
    with torch.no_grad():
        network.gate.bias.fill_(bias)
    asked = sentences(corpus, speech_of(corpus))
    spoken, free_running = speak(network, asked, CPU)
    assert free_running is not None
    assert (free_running.premature_rate, free_running.overrun_rate) == (premature, overrun)
    assert free_running.failures == 1
    assert 0 <= free_running.alignment_score <= 1
    assert free_running.mcd_db > 0
    assert len(spoken.step_lengths) == len(asked)


def test_the_attention_does_not_make_up_for_a_gate_that_never_fires() -> None:
    """It lies on the end of the text from the first step on, which would end an utterance for a person."""
    torch.manual_seed(1)
    network = Tacotron2(tiny_network(), 12, Audio().mel_bands)
    with torch.no_grad():
        network.gate.bias.fill_(-50.0)
        network.attention.query.weight.zero_()
        network.attention.location_dense.weight.zero_()
    asked = Sentence("abc", (3, 4, 5), 50.0, np.random.default_rng(0).normal(size=(50, 80)).astype(np.float32))
    assert synthesise(network, torch.tensor([asked.ids]), torch.tensor([3])).ended == ("alignment",)
    spoken, free_running = speak(network, [asked], CPU)
    assert spoken.ended == ("limit",)
    assert free_running is not None
    assert free_running.overrun_rate == 1


def test_what_is_not_finite_is_not_measured(corpus: Corpus) -> None:
    network = Tacotron2(tiny_network(), len(corpus.language.symbols), Audio().mel_bands, float("nan"), corpus.mel_std)
    _, free_running = speak(network, sentences(corpus, speech_of(corpus)), CPU)
    assert free_running is None
