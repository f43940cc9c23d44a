"""Free-running synthesis of fixed sentences: ends that come too early or never are measured against the expected lengths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from objective.trial.evaluation import RECORDED, Sentence, evaluate, middle, sentences

from model.config import Audio
from model.data.corpus import Corpus, Limits, load_corpus
from model.data.demo import speak_corpus
from model.synthesis import synthesise
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from objective.trial.corpus import speech_of
from tests.conftest import tiny_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["en", "ru"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    language = find_language(request.param)
    spoken = speak_corpus(folder, language, 0, 24)
    return load_corpus(spoken, language, Audio(), folder / "mels", Limits(), 8, 0)


def test_the_sentences_are_short_and_long_ones_and_repeated_words(corpus: Corpus) -> None:
    requested = sentences(corpus, speech_of(corpus))
    recorded, repeated = requested[:RECORDED], requested[RECORDED]
    lengths = [len(utterance.ids) for utterance in corpus.validation]
    assert (len(recorded[0].ids), len(recorded[-1].ids)) == (min(lengths), max(lengths))
    for sentence in recorded:
        assert sentence.mel is not None
        assert sentence.frames == len(sentence.mel)
        (utterance,) = (utterance for utterance in corpus.validation if utterance.ids == sentence.ids)
        assert utterance.sound.frames == sentence.frames, "text and recording belong together"
    repeated_words = repeated.text.replace(",", " ").split()
    assert len(set(repeated_words)) < len(repeated_words) - 1
    assert repeated.mel is None
    assert repeated.text == corpus.language.repeated, "nothing of it is dropped"
    pace = [utterance.sound.frames / len(utterance.ids) for utterance in corpus.validation]
    assert min(pace) <= repeated.frames / len(repeated.ids) <= max(pace)


def test_the_sentence_that_is_shown_is_of_middle_length(corpus: Corpus) -> None:
    requested = sentences(corpus, speech_of(corpus))
    shown = requested[middle(corpus, requested)]
    median = np.median([len(utterance.ids) for utterance in corpus.validation])
    assert shown.mel is not None
    assert abs(len(shown.ids) - median) == min(abs(len(sentence.ids) - median) for sentence in requested[:RECORDED])


def test_one_long_text_among_short_ones_is_not_in_the_middle(corpus: Corpus) -> None:
    """The second of four by length is near the median; where the third is nearer, that one is shown."""
    mel = np.zeros((9, 80), np.float32)
    requested = [Sentence("", (1,) * length, 9.0, mel) for length in (2, 3, 60, 61)] + [Sentence("", (1,) * 50, 9.0)]
    long = replace(corpus, validation=tuple(replace(corpus.validation[0], ids=(1,) * length) for length in (2, 3, 50, 60, 61)))
    assert middle(long, requested) == 2


@pytest.mark.parametrize(("bias", "premature", "overrun"), [(50.0, 1.0, 0.0), (-50.0, 0.0, 1.0)])
def test_premature_ends_and_overruns_are_counted(corpus: Corpus, bias: float, premature: float, overrun: float) -> None:
    """A gate that always fires ends every sentence too early, one that never fires none."""
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(), len(corpus.language.symbols), Audio().mel_bands, corpus.mel_mean, corpus.mel_std)
    with torch.no_grad():
        network.gate.bias.fill_(bias)
    requested = sentences(corpus, speech_of(corpus))
    output, free_running = evaluate(network, requested, CPU)
    assert free_running is not None
    assert (free_running.premature_rate, free_running.overrun_rate) == (premature, overrun)
    assert free_running.failures == 1
    assert 0 <= free_running.alignment_score <= 1
    assert free_running.mcd_db > 0
    assert len(output.step_lengths) == len(requested)


def test_the_attention_does_not_make_up_for_a_gate_that_never_fires() -> None:
    """It rests on the end of the text from the first step on, which would end an utterance in ordinary synthesis."""
    torch.manual_seed(1)
    network = Tacotron2(tiny_network(), 12, Audio().mel_bands)
    with torch.no_grad():
        network.gate.bias.fill_(-50.0)
        network.attention.query.weight.zero_()
        network.attention.location_dense.weight.zero_()
    requested = Sentence("abc", (3, 4, 5), 50.0, np.random.default_rng(0).normal(size=(50, 80)).astype(np.float32))
    assert synthesise(network, torch.tensor([requested.ids]), torch.tensor([3])).ended == ("alignment",)
    output, free_running = evaluate(network, [requested], CPU)
    assert output.ended == ("limit",)
    assert free_running is not None
    assert free_running.overrun_rate == 1


def test_a_synthesis_that_is_not_finite_is_not_measured(corpus: Corpus) -> None:
    network = Tacotron2(tiny_network(), len(corpus.language.symbols), Audio().mel_bands, float("nan"), corpus.mel_std)
    _, free_running = evaluate(network, sentences(corpus, speech_of(corpus)), CPU)
    assert free_running is None
