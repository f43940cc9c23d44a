"""What tests with a browser share: a corpus that is spoken once."""

from tests.objective.conftest import spoken

__all__ = ["spoken"]
