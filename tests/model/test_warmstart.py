"""A warm start copies what fits, bit for bit, leaves the rest as it was, and lists both in its table."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model import nvidia
from model.config import Network
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.warmstart import Pretrained, Row, read, table_lines, warm_start
from tests.conftest import BANDS, tiny_network

EN, RU = find_language("en").symbols, find_language("ru").symbols
SAME = {"embedding": 12, "standardise": False}


def build(
    seed: int, table: Iterable[Any] = EN, bands: int = BANDS, units: tuple[float, float] = (0.0, 1.0), **sizes: Any
) -> Tacotron2:
    torch.manual_seed(seed)
    return Tacotron2(tiny_network(**(SAME | sizes)), len(tuple(table)), bands, *units)


def pretrained(folder: Path, network: Tacotron2, table: Iterable[str] | None = None) -> Pretrained:
    """Write a file as trials do, and read it."""
    symbols = {"symbols": list(table)} if table is not None else {}
    torch.save({"weights": network.state_dict(), "kframes": 3.0, **symbols}, folder / "best.pt")
    return read(folder / "best.pt")


def copied(network: Tacotron2) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def states(rows: Iterable[Row]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.state, set()).add(row.name)
    return found


def test_an_equal_network_is_loaded_completely_with_its_units(tmp_path: Path) -> None:
    old, new = build(1, units=(-5.0, 2.0)), build(2)
    rows = warm_start(new, EN, pretrained(tmp_path, old, EN))
    assert states(rows) == {"loaded": set(old.state_dict())}
    torch.testing.assert_close(copied(new), copied(old), rtol=0, atol=0)


@pytest.mark.parametrize("plain", [False, True], ids=["NVIDIA", "torchaudio"])
def test_nvidias_weights_are_loaded_with_raw_log_mels(plain: bool, tmp_path: Path) -> None:
    old, new = build(1), build(2, units=(-5.0, 2.0))
    nvidia.save(old, tmp_path / "x.pt")
    if plain:
        weights = torch.load(tmp_path / "x.pt", weights_only=True)["state_dict"]
        weights = {name.replace(".linear_layer", "").replace(".conv.", "."): value for name, value in weights.items()}
        torch.save(weights, tmp_path / "x.pt")
    assert states(warm_start(new, EN, read(tmp_path / "x.pt"))) == {"loaded": set(old.state_dict())}
    torch.testing.assert_close(copied(new), copied(old), rtol=0, atol=0)


@pytest.mark.parametrize("table", [RU, EN[::-1], tuple("xyz"), ("_", *"_-!'(),.:;? abcdefghijklmnopqrstuvwxyz"[1:])])
def test_embeddings_are_copied_by_symbol(table: tuple[str, ...], tmp_path: Path) -> None:
    """A symbol that both tables have gets the file's embedding, the others stay as they were, in both directions."""
    for theirs, ours in ((EN, table), (table, EN)):
        old, new = build(1, theirs), build(2, ours)
        given, before = copied(old)["encoder.embedding.weight"], copied(new)["encoder.embedding.weight"]
        rows = warm_start(new, ours, pretrained(tmp_path, old, theirs))
        for row, symbol in enumerate(ours):
            expected = given[theirs.index(symbol)] if symbol in theirs else before[row]
            assert torch.equal(new.encoder.embedding.weight[row], expected), symbol
        assert states(rows)["resized"] == {"encoder.embedding.weight"}


def test_a_table_that_is_not_named_is_recognised_by_its_size_or_unknown(tmp_path: Path) -> None:
    assert pretrained(tmp_path, build(1, EN)).symbols == EN
    assert pretrained(tmp_path, build(1, RU)).symbols == RU
    characters = pretrained(tmp_path, build(1, range(38))).symbols
    assert "".join(characters) == "_-!'(),.:;? abcdefghijklmnopqrstuvwxyz"
    for unknown in (pretrained(tmp_path, build(1, range(99))), pretrained(tmp_path, build(1, EN), "too few")):
        assert unknown.symbols == ()
        new = build(2)
        before = copied(new)["encoder.embedding.weight"]
        assert states(warm_start(new, EN, unknown))["missing"] == {"encoder.embedding.weight"}
        assert torch.equal(new.encoder.embedding.weight, before)


# The corresponding parts of tensors where one size differs, as (rows, columns) of the file and of the network.
E, A, H, P = 12, 14, 16, 6  # encoder, attention LSTM, decoder LSTM, prenet of the file


def gates(old: int, new: int) -> list[tuple[slice, slice]]:
    least = min(old, new)
    return [(slice(k * old, k * old + least), slice(k * new, k * new + least)) for k in range(4)]


def pair(of: int, to: int, size: int) -> tuple[slice, slice]:
    return slice(of, of + size), slice(to, to + size)


EVERY = (slice(None), slice(None))
PARTS = {
    "attention_rnn": (
        {"attention_rnn": 9},
        {
            "attention.rnn.weight_ih": (gates(A, 9), [EVERY]),
            "attention.rnn.weight_hh": (gates(A, 9), [pair(0, 0, 9)]),
            "attention.rnn.bias_hh": (gates(A, 9),),
            "attention.query.weight": ([EVERY], [pair(0, 0, 9)]),
            "decoder_rnn.weight_ih_l0": ([EVERY], [pair(0, 0, 9), pair(A, 9, E)]),
        },
    ),
    "prenet": ({"prenet": 11}, {"attention.rnn.weight_ih": ([EVERY], [pair(0, 0, P), pair(P, 11, E)])}),
    "decoder_rnn": (
        {"decoder_rnn": 20},
        {
            "decoder_rnn.weight_hh_l0": (gates(H, 20), [pair(0, 0, H)]),
            "projection.weight": ([EVERY], [pair(0, 0, H), pair(H, 20, E)]),
            "gate.weight": ([EVERY], [pair(0, 0, H), pair(H, 20, E)]),
        },
    ),
    "encoder, two directions": (
        {"encoder": 8, "embedding": 8},
        {
            "encoder.lstm.backwards.weight_ih_l0": (gates(6, 4), [pair(0, 0, 8)]),
            "attention.memory.weight": ([EVERY], [pair(0, 0, 4), pair(6, 4, 4)]),
            "attention.rnn.weight_ih": ([EVERY], [pair(0, 0, P), pair(P, P, 4), pair(P + 6, P + 4, 4)]),
            "decoder_rnn.weight_ih_l0": ([EVERY], [pair(0, 0, A), pair(A, A, 4), pair(A + 6, A + 4, 4)]),
        },
    ),
    "frames a step": ({"reduction": 3}, {"projection.weight": ([pair(0, 0, BANDS)], [EVERY])}),
    "kernels": (
        {"encoder_kernel": 5, "location_kernel": 3, "postnet_kernel": 1},
        {
            "encoder.convolutions.0.convolution.weight": ([EVERY], [EVERY], [pair(0, 1, 3)]),
            "attention.location.weight": ([EVERY], [EVERY], [pair(1, 0, 3)]),
            "postnet.convolutions.1.convolution.weight": ([EVERY], [EVERY], [pair(1, 0, 1)]),
        },
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_where_sizes_differ_the_corresponding_parts_are_copied(case: str, tmp_path: Path) -> None:
    changes, expected = PARTS[case]
    old, new = build(1), build(2, **changes)
    given, before = copied(old), copied(new)
    rows = {row.name: row for row in warm_start(new, EN, pretrained(tmp_path, old, EN))}
    assert {row.state for row in rows.values()} == {"loaded", "resized"}
    for name, parts in expected.items():
        wanted = before[name]
        indices: list[tuple[tuple[slice, ...], tuple[slice, ...]]] = [((), ())]
        for dimension in parts:
            indices = [((*of, one), (*to, other)) for of, to in indices for one, other in dimension]
        for of, to in indices:
            wanted[to] = given[name][of]
        assert torch.equal(new.state_dict()[name], wanted), name
        assert rows[name].state == "resized"
        assert rows[name].copied


def test_other_bands_are_copied_frame_by_frame(tmp_path: Path) -> None:
    old, new = build(1, reduction=2), build(2, bands=5, reduction=2)
    warm_start(new, EN, pretrained(tmp_path, old, EN))
    for one, other in zip(new.projection.bias.view(2, 5), old.projection.bias.view(2, BANDS), strict=True):
        assert torch.equal(one, other[:5])


@pytest.mark.parametrize(("theirs", "ours"), [(5, 3), (3, 5)])
def test_the_last_convolution_of_a_postnet_is_copied_to_the_last(theirs: int, ours: int, tmp_path: Path) -> None:
    old, new = build(1, postnet_convolutions=theirs), build(2, postnet_convolutions=ours)
    found = states(warm_start(new, EN, pretrained(tmp_path, old, EN)))
    places = [(0, 0), (1, 1), (theirs - 1, ours - 1)]
    for of, to in places:
        given = old.postnet.convolutions[of].state_dict()
        torch.testing.assert_close(new.postnet.convolutions[to].state_dict(), given, rtol=0, atol=0)
    left = found["unused" if theirs > ours else "missing"]
    assert {name.split(".")[2] for name in left} == {"2", "3"}
    assert found.keys() == {"loaded", "unused" if theirs > ours else "missing"}


def test_tensors_that_the_file_lacks_keep_their_initial_values_and_nothing_is_drawn(tmp_path: Path) -> None:
    given = pretrained(tmp_path, build(1), EN)
    missing = [name for name in given.weights if name.startswith(("gate", "postnet", "encoder.lstm"))]
    for name in missing:
        del given.weights[name]
    given.weights["speaker.weight"] = torch.zeros(3, 4)
    new, same = build(2), build(2)
    random = torch.get_rng_state()
    found = states(warm_start(new, EN, given))
    assert torch.equal(torch.get_rng_state(), random)
    assert (found["missing"], found["unused"]) == (set(missing), {"speaker.weight"})
    for name in missing:
        assert torch.equal(new.state_dict()[name], same.state_dict()[name])


def test_no_shape_is_an_error(tmp_path: Path) -> None:
    """Tensors of any dimensions replace the right ones: all but the embeddings count as missing, and nothing has changed."""
    given = pretrained(tmp_path, build(1), EN)
    for k, name in enumerate(name for name in given.weights if name != "encoder.embedding.weight"):
        given.weights[name] = torch.zeros([(), (0,), (2, 0, 3), (1, 1, 1, 1)][k % 4]).to(torch.int8)
    new = build(2)
    before = copied(new)
    rows = warm_start(new, EN, given)
    assert states(rows)["loaded"] >= {"encoder.embedding.weight"}
    wrong = {row.name for row in rows if row.state == "missing"}
    assert len(wrong) > 0.9 * len(rows)
    for name in wrong:
        assert torch.equal(new.state_dict()[name], before[name]), name
    assert list(table_lines(given, rows))


def test_the_table_lists_every_tensor(tmp_path: Path) -> None:
    given = pretrained(tmp_path, build(1), EN)
    del given.weights["gate.bias"]
    given.weights["speaker.weight"] = torch.zeros(3, 4)
    lines = list(table_lines(given, warm_start(build(2, RU, attention_rnn=9), RU, given)))
    assert lines[0] == f"warm start from {tmp_path / 'best.pt'}: 57 loaded, 7 resized, 1 missing, 1 unused"
    assert lines[1].startswith("loaded: mel_mean (1), mel_std (1), encoder (")
    assert "resized: encoder.embedding.weight (148, 12) -> (46, 12), copied 12, 12" in lines
    assert "resized: attention.rnn.weight_ih (56, 18) -> (36, 18), copied 4 x 9, 3 x 6" in lines
    assert "resized: attention.rnn.bias_ih|bias_hh (56,) -> (36,), copied 4 x 9" in lines
    assert lines[-2:] == ["missing: gate.bias (1,)", "unused: speaker.weight (3, 4)"]


def test_a_network_on_the_meta_device_has_the_same_table(tmp_path: Path) -> None:
    """A study computes its table with such a network, which costs nothing."""
    given = pretrained(tmp_path, build(1), EN)
    with torch.device("meta"):
        empty = Tacotron2(Network(), len(RU), 80)
    assert warm_start(empty, RU, given) == warm_start(Tacotron2(Network(), len(RU), 80), RU, given)


def test_the_digest_depends_on_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, same, other = pretrained(tmp_path, build(1)), pretrained(tmp_path / "a", build(1)), pretrained(tmp_path, build(2))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    "content", [{}, {"weights": {}}, {"model": {"embedding.weight": torch.zeros(3, 4)}}, {"embedding.weight": torch.zeros(3)}]
)
def test_another_checkpoint_is_refused_in_one_sentence(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: need weights of a Tacotron 2 .*: choose another file"):
        read(tmp_path / "x.pt")
