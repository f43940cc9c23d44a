"""The recipes that a study tries first: published ones and our own, as settings by dotted name (`recipes.yaml`)."""

from pathlib import Path

from search_spaces.parameters import Value
from search_spaces.yaml_reader import read


def load_recipes() -> dict[str, dict[str, Value]]:
    """Recipe -> its settings. What a recipe does not name is that of the configuration at hand."""
    recipes: dict[str, dict[str, Value]] = read(Path(__file__).with_name("recipes.yaml"))
    return recipes
