"""Two languages with equally many symbols are never taken for each other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import warmstart
from model.config import Audio
from model.data.corpus import load_corpus
from model.data.demo import speak_corpus
from model.data.limits import Limits
from model.snapshot import Snapshot
from model.tacotron2 import Tacotron2
from model.text.frontend import decode, encode
from model.text.languages import Language, find_language
from model.trainer import Trainer
from model.warmstart import read, warm_start
from tests.conftest import ALPHABET, BANDS, tiny_config, tiny_network, toy_speech

CPU = torch.device("cpu")
RU = find_language("ru")
# As many symbols as the Russian table, and none of them, apart from the padding, has the same id.
MIRRORED = replace(RU, code="mirrored", symbols=("_", *reversed(RU.symbols[1:])))


def test_a_text_is_decoded_with_the_table_that_encoded_it() -> None:
    text = "это ёж, мой д+ом."
    russian, mirrored = encode(text, RU), encode(text, MIRRORED)
    assert russian.ids != mirrored.ids
    assert decode(russian) == decode(mirrored) == text


def test_a_corpus_knows_its_symbols(tmp_path: Path) -> None:
    corpora = [
        load_corpus(speak_corpus(tmp_path, language, 0, 12), language, Audio(), tmp_path / "mels", Limits(), 2, 0)
        for language in (RU, MIRRORED)
    ]
    assert [corpus.language for corpus in corpora] == [RU, MIRRORED]
    for russian, mirrored in zip(corpora[0].train, corpora[1].train, strict=True):
        spelt = [[language.symbols[index] for index in each.ids] for language, each in ((RU, russian), (MIRRORED, mirrored))]
        assert spelt[0] == spelt[1]
        assert russian.ids != mirrored.ids


def test_a_snapshot_for_other_symbols_is_refused() -> None:
    speech = toy_speech()
    other = replace(speech, symbols=("_", *reversed(ALPHABET[1:])))
    trainer = Trainer(tiny_config(), speech, 1, 2, CPU, seed=5)
    next(trainer.steps())
    snapshot = Snapshot.from_dict(trainer.snapshot().as_dict())
    Trainer(tiny_config(), speech, 1, 2, CPU, seed=5, start=snapshot)
    with pytest.raises(ValueError, match="need a snapshot for the symbols '_kjihgfedcba', got one for '_abcdefghijk'"):
        Trainer(tiny_config(), other, 1, 2, CPU, seed=5, start=snapshot)


def build(language: Language) -> Tacotron2:
    return Tacotron2(tiny_network(), len(language.symbols), BANDS)


@pytest.mark.parametrize("named", [True, False], ids=["the file names its symbols", "the file names none"])
def test_a_warm_start_copies_an_embedding_to_its_own_symbol(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without symbols of a size that two languages have keeps its embeddings to itself."""
    monkeypatch.setattr(warmstart, "LANGUAGES", {"ru": RU, "mirrored": MIRRORED})
    old, new = build(MIRRORED), build(RU)
    before = new.encoder.embedding.weight.detach().clone()
    symbols = {"symbols": list(MIRRORED.symbols)} if named else {}
    torch.save({"weights": old.state_dict(), **symbols}, tmp_path / "best.pt")
    rows = {row.name: row for row in warm_start(new, RU.symbols, read(tmp_path / "best.pt"))}
    if not named:
        assert rows["encoder.embedding.weight"].state == "missing"
        assert torch.equal(new.encoder.embedding.weight, before)
        return
    for index, symbol in enumerate(RU.symbols):
        expected = old.encoder.embedding.weight[MIRRORED.symbols.index(symbol)]
        assert torch.equal(new.encoder.embedding.weight[index], expected), symbol


def test_a_published_checkpoint_is_known_by_its_size_whatever_languages_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = find_language("en")
    other = replace(english, code="other", symbols=("_", *reversed(english.symbols[1:])))
    monkeypatch.setattr(warmstart, "LANGUAGES", {"en": english, "other": other})
    torch.save({"weights": build(english).state_dict()}, tmp_path / "best.pt")
    assert read(tmp_path / "best.pt").symbols == english.symbols


def test_a_warm_start_with_another_networks_table_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": build(RU).state_dict()}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match="a symbol for each of the 46 embeddings, got 148"):
        warm_start(build(RU), find_language("en").symbols, read(tmp_path / "best.pt"))
