"""The command, for real: a spoken corpus, a small network, real trials, a real database."""
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from objective.board import best_trial, finished
from objective.study import main

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
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder whose corpus and mels are there already."""
    out = tmp_path_factory.mktemp("runs")
    (out / "small.yaml").write_text(SMALL)
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
    names = {"config.yaml", "reports.jsonl", "last.pt", "best.pt", "alignment.png", "mel.png", "curves.png", "sample.wav"}
    assert {file.name for file in folder.iterdir()} == names
    reports = [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]
    assert [report["kframes"] for report in reports] == [3.0, 6.0, 9.0, 12.0]
    with wave.open(str(folder / "sample.wav")) as sound:
        assert sound.getframerate() == 22_050
        assert sound.getnframes() > 0
    for picture in ("alignment.png", "mel.png", "curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


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
def running(out: Path, mark: str, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, from the moment when it prints a line that starts with `mark`."""
    line = [sys.executable, "-m", "objective.study", *words(out, *more)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(said.startswith(mark) for said in process.stdout)
        yield process


def points(out: Path, name: str) -> list[tuple[dict[str, object], float | None, dict[int, float]]]:
    trials = sorted(finished(study(out, name)), key=lambda trial: int(trial.user_attrs["k"]))
    return [(trial.params, trial.value, trial.intermediate_values) for trial in trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_two_runs_with_one_seed_are_the_same_bit_for_bit(spoken: Path, sampler: str) -> None:
    for name in ("one", "other"):
        assert command(spoken, "--study", f"{name}-{sampler}", "--trials", "4", "--sampler", sampler, "--seed", "7") == 0
    one = points(spoken, f"one-{sampler}")
    assert one == points(spoken, f"other-{sampler}")
    assert len({str(point) for point, _, _ in one}) == 4


def test_parts_give_the_same_list_as_one_go(spoken: Path) -> None:
    for trials in ("1", "2", "4"):
        assert command(spoken, "--study", "parts", "--trials", trials, "--seed", "7") == 0
    assert points(spoken, "parts") == points(spoken, "one-tpe")


def test_ctrl_c_ends_cleanly_and_the_command_goes_on(spoken: Path) -> None:
    """Interrupted in a recipe while another waits; typed again, it ends with exactly five, each what it would have been."""
    with running(spoken, "trial 1  3.0/12", "--study", "stopped", "--trials", "5", "--seed", "7") as process:
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=30) == 130
    assert "interrupted" in rest
    stopped = study(spoken, "stopped")
    assert len(finished(stopped)) == 1
    assert stopped.trials[1].state.name == "FAIL"
    assert command(spoken, "--study", "stopped", "--trials", "5", "--seed", "7") == 0
    stopped = study(spoken, "stopped")
    assert len(finished(stopped)) == 5
    again = [trial for trial in stopped.trials if trial.user_attrs.get("origin") == "again after trial 1"]
    assert [trial.params for trial in again] == [stopped.trials[1].params]
    assert points(spoken, "stopped")[:4] == points(spoken, "one-tpe")


def test_a_killed_worker_leaves_no_zombie(spoken: Path) -> None:
    with running(spoken, "trial 0  3.0/12", "--study", "killed", "--trials", "2") as process:
        process.kill()
    assert study(spoken, "killed").trials[0].state.name == "RUNNING"
    assert command(spoken, "--study", "killed", "--trials", "2") == 0
    states = [trial.state.name for trial in study(spoken, "killed").trials]
    assert sorted(states) == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"], "the third recipe waits, nothing runs"


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
    with running(spoken, "trial 0  3.0/12", "--study", "button", "--trials", "1") as process:
        study(spoken, "button").tell(0, state=optuna.trial.TrialState.FAIL)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
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


@pytest.mark.slow
def test_trials_side_by_side_on_one_device(spoken: Path) -> None:
    """Two processes, one study: exactly as many trials as asked for, each run by one, and the second's display in a file."""
    assert command(spoken, "--trials", "5", "--study", "pair", "--trials-per-gpu", "2") == 0
    trials = study(spoken, "pair").get_trials(deepcopy=False)
    assert len(finished(study(spoken, "pair"))) == 5
    assert len({trial.user_attrs["owner"]["pid"] for trial in trials if "owner" in trial.user_attrs}) == 2
    assert "trial" in (spoken / "pair" / "worker-1.log").read_text()


@pytest.mark.slow
def test_ctrl_c_reaches_the_trials_beside(spoken: Path) -> None:
    """The second worker ends as cleanly as the first: nothing stays RUNNING, and every released point waits to come again."""
    with running(spoken, "trial 5", "--study", "pair-stopped", "--trials", "60", "--trials-per-gpu", "2") as process:
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
    trials = study(spoken, "pair-stopped").get_trials(deepcopy=False)
    released = [trial for trial in trials if trial.user_attrs.get("released") == "interrupted"]
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL", "WAITING"}
    assert len({trial.user_attrs["owner"]["pid"] for trial in trials if "owner" in trial.user_attrs}) == 2
    assert {f"again after trial {trial.number}" for trial in released} <= {trial.user_attrs.get("origin") for trial in trials}
