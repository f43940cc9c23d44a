"""A kind of attention without a fast implementation trains, validates and synthesises by the reference."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from model.attention.base import Attention
from model.config import Network
from model.data.loading import collate
from model.decoder import Decoder
from model.layers import linear
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, toy_examples, without_dropout


@dataclass(frozen=True, slots=True)
class Monotone:
    """A step of attention that stays or advances by one symbol; its state is the probability of staying."""

    recurrent: Tensor
    query: Tensor  # (D, A)

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        return (memory.new_full((len(memory), 1), 0.5),)

    def step(
        self, hidden: Tensor, alignment: Tensor, state: tuple[Tensor, ...], memory: Tensor, keys: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        (stay,) = state
        last = torch.where(alignment.sum(1, keepdim=True) > 0, alignment, torch.eye(1, memory.shape[1]).to(alignment))
        moved = stay * last + (1 - stay) * torch.nn.functional.pad(last[:, :-1], (1, 0))
        energy = torch.einsum("bd,bnd->bn", hidden @ self.query.t(), keys)
        weighted = (moved + 1e-9) * energy.masked_fill(padding, -torch.inf).softmax(1)
        new = weighted / weighted.sum(1, keepdim=True)
        context = torch.bmm(new[:, None], memory)[:, 0]
        return new, context, (torch.sigmoid(context.mean(1, keepdim=True)),)


class MonotoneAttention(Attention):
    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.query = linear(network.attention_rnn, network.attention, "tanh", bias=False)
        self.memory = linear(network.encoder, network.attention, "tanh", bias=False)

    def weights(self) -> Monotone:
        return Monotone(self.recurrent(), self.query.weight)


@pytest.mark.parametrize("how", ["auto", "deferred", "reference"])
def test_a_kind_without_a_fast_version_runs_by_the_reference(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teacher-forced in one pass and step by step, as in synthesis, it gives the same frames, gates and alignments."""
    monkeypatch.setattr("model.tacotron2.attention_of", MonotoneAttention)
    torch.manual_seed(0)
    network = Tacotron2(without_dropout(recurrence=how), SYMBOLS, BANDS, 0.3, 1.7).double().eval()
    batch = collate(toy_examples(3, 4))
    batch = replace(batch, mels=batch.mels.double())
    outputs = network(batch)
    outputs.mel_before.sum().backward()
    assert all(parameter.grad is not None for parameter in network.attention.parameters())

    decoder = Decoder(network, batch.ids, batch.symbol_lengths)
    true = (batch.mels - network.mel_mean) / network.mel_std
    state = decoder.start()
    for t in range(int(outputs.step_lengths.min())):
        state, _, gate = decoder.step(state)
        torch.testing.assert_close(state.alignment, outputs.alignment[:, t])
        torch.testing.assert_close(gate, outputs.gate[:, t])
        state = replace(state, frame=true[:, t])
