"""What tests with a browser share: a corpus that is spoken once."""

from tests.objective.conftest import corpus, spoken

__all__ = ["corpus", "spoken"]
