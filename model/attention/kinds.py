"""Choose the attention of a network. How fast it is computed is another choice: see `model.recurrence`."""

from model.attention.base import Attention
from model.attention.location import LocationAttention
from model.config import Network


def attention_of(network: Network) -> Attention:
    """Return the attention of a network with these sizes, freshly initialised."""
    return LocationAttention(network)
