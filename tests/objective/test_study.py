"""The command, for real: a spoken corpus, a small network, real trials, a real database."""

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import torch

from objective.study import main
from storage.artifacts import artifacts
from storage.checkpoints import load
from storage.outcome import best_trial, finished
from storage.paths import ALIGNMENTS, ARTIFACT_FILES
from tests.objective.corpus import copy_of

ROOT = Path(__file__).parent.parent.parent
SMALL = """
data: {demo_utterances: 24, validation_utterances: 6}
budget: {kframes: 12, reports: 4}
study: {recipes: [tacotune, nvidia, espnet]}
network: {embedding: 16, encoder: 16, prenet: 8, attention_rnn: 24, decoder_rnn: 24, attention: 8, postnet: 12}
pruner: {name: none}
repair: {max_per_trial: 0}
"""


@pytest.fixture(scope="module")
def spoken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the spoken corpus and a study of one trial."""
    out = copy_of(corpus, tmp_path_factory.mktemp("runs"))
    assert command(out, "--trials", "1", "--study", "first") == 0
    return out


def words(out: Path, *more: str) -> list[str]:
    return ["--settings", str(out / "small.yaml"), "--out", str(out), "--device", "cpu", *more]


def command(out: Path, *more: str) -> int:
    return main(words(out, *more))


def study(out: Path, name: str) -> optuna.Study:
    return optuna.load_study(storage=f"sqlite:///{out}/tacotune.db", study_name=name)


def test_a_trial_leaves_what_a_person_looks_at(spoken: Path) -> None:
    folder = spoken / "first" / "trial-00000"
    names = {"config.yaml", "reports.jsonl", "best.pt", ALIGNMENTS, *ARTIFACT_FILES}
    assert {file.name for file in folder.iterdir()} == names
    reports = [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]
    assert [report["kframes"] for report in reports] == [3.0, 6.0, 9.0, 12.0]
    with wave.open(str(folder / "sample.wav")) as sound:
        assert sound.getframerate() == 22_050
        assert sound.getnframes() > 0
    (trial,) = finished(study(spoken, "first"))
    shown = artifacts(study(spoken, "first"), trial, spoken)
    starts = {".png": b"\x89PNG", ".wav": b"RIFF", ".ogg": b"OggS"}
    for name in ARTIFACT_FILES:
        assert (folder / name).read_bytes().startswith(starts[Path(name).suffix])
        assert shown[name].read_bytes() == (folder / name).read_bytes()


def test_an_end_that_no_line_tells_is_written_down_by_the_next_command(spoken: Path) -> None:
    assert command(spoken, "--study", "torn", "--trials", "2") == 0
    file = spoken / "torn" / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    ends = [line for line in lines if b'"TrialEnded"' in line]
    file.write_bytes(b"".join(line for line in lines if line != ends[1]))
    assert command(spoken, "--study", "torn", "--trials", "2") == 0
    assert command(spoken, "--study", "torn", "--trials", "2") == 0
    first, second = events(spoken, "torn", "TrialEnded")
    whole = json.loads(ends[1])
    assert first == json.loads(ends[0])
    assert {name for name in whole if whole[name] != second[name]} <= {"at", "last", "is_best"}


def test_a_finished_trial_tells_the_truth(spoken: Path) -> None:
    """A network that saw 12,000 frames cannot speak: COMPLETE with its loss, its constraints broken, and never the best."""
    (trial,) = finished(study(spoken, "first"))
    reports = (spoken / "first" / "trial-00000" / "reports.jsonl").read_text().splitlines()
    losses = []
    for report in map(json.loads, reports):
        losses.append(sum(report["validation"][name] for name in ("mel_before", "mel_after", "gate")))
    assert trial.value == pytest.approx(min(losses))
    targets = ("diagonality", "alignment_score", "gate_accuracy", "free_failures")
    assert set(trial.constraints) == {f"health/{name}" for name in targets}
    assert any(amount > 0 for amount in trial.constraints.values())
    assert "target" in trial.user_attrs["sick_reason"]
    assert best_trial(study(spoken, "first")) is None
    assert len(trial.user_attrs["health"]["kframes"]) == 4
    assert trial.user_attrs["origin"] == "recipe tacotune"


def test_the_same_command_goes_on_to_n_and_then_stops_at_once(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for trials in ("1", "3", "3"):
        assert command(spoken, "--study", "again", "--trials", trials) == 0
    assert [trial.number for trial in finished(study(spoken, "again"))] == [0, 1, 2]
    assert "finished: 3 of 3 trials" in capsys.readouterr().out


@contextmanager
def running(out: Path, mark: Callable[[str], bool], *more: str, stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, from the moment when it prints a line that fits `mark`."""
    line = [sys.executable, "-m", "objective.study", *words(out, *more)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        assert process.stdout is not None
        assert any(map(mark, process.stdout))
        yield process


@contextmanager
def held(out: Path, number: int, kframes: float, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """The same, from a report of a trial on, after which it stands still until its stdin is closed (as by `communicate`)."""
    line = [sys.executable, "-m", "tests.objective.held", str(number), str(kframes), *words(out, *more)]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(said.startswith(f"trial {number}  {kframes}/") for said in process.stdout)
        yield process


def tried(out: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    """All trials that were given their point: where two workers ask for one recipe or the last trial, one gets none."""
    return [trial for trial in study(out, name).trials if trial.params]


def points(out: Path, name: str) -> list[tuple[dict[str, object], float | None, dict[int, float]]]:
    trials = sorted(finished(study(out, name)), key=lambda trial: int(trial.user_attrs["k"]))
    return [(trial.params, trial.value, trial.intermediate_values) for trial in trials]


@pytest.fixture(scope="module")
def undisturbed(spoken: Path) -> list[tuple[dict[str, object], float | None, dict[int, float]]]:
    """Five trials in one go."""
    assert command(spoken, "--study", "one-tpe", "--trials", "5", "--seed", "7") == 0
    return points(spoken, "one-tpe")


def test_two_runs_with_one_seed_are_the_same_bit_for_bit(spoken: Path, undisturbed: list[object]) -> None:
    assert command(spoken, "--study", "other-tpe", "--trials", "5", "--seed", "7") == 0
    assert points(spoken, "other-tpe") == undisturbed
    for name in ("one", "other"):
        assert command(spoken, "--study", f"{name}-random", "--trials", "4", "--sampler", "random", "--seed", "7") == 0
    one = points(spoken, "one-random")
    assert one == points(spoken, "other-random")
    assert len({str(point) for point, _, _ in one}) == 4


def test_the_log_holds_what_the_space_changes_of_a_recipe(spoken: Path, undisturbed: list[object]) -> None:
    (nvidia,) = (event for event in events(spoken, "one-tpe", "TrialStarted") if event["origin"] == "recipe nvidia")
    assert "training.batch_size 64 -> 32 (nearest choice of the space)" in nvidia["changes"]


def test_parts_give_the_same_list_as_one_go(spoken: Path, undisturbed: list[object]) -> None:
    for trials in ("1", "2", "5"):
        assert command(spoken, "--study", "parts", "--trials", trials, "--seed", "7") == 0
    assert points(spoken, "parts") == undisturbed


def events(out: Path, name: str, kind: str) -> list[dict[str, object]]:
    lines = (out / name / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_trial_goes_on_where_it_was_stopped(spoken: Path, undisturbed: list[object], number: signal.Signals) -> None:
    """In a recipe while another waits. Typed again, the command ends with exactly five, bit for bit the undisturbed ones."""
    name = f"stopped-{number.name}"
    with held(spoken, 1, 9.0, "--study", name, "--trials", "5", "--seed", "7") as process:
        process.send_signal(number)
        rest, _ = process.communicate(timeout=10)
    stopped = study(spoken, name)
    assert len(finished(stopped)) == 1
    if number == signal.SIGKILL:
        assert stopped.trials[1].state.name == "RUNNING", "nobody was there to say it"
    else:
        assert process.returncode == 130
        assert "interrupted" in rest
        assert stopped.trials[1].user_attrs["released"] == "interrupted"
    assert command(spoken, "--study", name, "--trials", "5", "--seed", "7") == 0
    stopped = study(spoken, name)
    assert points(spoken, name) == undisturbed
    assert {trial.state.name for trial in stopped.trials} == {"COMPLETE", "FAIL"}
    (again,) = (trial for trial in stopped.trials if trial.user_attrs.get("again_of") == 1)
    (resumed,) = events(spoken, name, "Resumed")
    assert (resumed["number"], resumed["of"]) == (again.number, 1)
    assert resumed["kframes"] >= (6.0 if number == signal.SIGKILL else 9.0), "what was reported before is not trained again"
    whole = spoken / "one-tpe" / "trial-00001"
    folder = spoken / name / f"trial-{again.number:05d}"
    one, other = (load(place / "best.pt")["weights"] for place in (whole, folder))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (whole / "sample.wav").read_bytes() == (folder / "sample.wav").read_bytes()
    told = [[json.loads(line) for line in (place / "reports.jsonl").read_text().splitlines()] for place in (whole, folder)]
    for report in told[0] + told[1]:
        del report["seconds"]  # which is not the training's
    assert told[0] == told[1]
    assert again.user_attrs["health"] == study(spoken, "one-tpe").trials[1].user_attrs["health"]


def test_what_was_stopped_comes_before_what_was_not_begun(spoken: Path) -> None:
    """Asked for one trial and stopped in the first recipe: typed again, it is that one which is finished, not the next."""
    line = ["--study", "first-owed", "--trials", "1", "--seed", "7"]
    with held(spoken, 0, 6.0, *line) as process:
        process.kill()
    assert command(spoken, *line) == 0
    (trial,) = finished(study(spoken, "first-owed"))
    assert (trial.user_attrs["origin"], trial.user_attrs["again_of"]) == ("recipe tacotune", 0)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sick_trial_is_pruned_and_the_sampler_told_the_truth(spoken: Path, sampler: str) -> None:
    """Levels that no young network meets: every trial is pruned, with a sentence that its own record bears out."""
    name = f"pruned-{sampler}"
    values = {"warmup_share": 0.3, "patience_share": 0, "warn": 1, "critical": 0.99}
    levels = [word for knob, value in values.items() for word in ("--set", f"health.diagonality.{knob}={value}")]
    levels += ["--set", "health.no_alignment.warmup_share=0.9"]  # it would come first
    assert command(spoken, "--study", name, "--trials", "2", "--sampler", sampler, "--pruner", "health", *levels) == 0
    for trial in finished(study(spoken, name)):
        assert trial.state.name == ("COMPLETE" if sampler == "gp" else "PRUNED")
        assert trial.user_attrs["pruned_by"] == "diagonality"
        measured = trial.user_attrs["health"]["diagonality"][-1]
        assert trial.user_attrs["pruned_reason"] == f"diagonality {measured:.2f} < 0.99 in 1 of 1 validations since 6 kframes"
        assert trial.value == trial.intermediate_values[trial.last_step]
        assert trial.constraints["health/diagonality"] > 0
    assert best_trial(study(spoken, name)) is None


def test_a_network_that_diverges_is_pruned_never_failed(spoken: Path) -> None:
    wild = ["--set", "training.learning_rate=1e6", "--set", "training.clip_norm=1e6", "--set", "training.warmup_share=0"]
    (spoken / "still.yaml").write_text("name: still\nparameters:\n  loss.gate_weight: {float: [1.0, 2.0]}\n")
    more = ["--space", str(spoken / "still.yaml"), "--set", "study.recipes=[]"]
    assert command(spoken, "--study", "wild", "--trials", "1", "--set", "pruner.name=health", *wild, *more) == 0
    (trial,) = study(spoken, "wild").trials
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs["pruned_by"] in ("nonfinite", "grad_norm", "progress")
    assert trial.value is None or trial.value < float("inf")


def test_a_button_that_fails_a_running_trial_stops_it_and_the_study_goes_on(spoken: Path) -> None:
    with held(spoken, 0, 3.0, "--study", "button", "--trials", "1") as process:
        study(spoken, "button").tell(0, state=optuna.trial.TrialState.FAIL)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "ended from outside" in rest
    assert study(spoken, "button").trials[0].state.name == "FAIL"
    assert len(finished(study(spoken, "button"))) == 1


BAD = {
    "misspelt key": (["--set", "training.learning_rat=1"], "did you mean training.learning_rate"),
    "misspelt flag's value": (["--sampler", "tpee"], "tpe"),
    "no number": (["--trials", "many"], "--trials"),
    "several at once": (["--trials", "0", "--set", "loss.gate_weigth=1"], "gate_weight"),
    "unknown space": (["--space", "defualt"], "default"),
    "no such data": (["--data", "no/such/folder"], "no/such/folder"),
    "no such settings": (["--settings", "no.yaml"], "no.yaml"),
    "a secret": (["--set", "telegram.bot_token=1:abc"], "secrets come from the environment"),
    "a database nobody can open": (["--storage", "postgresql://u:geheim@127.0.0.1:1/x"], "cannot open postgresql"),
    "language": (["--language", "de"], "en"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_says_why(case: str, spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, word = BAD[case]
    assert main([*words(spoken, "--study", "bad"), *more]) == 2
    printed = capsys.readouterr()
    assert word in printed.err
    assert "Traceback" not in printed.err
    assert "geheim" not in printed.err + printed.out
    assert not (spoken / "bad").exists()


def test_a_study_made_for_something_else_is_refused_with_the_differences(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(spoken, "--study", "first", "--trials", "2", "--set", "network.encoder=32", "--space", "seed") == 2
    said = capsys.readouterr().err
    assert "network.encoder was 16, it is now 32" in said
    assert "training.clip_norm is no longer searched" in said
    assert len(finished(study(spoken, "first"))) == 1


def test_a_password_is_written_nowhere(tmp_path: Path, spoken: Path) -> None:
    """A SQLite URL takes a query; its password must not reach a file, an attribute or the screen."""
    line = [sys.executable, "-m", "objective.study", *words(spoken, "--study", "secret", "--trials", "1")]
    line += ["--storage", f"sqlite:///{tmp_path}/x.db?password=geheim"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "TELEGRAM_BOT_TOKEN": "geheim2"})
    written = done.stdout + done.stderr
    for file in (spoken / "secret").rglob("*"):
        written += file.read_bytes().decode("latin-1") if file.is_file() else ""
    assert "geheim" not in written
