"""Fixtures of the tests with a browser: a corpus that is synthesised once."""

from tests.objective.conftest import spoken

__all__ = ["spoken"]
