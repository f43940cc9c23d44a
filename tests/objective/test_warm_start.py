"""--warm-start, for real: every trial starts from the file, says so, and the study knows which file it was."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from model.text.languages import find_language
from model.warmstart import read
from objective.study import main
from storage.outcome import finished
from tests.objective.test_study import SMALL, study, words

STILL = "name: still\nparameters:\n  loss.gate_weight: {float: [1.0, 2.0]}\n"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a study of one trial, whose best.pt is best.pt there, too."""
    out = tmp_path_factory.mktemp("runs")
    (out / "small.yaml").write_text(SMALL)
    (out / "still.yaml").write_text(STILL)
    assert command(out, "--study", "first") == 0
    shutil.copy(out / "first" / "trial-00000" / "best.pt", out)
    return out


def command(out: Path, *more: str) -> int:
    quick = ["--budget-kframes", "4", "--set", "budget.reports=1", "--set", "study.recipes=[]"]
    return main([*words(out), *quick, "--trials", "1", "--space", str(out / "still.yaml"), *more])


def test_a_trial_starts_from_the_file_and_says_so(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a rate that moves nothing, what is trained is what was loaded."""
    still = ["--set", "training.learning_rate=1e-30"]
    assert command(spoken, "--study", "warm", "--warm-start", str(spoken / "best.pt"), *still) == 0
    given = read(spoken / "best.pt")
    assert f"warm start from {spoken / 'best.pt'}: {len(given.weights)} loaded" in " ".join(capsys.readouterr().out.split())
    folder = spoken / "warm" / "trial-00000"
    after = read(folder / "best.pt").weights
    learnt = [name for name in after if "running" not in name]
    assert all(torch.allclose(after[name], given.weights[name], atol=1e-6) for name in learnt)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["warm_start"] == {"file": str(spoken / "best.pt"), "digest": given.digest}
    assert "warm_start" not in yaml.safe_load((spoken / "first" / "trial-00000" / "config.yaml").read_text())


def test_another_start_is_another_study(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What counts is the file's content, not its name."""
    pretrained = spoken / "best.pt"
    line = ["--study", "known", "--warm-start"]
    assert command(spoken, *line, str(pretrained)) == 0
    assert command(spoken, *line, str(shutil.copy(pretrained, spoken / "moved.pt"))) == 0
    assert command(spoken, "--study", "known") == 2
    assert f"warm_start was {read(pretrained).digest}, it is now None" in capsys.readouterr().err
    assert command(spoken, *line, str(spoken / "known" / "trial-00000" / "best.pt")) == 2
    assert command(spoken, "--study", "first", "--warm-start", str(pretrained)) == 2
    assert f"warm_start was None, it is now {read(pretrained).digest}" in capsys.readouterr().err


def test_weights_of_a_trial_name_their_alphabet(spoken: Path) -> None:
    values = torch.load(spoken / "first" / "trial-00000" / "best.pt", weights_only=True)
    assert tuple(values["symbols"]) == find_language("en").symbols


def test_a_study_of_a_time_without_a_knob_goes_on(spoken: Path) -> None:
    """It did what the knob's default does; anything else is a difference."""
    assert command(spoken, "--study", "old") == 0
    old = study(spoken, "old")
    identity = dict(old.user_attrs["identity"])
    del identity["warm_start"], identity["network.standardise"]
    old.set_user_attr("identity", identity)
    assert command(spoken, "--study", "old") == 0
    assert command(spoken, "--study", "old", "--set", "network.standardise=false") == 2
    assert len(finished(study(spoken, "old"))) == 1


def no_file(folder: Path) -> Path:
    return folder / "none.pt"


def text(folder: Path) -> Path:
    return folder / "small.yaml"


def something_else(folder: Path) -> Path:
    torch.save({"model": {"embedding.weight": torch.zeros(3, 4)}}, folder / "coqui.pt")
    return folder / "coqui.pt"


BAD = {
    no_file: "need a checkpoint, got {}: no such file or directory",
    Path.resolve: "need a checkpoint, got {}: is a directory",
    text: "{}: need a checkpoint of tensors and plain values",
    something_else: "{}: need weights of a Tacotron 2",
}


@pytest.mark.parametrize("kind", BAD)
def test_any_other_file_ends_with_two_before_anything_is_made(
    kind: "type[Path]", spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kind(spoken)
    assert command(spoken, "--study", "bad", "--warm-start", str(path)) == 2
    said = capsys.readouterr().err
    assert "study.warm_start: " + BAD[kind].format(path) in said
    assert len(said.splitlines()) == 1
    assert not (spoken / "bad").exists()


def test_the_record_of_a_study_has_the_table(spoken: Path) -> None:
    path = spoken / "best.pt"
    assert command(spoken, "--study", "resized", "--warm-start", str(path), "--set", "network.attention_rnn=20") == 0
    started = json.loads((spoken / "resized" / "events.jsonl").read_text().splitlines()[0])
    assert [note for note in started["notes"] if note.startswith("resized: attention.rnn.weight_hh (96, 24) -> (80, 20)")]
