"""Repairs in a real study: what is tried, with which seeds, and after an interruption."""

import signal
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from storage.outcome import finished, is_finished
from tests.objective.corpus import copy_of
from tests.objective.search.knobs import GUIDED, LEVELS
from tests.objective.small_study import SMALL, command, events, held, study


@pytest.fixture(scope="module")
def out(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a study of a recipe, two repairs and a sampled configuration."""
    out = copy_of(corpus, tmp_path_factory.mktemp("runs"))
    text = SMALL.replace("max_per_trial: 0", "max_per_trial: 2").replace("tacotune, nvidia, espnet", "tacotune")
    (out / "small.yaml").write_text(text.replace("pruner: {name: none}", "pruner: {name: health}") + LEVELS)
    assert command(out, "--study", "one", "--trials", "4", "--sampler", "random") == 0
    return out


def tried(out: Path, name: str) -> list[tuple[Any, ...]]:
    """The finished trials of a study, by number."""
    return [
        (trial.params, trial.value, *(trial.user_attrs.get(part) for part in ("k", "repair_depth", "changes", "repair_why")))
        for trial in finished(study(out, name))
    ]


def test_a_pruned_trial_is_repaired_and_its_repair_is_repaired_too(out: Path) -> None:
    first, second, third, sampled = study(out, "one").trials
    assert [trial.user_attrs["pruned_by"] for trial in (first, second, third)] == ["diagonality"] * 3
    assert [trial.params[GUIDED] for trial in (first, second, third)] == [1.0, 2.0, 4.0]
    for parent, repair in ((first, second), (second, third)):
        attributes = repair.user_attrs
        assert attributes["origin"] == f"repair of trial {parent.number}"
        assert attributes["repair_of"] == parent.number
        assert attributes["repair_depth"] == repair.number
        assert attributes["repair_why"] == parent.user_attrs["pruned_reason"]
        assert attributes["changes"] == [f"{GUIDED} {parent.params[GUIDED]:g} -> {repair.params[GUIDED]:g}"]
        same = {name: value for name, value in parent.params.items() if name != GUIDED}
        assert same.items() <= repair.params.items()
    origins = [event["origin"] for event in events(out, "one", "TrialStarted")]
    assert origins[1] == f"repair of trial 0: {GUIDED} 1 -> 2"
    assert origins[3] == "sampled", "two repairs are enough"
    assert "repair_of" not in sampled.user_attrs
    (page,) = events(out, "one", "StudyEnded")
    assert page["repairs"][1] == 2


def test_repairs_do_not_change_the_seeds_of_other_trials(out: Path) -> None:
    """Trial k has the same parameters and seed whether repairs ran before it or not, and a repair has its parent's seed."""
    assert command(out, "--study", "off", "--trials", "2", "--sampler", "random", "--set", "repair.max_per_trial=0") == 0
    one, off = tried(out, "one"), tried(out, "off")
    assert off == [one[0], one[3]]
    assert [trial[2] for trial in one] == [0, 0, 0, 1]


def test_interrupted_repairs_end_like_undisturbed_ones(out: Path) -> None:
    """A study that is stopped after its first trial, and then within a repair, has the same trials with their lineage."""
    more = ["--study", "parts", "--sampler", "random", "--trials"]
    assert command(out, *more, "1") == 0
    assert all(is_finished(trial) for trial in study(out, "parts").trials), "a complete study enqueues no repair"
    with held(out, 1, 3.0, *more, "4") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert study(out, "parts").trials[1].state == TrialState.FAIL
    assert command(out, *more, "4") == 0
    retry = study(out, "parts").trials[2].user_attrs
    assert (retry["origin"], retry["repair_of"], retry["again_of"]) == ("repair of trial 0", 0, 1)
    origin = f"repair of trial 0: {GUIDED} 1 -> 2, again after trial 1"
    assert events(out, "parts", "TrialStarted")[2]["origin"] == origin
    assert tried(out, "parts") == tried(out, "one")
