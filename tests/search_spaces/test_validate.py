"""The error of an invalid space names every mistake in it: where, the rule, the value and the way out."""

from pathlib import Path
from typing import Any

import pytest

from model.config import Config
from search_spaces.knobs import apply
from search_spaces.space import Space, SpaceError, load

LR = {"float": [1e-4, 1e-3]}


def mistakes(parameters: dict[str, Any], fixed: dict[str, Any] | None = None, base: Config | None = None) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        Space.from_dict({"fixed": fixed or {}, "parameters": parameters}, base)
    return caught.value.mistakes


def mistake(parameters: dict[str, Any], fixed: dict[str, Any] | None = None) -> str:
    (only,) = mistakes(parameters, fixed)
    return only


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"training.learning_rat": LR}, "did you mean training.learning_rate?"),
        ({"lerning_rate": LR}, "did you mean training.learning_rate?"),
        ({"study.trials": {"int": [1, 9]}}, "a budget, a seed or anything outside of them belongs in the settings"),
        ({"study.seed": {"int": [1, 9]}}, "a budget, a seed or anything outside of them belongs in the settings"),
        ({"network.recurrence": {"categorical": ["deferred", "reference"]}}, "changes how a voice is computed"),
        ({"training.precision": {"categorical": ["fp32", "bf16"]}}, "changes how a voice is computed"),
        ({"training.learning_rate": {"float": [1e-3, 1e-4]}}, "need lowest < highest, got [0.001, 0.0001]: swap them"),
        ({"training.learning_rate": {"float": [1e-3, 1e-3]}}, "put a single value under fixed:"),
        ({"training.learning_rate": {"float": [1e-3]}}, "need float: [lowest, highest], got [0.001]"),
        ({"training.learning_rate": {"float": ["a", 1.0]}}, "need a number, got 'a'"),
        ({"training.learning_rate": {"float": [0.1, float("inf")]}}, "need a number, got inf"),
        ({"training.learning_rate": {"int": [1, 2]}}, "need float, got int"),
        ({"training.schedule": {"float": [1, 2]}}, "need categorical, got float"),
        ({"training.learning_rate": {"lo": 1, "hi": 2}}, "need exactly one of float, int, categorical"),
        ({"training.learning_rate": 3}, "need exactly one of float, int, categorical, got 3"),
        ({"training.learning_rate": {**LR, "lgo": True}}, "unknown option lgo: did you mean log?"),
        ({"training.learning_rate": {**LR, "log": "very"}}, "need log: true or false, got 'very'"),
        ({"training.weight_decay": {"float": [0, 1e-3], "log": True}}, "log needs lowest > 0, got 0.0"),
        ({"training.learning_rate": {**LR, "log": True, "step": 3e-4}}, "log and step exclude each other"),
        ({"training.learning_rate": {**LR, "step": 2e-4}}, "need whole steps between bounds"),
        ({"training.learning_rate": {**LR, "step": 0}}, "need step > 0, got 0"),
        ({"training.learning_rate": {**LR, "or": 5e-4}}, "need `or` outside of the bounds"),
        ({"training.batch_size": {"categorical": []}}, "need a list of two choices or more, got []"),
        ({"training.batch_size": {"categorical": [16, True]}}, "need a whole number, got True among the choices"),
        ({"training.batch_size": {"categorical": [16, 16]}}, "need different choices"),
        ({"training.batch_size": {"categorical": [0, 16]}}, "need batch_size > 0, got 0"),
        ({"network.prenet_dropout": {"float": [0.2, 1.5]}}, "need 0 <= prenet_dropout < 1, got 1.5"),
        ({"network.encoder": {"int": [128, 256]}}, "need an even number, got 129"),
        ({"training.learning_rate": {**LR, "when": {"nothing": 1}}}, "when nothing: need a parameter of this space"),
        ({"training.learning_rate": {**LR, "when": 3}}, "need when: {earlier.parameter"),
        (
            {"training.learning_rate": {**LR, "when": {"training.clip_norm": 1}}, "training.clip_norm": {"float": [0.5, 1]}},
            "need an earlier parameter: move training.clip_norm before training.learning_rate",
        ),
        (
            {"training.clip_norm": {"float": [0.5, 1]}, "training.learning_rate": {**LR, "when": {"training.clip_norm": 2}}},
            "need values that it can take, got 2",
        ),
        (
            {
                "training.schedule": {"categorical": ["cosine", "noam"]},
                "training.learning_rate": {**LR, "when": {"training.schedule": {"above": 0}}},
            },
            "when training.schedule: need a value, a list of values or, for a number, {above: number}",
        ),
        (
            {"training.schedule": {"categorical": ["cosine", "noam"]}, "training.warmup_share": {"float": [0, 0.1]}},
            "schedule noam falls from the end of the warm-up: need warmup_share > 0, got 0",
        ),
    ],
)
def test_a_mistake_is_named_with_its_way_out(parameters: dict[str, Any], sentence: str) -> None:
    message = mistake(parameters)
    assert sentence in message
    assert not parameters or any(key in message for key in parameters)


def test_an_invalid_configuration_is_a_mistake_only_where_it_can_be_suggested() -> None:
    space = Space.from_dict(
        {
            "parameters": {
                "training.schedule": {"categorical": ["cosine", "noam"]},
                "training.warmup_share": {"float": [0, 0.1], "when": {"training.schedule": "cosine"}},
            }
        }
    )
    assert [parameter.key for parameter in space.parameters] == ["training.schedule", "training.warmup_share"]


def test_fixed_settings_are_validated_too() -> None:
    lr = {"training.learning_rate": LR}
    assert "did you mean training.schedule?" in mistake(lr, {"training.schedul": "noam"})
    assert "fixed: loss.gate_weight: need a number, got True" in mistake(lr, {"loss.gate_weight": True})
    assert "training.schedule: schedule is one of constant, cosine, noam" in mistake(lr, {"training.schedule": "warm"})
    assert "training.learning_rate: both searched and fixed to 0.001: keep one" in mistake(lr, {"training.learning_rate": 1e-3})


def test_the_space_is_validated_together_with_the_base_configuration() -> None:
    table = {"training.schedule": {"categorical": ["cosine", "noam"]}}
    Space.from_dict({"parameters": table})
    (message,) = mistakes(table, base=apply(Config(), {"training.warmup_share": 0.0}))
    assert "need warmup_share > 0, got 0" in message


def test_all_mistakes_are_listed_at_once() -> None:
    found = mistakes(
        {
            "training.lerning_rate": LR,
            "training.clip_norm": {"float": [5, 1]},
            "training.weight_decay": {"float": [0, 1], "log": True},
            "training.batch_size": {"categorical": []},
            "network.prenet_dropout": {"float": [0.2, 1.5]},
            "loss.guided_sigma": {"float": [0.2, 0.5], "when": {"loss.guided_weight": {"above": 0}}},
        },
        {"training.schedule": "warm"},
    )
    named = ["lerning_rate", "clip_norm", "weight_decay", "batch_size", "prenet_dropout", "guided_sigma", "training.schedule"]
    assert all(any(name in line for line in found) for name in named)
    assert len(found) == len(named)
    assert len(mistakes({"training.batch_size": {"categorical": ["a", "b"]}})) == 2


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_numbers_of_a_file_may_have_an_exponent(tmp_path: Path) -> None:
    text = "name: mine\nparameters:\n  training.learning_rate: {float: [1e-4, 1E-3], log: true}\n"
    space = load(written(tmp_path, text))
    assert space.name == "mine"
    assert space.fingerprint()["parameters"]["training.learning_rate"] == {"float": [1e-4, 1e-3], "log": True}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: x\nparameters: {a: [}\n", "line 2: need valid YAML"),
        ("parameters:\n  loss.gate_weight: {float: [1, 2]}\n  loss.gate_weight: {float: [1, 3]}\n", "line 3: need valid YAML"),
        ("- 1\n", "need a mapping with name, about, fixed, parameters, got [1]"),
        ("", "need a mapping"),
        ("parameter:\n  loss.gate_weight: {float: [1, 2]}\n", "parameter: unknown: did you mean parameters?"),
        ("parameters: 3\n", "parameters: need a mapping from dotted names, got 3"),
    ],
)
def test_the_error_of_an_invalid_file_says_where(tmp_path: Path, text: str, sentence: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SpaceError) as caught:
        load(str(file))
    assert sentence in str(caught.value)
    assert all(line.startswith(str(file)) for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("defualt", "did you mean default?"),
        ("recipes", "choose one of default, demo, safe, seed"),
        ("nowhere/mine.yaml", "need a file that can be read"),
    ],
)
def test_the_error_of_a_missing_space_names_the_nearest(name: str, sentence: str) -> None:
    with pytest.raises(SpaceError, match=r"(?s)" + sentence.replace("?", r"\?")):
        load(name)
