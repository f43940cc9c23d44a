"""--warm-start, for real: every trial starts from the file and reports it, and the study records which file it was."""

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
from tests.objective.corpus import copy_of
from tests.objective.small_study import QUICK, study, study_arguments

STILL = "name: still\nparameters:\n  loss.gate_weight: {float: [1.0, 2.0]}\n"
WITHOUT_TRIALS = ["--timeout", "1e-9"]


@pytest.fixture(scope="module")
def spoken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the study `first` of one trial, and a copy of its best.pt."""
    out = copy_of(corpus, tmp_path_factory.mktemp("runs") / "out")
    (out / "still.yaml").write_text(STILL)
    assert command(out, "--study", "first") == 0
    shutil.copy(out / "first" / "trial-00000" / "best.pt", out)
    return out


def command(out: Path, *more: str) -> int:
    return main(
        [*study_arguments(out), *QUICK, "--set", "study.recipes=[]", "--trials", "1", "--space", str(out / "still.yaml"), *more]
    )


def test_a_trial_starts_from_the_file_and_reports_it(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a rate that changes nothing, the trained weights are the loaded ones."""
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
    """The file's content counts, not its name."""
    pretrained = spoken / "best.pt"
    values = torch.load(pretrained, weights_only=True)
    next(iter(values["weights"].values())).add_(1)
    torch.save(values, spoken / "other.pt")
    line = [*WITHOUT_TRIALS, "--study", "known", "--warm-start"]
    assert command(spoken, *line, str(pretrained)) == 0
    assert command(spoken, *line, str(shutil.copy(pretrained, spoken / "moved.pt"))) == 0
    assert command(spoken, "--study", "known") == 2
    assert f"warm_start was {read(pretrained).digest}, it is now None" in capsys.readouterr().err
    assert command(spoken, *line, str(spoken / "other.pt")) == 2
    assert command(spoken, "--study", "first", "--warm-start", str(pretrained)) == 2
    assert f"warm_start was None, it is now {read(pretrained).digest}" in capsys.readouterr().err


def test_weights_of_a_trial_name_their_alphabet(spoken: Path) -> None:
    values = torch.load(spoken / "first" / "trial-00000" / "best.pt", weights_only=True)
    assert tuple(values["symbols"]) == find_language("en").symbols


def test_a_study_older_than_a_setting_continues(spoken: Path, tmp_path: Path) -> None:
    """Its trials did what the setting's default does; any other value is a difference."""
    out = shutil.copytree(spoken, tmp_path / "out")
    old = study(out, "first")
    identity = dict(old.user_attrs["identity"])
    del identity["warm_start"], identity["network.standardise"]
    old.set_user_attr("identity", identity)
    assert command(out, "--study", "first") == 0
    assert command(out, "--study", "first", "--set", "network.standardise=false") == 2
    assert len(finished(study(out, "first"))) == 1


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
def test_any_other_file_exits_with_2_before_anything_is_made(
    kind: "type[Path]", spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kind(spoken)
    assert command(spoken, "--study", "bad", "--warm-start", str(path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "study.warm_start: " + BAD[kind].format(path) in line
    assert not (spoken / "bad").exists()


def test_the_log_of_a_study_lists_resized_weights(spoken: Path) -> None:
    path = spoken / "best.pt"
    resized = ["--study", "resized", "--warm-start", str(path), "--set", "network.attention_rnn=20"]
    assert command(spoken, *WITHOUT_TRIALS, *resized) == 0
    started = json.loads((spoken / "resized" / "events.jsonl").read_text().splitlines()[0])
    assert [note for note in started["notes"] if note.startswith("resized: attention.rnn.weight_hh (96, 24) -> (80, 20)")]
