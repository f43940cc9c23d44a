"""Which attention a network has. How fast it is computed is another question: see `model.recurrence`."""

from model.attention.base import Attention
from model.attention.location import LocationAttention
from model.config import Network


def attention_of(network: Network) -> Attention:
    """The attention of a network with these sizes, freshly initialised."""
    return LocationAttention(network)
