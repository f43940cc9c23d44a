"""Fixtures of the tests with a browser: a corpus that is synthesised once."""

from tests.objective.conftest import corpus, spoken

__all__ = ["corpus", "spoken"]
