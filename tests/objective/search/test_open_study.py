"""Notes and attributes of a new study."""

from objective.search.open_study import _recipe_notes
from objective.settings.schema import Settings
from search_spaces.recipes import load_recipes
from search_spaces.space import load


def test_a_recipe_that_the_space_adapts_is_one_line_and_one_that_fits_is_none() -> None:
    settings = Settings()
    space = load("demo", settings.config())
    notes = {note.split(":")[0]: note for note in _recipe_notes(settings, space)}
    for name in settings.study.recipes:
        _, changes = space.to_trial_params(load_recipes()[name])
        line = f"recipe {name}: {len(changes)} of its settings adapted to the space, see its trial's changes in events.jsonl"
        assert notes.get(f"recipe {name}") == (line if changes else None)
    assert notes
