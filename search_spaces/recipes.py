"""Recipes that a study tries first: published ones and our own, as settings by dotted name (`recipes.yaml`)."""

from pathlib import Path

from search_spaces.parameters import Value
from search_spaces.yaml_reader import read


def load_recipes() -> dict[str, dict[str, Value]]:
    """Return recipe -> its settings. Settings that a recipe does not name are those of the present configuration."""
    recipes: dict[str, dict[str, Value]] = read(Path(__file__).with_name("recipes.yaml"))
    return recipes
