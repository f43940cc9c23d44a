"""The way from a study to a voice: train the best trial for longer, write one file, and say a text with it."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from model.voice import Voice
from objective import export, speak, train
from storage.outcome import finished
from tests.objective.corpus import copy_of
from tests.objective.small_study import QUICK, command, events, study

SHORT = ["--budget-kframes", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def searched(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the study `first` of one trial. Tests add trainings with names of their own."""
    out = copy_of(corpus, tmp_path_factory.mktemp("runs") / "out")
    assert command(out, *QUICK, "--study", "first", "--trials", "1") == 0
    return out


def trained(out: Path, *more: str) -> int:
    return train.main(["--out", str(out), "--study", "first", *SHORT, *more])


def test_a_trial_becomes_a_voice_that_speaks(searched: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert trained(searched) == 0
    told = capfd.readouterr()
    assert "training first-voice, trial 0 of first" in told.err
    path = searched / "first-voice" / "voice.pt"
    assert f"speak --voice {path}" in told.out.splitlines()[-1]
    voice = Voice.load(path)
    assert voice.about["study"] == "first-voice"
    assert voice.about["corpus"]["utterances"] == 24
    assert voice.about["figures"]["val_loss"] > 0
    assert voice.config.training.average == 0.999
    wav, mel = searched / "said.wav", searched / "said.npy"
    assert speak.main(["--voice", str(path), "--tries", "1", "-o", str(wav), "--mel", str(mel), "Two kind words."]) == 0
    wave, rate_hz = soundfile.read(wav)
    assert rate_hz == 22_050
    assert len(wave) == 256 * (len(np.load(mel)) - 1)
    assert (len(study(searched, "first-voice").trials), trained(searched)) == (1, 0), "the same command has nothing left to do"
    assert len(study(searched, "first-voice").trials) == 1


def test_the_best_trial_of_a_study_speaks_to_the_standard_output(
    searched: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("One word.\n\n***\nTwo words are here.\n"))
    assert speak.main(["--voice", "first", "--out", str(searched), "--tries", "1", "-o", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out.startswith(b"RIFF\xff\xff\xff\xffWAVE")
    assert (len(captured.out) - 44) % 2 == 0
    assert len(captured.out) > 44 + 2 * 256
    assert b"trial 0 of first" in captured.err
    assert b"need a text with something to say, got '***'" in captured.err
    assert [line for line in captured.err.splitlines() if line.endswith(b"words are here.")]


def test_a_study_and_its_file_know_their_recordings(searched: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for voice, kept in (("first", ""), (str(searched / "first/trial-00000/best.pt"), ", 24 of them already there")):
        line = ["--mels", str(tmp_path / "mels"), "--voice", voice, "--out", str(searched), "--device", "cpu"]
        assert export.main(line) == 0
        assert f"mels of 21 recordings to train on and 3 to validate{kept}\n" in capfd.readouterr().out
    assert len(list((tmp_path / "mels" / "wavs").iterdir())) == 24


def test_a_stopped_training_is_continued_by_its_name(searched: Path) -> None:
    line = ["--name", "stopped", "--set", "training.learning_rate=1e-4"]
    assert trained(searched, *line, "--timeout", "1e-9") == 0
    assert finished(study(searched, "stopped")) == []
    assert train.main(["--out", str(searched), "--name", "stopped", "--continue", "--device", "cpu"]) == 0
    assert len(finished(study(searched, "stopped"))) == 1
    assert Voice.load(searched / "stopped" / "voice.pt").config.training.learning_rate == 1e-4


def test_a_trials_configuration_is_valid_input(searched: Path) -> None:
    """For a study and for a training, whose network then is the trial's."""
    path = searched / "first" / "trial-00000" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    line = ["--settings", str(path), "--out", str(searched), "--set", "data.demo_utterances=24"]
    line += ["--set", "data.validation_utterances=6", "--set", "listener.kframes=0"]
    assert train.main([*line, *SHORT, "--name", "from-file", "--scratch", "--safe"]) == 0
    voice = Voice.load(searched / "from-file" / "voice.pt")
    assert voice.config.network.attention_rnn == config["network"]["attention_rnn"]
    assert (voice.config.training.learning_rate, voice.config.training.batch_size) == (1e-4, 8)
    from objective.study import main

    assert (
        main(
            [
                *line,
                *SHORT,
                "--space",
                "none",
                "--set",
                "study.recipes=[]",
                "--study",
                "again",
                "--trials",
                "2",
                "--pruner",
                "none",
            ]
        )
        == 0
    )
    values = [trial.value for trial in finished(study(searched, "again"))]
    assert len(set(values)) == 2, "two seeds of one configuration"


def test_every_change_to_a_training_is_in_its_log(searched: Path) -> None:
    """A schedule that stagnates starts anew, which is told as a warning is."""
    line = ["--name", "stagnant", "--set", "training.learning_rate=1e-9", "--set", "training.schedule=cosine"]
    line += ["--set", "health.stagnation.window_share=0.2", "--set", "budget.reports=12", "--budget-kframes", "12"]
    assert trained(searched, *line) == 0
    told = [event["sentence"] for event in events(searched, "stagnant", "Warned")]
    assert any("and its schedule anew: validation loss fell by" in sentence for sentence in told), told
    assert any("updates after the restart: validation loss" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--trial", "7"], "need a finished trial of first, got 7: choose one of 0"),
        (["--study", "other"], "need the name of a study, got other"),
        (["--continue"], "--continue: need --name"),
        (["--continue", "--name", "first"], "--continue: need a training, got the study first"),
        (["--scratch", "--warm-start", "x.pt"], "need one start"),
        (["--warm-start", "missing.pt"], "need a checkpoint, got"),
        (["--set", "training.lerning_rate=1"], "did you mean training.learning_rate?"),
        (["--budget-kframes", "many"], "budget.kframes"),
        (["--name", "../x"], "need a name of letters"),
    ],
)
def test_bad_input_ends_in_one_message(
    searched: Path, capsys: pytest.CaptureFixture[str], line: list[str], sentence: str
) -> None:
    before = sorted(searched.iterdir())
    assert trained(searched, *line) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(searched.iterdir()) == before, "nothing is left behind"


def test_one_name_is_one_training(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(searched, "--name", "one") == 0
    other = Voice.load(searched / "one" / "voice.pt").save(searched / "other.pt")
    assert trained(searched, "--name", "one", "--warm-start", str(other)) == 2
    assert "need a new name, got one, which was started from other weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--voice", "gone.pt", "a"], "need the file of a voice, got"),
        (["--voice", "v1.2", "a"], "need the name of a study, got v1.2"),
        (["--voice", "first", "--trial", "3", "a"], "need a finished trial of first, got 3"),
        (["--voice", "first", "-o", "x.mp3", "a"], "need a file *.wav, or -"),
        (["--voice", "first", "-o", "nowhere/x.wav", "a"], "need a folder to write x.wav to"),
        (["--voice", "first", "--threshold", "2", "a"], "--threshold: need a probability"),
        (["--voice", "first", "--file", "x.txt", "a"], "need one text"),
        (["--voice", "first", "--vocoder", "gone", "a"], "gone"),
        (["--voice", "first", "漢字"], "need a text with something to say"),
    ],
)
def test_what_cannot_be_said_ends_in_one_message(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str],
    sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert speak.main([*line, "--out", str(searched)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
