"""Laws of search spaces: suggestions are valid configurations, recipes fit in, and a changed space is detected."""

import json
import random

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import PROFILES, Config
from model.loss import guided_attention
from search_spaces.knobs import KNOBS, apply, typed, values
from search_spaces.recipes import load_recipes
from search_spaces.space import SHIPPED, Space, load

BASES = {profile: apply(Config(), changes) for profile, changes in PROFILES.items()}
SPACES = {(name, profile): load(name, base) for name in SHIPPED for profile, base in BASES.items()}
RECIPES = load_recipes()
PUBLISHED = [recipe for recipe in RECIPES if recipe not in ("tacotune", "safe")]
optuna.logging.set_verbosity(optuna.logging.WARNING)

spaces = st.sampled_from(sorted(SPACES)).map(SPACES.__getitem__)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=map("-".join, SPACES))

LR = {"float": [1e-4, 1e-3]}
STEPS = Space.from_dict(
    {
        "parameters": {
            "network.location_kernel": {"int": [3, 31], "step": 4},
            "network.embedding": {"int": [16, 512], "log": True, "or": 8},
            "loss.guided_until": {"float": [0.1, 0.7], "step": 0.2},
            "training.schedule": {"categorical": ["constant", "cosine", "noam"]},
            "training.warmup_share": {"float": [0.01, 0.1], "when": {"training.schedule": ["cosine", "noam"]}},
            "training.clip_norm": {"float": [0.5, 1], "when": {"network.embedding": {"above": 8}, "training.schedule": "noam"}},
        }
    }
)


@given(spaces, st.randoms(use_true_random=False))
def test_every_sample_is_a_valid_configuration(space: Space, rng: random.Random) -> None:
    settings = space.sample(rng)
    applied = values(apply(space.base, settings))
    assert {key: applied[key] for key in settings} == settings
    assert all(type(value) is KNOBS[key] for key, value in settings.items())


@given(spaces | st.just(STEPS), st.randoms(use_true_random=False))
def test_to_trial_params_undoes_suggest(space: Space, rng: random.Random) -> None:
    settings = space.sample(rng)
    params, changes = space.to_trial_params(settings)
    assert changes == []
    study = optuna.create_study()
    study.enqueue_trial(params)
    trial = study.ask()
    assert space.suggest(trial) == settings
    assert trial.params == params


@pytest.mark.parametrize("recipe", RECIPES)
@every_space
def test_an_enqueued_recipe_is_what_the_trial_gets(space: Space, recipe: str) -> None:
    params, changes = space.to_trial_params(RECIPES[recipe])
    study = optuna.create_study()
    study.enqueue_trial(params)
    trial = study.ask()
    got = values(apply(space.base, space.suggest(trial)))
    assert trial.params == params
    different = {key for key, value in (values(space.base) | RECIPES[recipe]).items() if got[key] != value}
    assert different == {change.split()[0] for change in changes}


def changed_by(name: str, profile: str, recipe: str) -> set[str]:
    """The settings of a recipe that a space changes."""
    return {change.split()[0] for change in SPACES[name, profile].to_trial_params(RECIPES[recipe])[1]}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_default_space_contains_every_recipe_except_zeros_and_what_it_does_not_search(recipe: str) -> None:
    zeros = {key for key in ("training.warmup_share", "training.weight_decay") if RECIPES[recipe].get(key) == 0}
    not_searched = {"loss.gate_weight", "loss.guided_until", "network.decoder_dropout_mode"}
    assert zeros <= changed_by("default", "full", recipe) <= zeros | not_searched


@pytest.mark.parametrize("recipe", PUBLISHED)
@pytest.mark.parametrize("name", ["demo", "safe", "seed"])
def test_the_guidance_of_every_published_recipe_lies_in_every_space(name: str, recipe: str) -> None:
    always_on = {"loss.guided_weight"} if name == "safe" and RECIPES[recipe]["loss.guided_weight"] == 0 else set()
    assert changed_by(name, "full", recipe) & {"loss.guided_weight"} == always_on


def test_a_published_guided_weight_is_divided_by_the_symbols_of_a_line() -> None:
    """A mean over steps and symbols (ESPnet, coqui) times w is a mean over steps, as here, times w / N."""
    steps, symbols = 5, 72
    alignment = torch.full((1, steps, symbols), 1 / symbols)
    distance = torch.arange(symbols)[None] / symbols - torch.arange(steps)[:, None] / steps
    published = (alignment[0] * (1 - torch.exp(-(distance**2) / (2 * 0.4**2)))).mean()
    ours = guided_attention(alignment, torch.tensor([steps]), torch.tensor([symbols]), 0.4)
    assert float(1.0 * published) == pytest.approx(RECIPES["espnet"]["loss.guided_weight"] * float(ours), rel=0.01)


@pytest.mark.parametrize(("name", "profile"), [("default", "full"), ("demo", "demo"), ("seed", "demo"), ("seed", "full")])
def test_a_space_contains_its_profile(name: str, profile: str) -> None:
    assert SPACES[name, profile].to_trial_params({})[1] == []


def test_recipes_are_valid_configurations_of_known_knobs() -> None:
    for settings in RECIPES.values():
        assert settings == {key: typed(key, value) for key, value in settings.items()}
        assert all(type(value) is KNOBS[key] for key, value in settings.items())
        apply(Config(), settings)


@every_space
def test_optuna_suggests_valid_configurations(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=3, seed=0))
    for _ in range(8):
        trial = study.ask()
        settings = space.suggest(trial)
        config = apply(space.base, settings)
        assert values(config) == values(space.base) | settings
        study.tell(trial, config.training.learning_rate)


def test_the_distributions_are_those_of_the_table() -> None:
    table = {
        "training.learning_rate": {"float": [1e-4, 1e-3], "log": True},
        "loss.guided_until": {"float": [0.1, 0.7], "step": 0.2},
        "network.embedding": {"int": [16, 512], "log": True},
        "network.location_kernel": {"int": [3, 31], "step": 4},
        "training.batch_size": {"categorical": [8, 16]},
    }
    trial = optuna.create_study().ask()
    Space.from_dict({"parameters": table}).suggest(trial)
    assert trial.distributions == {
        "training.learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-3, log=True),
        "loss.guided_until": optuna.distributions.FloatDistribution(0.1, 0.7, step=0.2),
        "network.embedding": optuna.distributions.IntDistribution(16, 512, log=True),
        "network.location_kernel": optuna.distributions.IntDistribution(3, 31, step=4),
        "training.batch_size": optuna.distributions.CategoricalDistribution([8, 16]),
    }


def test_half_of_a_logarithmic_sample_lies_below_the_geometric_mean() -> None:
    space = Space.from_dict({"parameters": {"training.learning_rate": {"float": [1e-5, 1e-1], "log": True}}})
    drawn = [space.sample(random.Random(seed))["training.learning_rate"] for seed in range(400)]
    assert 150 < sum(value < 1e-3 for value in drawn if isinstance(value, float)) < 250


def test_bounds_are_those_of_published_practice() -> None:
    described = SPACES["default", "full"].fingerprint()["parameters"]
    bounds = {
        "training.learning_rate": (1e-4, 2e-3),
        "loss.guided_weight": (0.01, 5),
        "loss.guided_sigma": (0.2, 0.5),
        "training.clip_norm": (0.2, 5),
        "loss.gate_positive_weight": (0.2, 20),
    }
    assert {key: tuple(described[key]["float"]) for key in bounds} == bounds
    assert described["loss.guided_weight"]["or"] == 0


@given(st.randoms(use_true_random=False))
def test_a_parameter_that_is_off_is_not_suggested(rng: random.Random) -> None:
    settings = SPACES["default", "full"].sample(rng)
    assert ("loss.guided_sigma" in settings) == (settings["loss.guided_weight"] != 0)
    stepped = STEPS.sample(rng)
    assert ("training.warmup_share" in stepped) == (stepped["training.schedule"] in ("cosine", "noam"))
    assert ("training.clip_norm" in stepped) == (stepped["network.embedding"] != 8 and stepped["training.schedule"] == "noam")


def test_a_condition_on_a_parameter_that_is_off_uses_the_base_configuration() -> None:
    table = {
        "parameters": {
            "training.schedule": {"categorical": ["cosine", "noam"]},
            "training.batch_size": {"categorical": [8, 16], "when": {"training.schedule": "cosine"}},
            "training.learning_rate": {**LR, "when": {"training.batch_size": 8}},
        }
    }
    base = apply(Config(), {"training.batch_size": 8})
    drawn = [Space.from_dict(table, base).sample(random.Random(seed)) for seed in range(20)]
    noam = [settings for settings in drawn if settings["training.schedule"] == "noam"]
    assert noam
    assert all("training.batch_size" not in settings and "training.learning_rate" in settings for settings in noam)


def test_samples_are_on_and_off_and_in_whole_steps() -> None:
    drawn = [STEPS.sample(random.Random(seed)) for seed in range(200)]
    assert {settings["network.location_kernel"] for settings in drawn} == set(range(3, 32, 4))
    assert {settings["network.embedding"] == 8 for settings in drawn} == {True, False}
    assert len({settings["loss.guided_until"] for settings in drawn}) == 4


def test_guided_attention_off_needs_no_weight() -> None:
    space = SPACES["default", "full"]
    params, _ = space.to_trial_params({"loss.guided_weight": 0.0, "loss.guided_sigma": 0.4})
    assert params["loss.guided_weight.on"] is False
    assert "loss.guided_weight" not in params
    assert "loss.guided_sigma" not in params


def test_a_sentence_describes_each_value_of_a_recipe_that_the_space_changes() -> None:
    space = Space.from_dict(
        {
            "fixed": {"training.schedule": "constant"},
            "parameters": {
                "training.learning_rate": {"float": [1e-4, 1e-3]},
                "training.batch_size": {"categorical": [16, 32]},
                "network.location_kernel": {"int": [3, 31], "step": 4},
            },
        }
    )
    params, changes = space.to_trial_params(
        {
            "training.learning_rate": 5e-3,
            "training.batch_size": 20,
            "training.schedule": "noam",
            "network.location_kernel": 14,
            "loss.gate_weight": 2.0,
        }
    )
    assert params == {"training.learning_rate": 1e-3, "training.batch_size": 16, "network.location_kernel": 15}
    assert sorted(changes) == [
        "loss.gate_weight 2 -> 1 (not searched here)",
        "network.location_kernel 14 -> 15 (nearest step of the space)",
        "training.batch_size 20 -> 16 (nearest choice of the space)",
        "training.learning_rate 0.005 -> 0.001 (highest in the space)",
        "training.schedule noam -> constant (fixed by the space)",
    ]


@every_space
def test_a_fingerprint_survives_json(space: Space) -> None:
    assert space.diff(json.loads(json.dumps(space.fingerprint()))) == []


def test_a_changed_space_differs_in_named_ways() -> None:
    old = Space.from_dict(
        {
            "fixed": {"loss.gate_weight": 2.0},
            "parameters": {
                "training.learning_rate": LR,
                "training.clip_norm": {"float": [0.5, 1]},
                "training.batch_size": {"categorical": [8, 16]},
            },
        }
    ).fingerprint()
    new = Space.from_dict(
        {
            "fixed": {"loss.gate_weight": 3.0},
            "parameters": {
                "training.learning_rate": {**LR, "log": True},
                "training.batch_size": {"categorical": [8, 16]},
                "network.reduction": {"int": [1, 3]},
            },
        }
    )
    assert new.diff(old) == [
        "training.learning_rate was searched as {'float': [0.0001, 0.001]}, it is now {'float': [0.0001, 0.001], 'log': True}",
        "training.clip_norm is no longer searched, it was {'float': [0.5, 1.0]}",
        "network.reduction is now searched, {'int': [1, 3]}",
        "loss.gate_weight was fixed as 2.0, it is now 3.0",
    ]


def test_name_and_description_are_not_part_of_the_fingerprint() -> None:
    table = {"parameters": {"training.learning_rate": LR}}
    renamed = Space.from_dict({**table, "name": "other", "about": "the same"})
    assert renamed.diff(Space.from_dict(table).fingerprint()) == []
