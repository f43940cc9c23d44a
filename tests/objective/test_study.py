"""What a finished trial leaves and reports, and which arguments a study refuses."""

import wave
from pathlib import Path

import pytest

from objective.study import main
from storage.artifacts import artifacts
from storage.outcome import best_trial, finished
from storage.paths import ALIGNMENTS, ARTIFACT_FILES, SENTENCES
from tests.objective.corpus import copy_of
from tests.objective.small_study import QUICK, command, events, reports, study, study_arguments


def test_a_trial_leaves_what_a_person_looks_at(undisturbed: Path) -> None:
    folder = undisturbed / "undisturbed" / "trial-00000"
    names = {"config.yaml", "reports.jsonl", "best.pt", ALIGNMENTS, SENTENCES, *ARTIFACT_FILES}
    assert {file.name for file in folder.iterdir()} == names
    assert [report["kframes"] for report in reports(folder)] == [3.0, 6.0, 9.0, 12.0]
    with wave.open(str(folder / "sample.wav")) as sound:
        assert sound.getframerate() == 22_050
        assert sound.getnframes() > 0
    trial = finished(study(undisturbed, "undisturbed"))[0]
    shown = artifacts(study(undisturbed, "undisturbed"), trial, undisturbed)
    starts = {".png": b"\x89PNG", ".wav": b"RIFF", ".ogg": b"OggS"}
    for name in ARTIFACT_FILES:
        assert (folder / name).read_bytes().startswith(starts[Path(name).suffix])
        assert shown[name].read_bytes() == (folder / name).read_bytes()


def test_the_start_says_who_judges(undisturbed: Path) -> None:
    started = events(undisturbed, "undisturbed", "StudyStarted")[0]
    assert any("judged by alignment and stops alone" in note for note in started["notes"])


def test_a_finished_trial_has_its_loss_its_constraints_and_its_diagnosis(undisturbed: Path) -> None:
    """A network that saw 12,000 frames cannot speak: it is COMPLETE, breaks its constraints, and is never the best."""
    trial = finished(study(undisturbed, "undisturbed"))[0]
    validations = [report["validation"] for report in reports(undisturbed / "undisturbed" / "trial-00000")]
    losses = [sum(losses[name] for name in ("mel_before", "mel_after", "gate")) for losses in validations]
    assert trial.value == pytest.approx(min(losses))
    targets = ("diagonality", "reading", "free_failures")
    assert set(trial.constraints) == {f"health/{name}" for name in targets}
    assert any(amount > 0 for amount in trial.constraints.values())
    assert "target" in trial.user_attrs["sick_reason"]
    assert best_trial(study(undisturbed, "undisturbed")) is None
    assert len(trial.user_attrs["health"]["kframes"]) == 4
    assert trial.user_attrs["origin"] == "recipe tacotune"


def test_the_log_holds_what_the_space_changes_of_a_recipe(undisturbed: Path) -> None:
    (nvidia,) = (event for event in events(undisturbed, "undisturbed", "TrialStarted") if event["origin"] == "recipe nvidia")
    assert "training.batch_size 64 -> 16 (nearest choice of the space)" in nvidia["changes"]


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
def test_bad_input_exits_with_2_and_names_the_mistake(case: str, spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, part = BAD[case]
    assert main([*study_arguments(spoken, "--study", "bad"), *more]) == 2
    printed = capsys.readouterr()
    assert part in printed.err
    assert "Traceback" not in printed.err
    assert "geheim" not in printed.err + printed.out
    assert not (spoken / "bad").exists()


def test_other_settings_than_the_study_was_made_with_are_refused_with_the_differences(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--set", "network.encoder=32", "--space", "seed"]
    assert command(undisturbed, "--study", "undisturbed", "--trials", "5", *changed) == 2
    printed = capsys.readouterr().err
    assert "network.encoder was 16, it is now 32" in printed
    assert "training.clip_norm is no longer searched" in printed
    assert len(finished(study(undisturbed, "undisturbed"))) == 4


@pytest.mark.filterwarnings("ignore:Query string argument")  # SQLite has no passwords
def test_a_password_is_written_nowhere(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SQLite URL takes a query; its password must not reach a file, an attribute or the screen.

    The output folder is the test's own: reading a database file that this process has open drops SQLite's locks on it.
    """
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "geheim2")
    out = copy_of(corpus, tmp_path / "out")
    storage = f"sqlite:///{tmp_path}/x.db?password=geheim"
    assert command(out, "--study", "secret", "--trials", "1", "--storage", storage, *QUICK) == 0
    printed = capsys.readouterr()
    written = printed.out + printed.err
    written += "".join(file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file())
    assert "recipe tacotune" in written
    assert "geheim" not in written
