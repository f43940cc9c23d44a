"""Versions of a voice in a real MLflow: registered, promoted through gates, rolled back, spoken and served."""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import numpy as np
import pytest
import soundfile
import torch
from mlflow import MlflowClient

from model.checkpoints import digest
from objective import serve, speak
from objective.registry import main
from objective.speech.registry.store import Reference, Registry
from objective.speech.server.program import ready
from tests.objective.asking import ask
from tests.objective.speech.serving import TEXT, talking
from tests.objective.speech.test_command import running

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's queries
FIGURES = {
    "text": TEXT,
    "val_loss": 0.5,
    "streak": 0,
    "grad_norm_p95": 2.5,
    "diagonality": 0.9,
    "free_errors": 0.05,
    "free_floor": 0.01,
    "free_failures": 0.03,
}
QUALITY = {
    "format": "tacotune quality 1",
    "language": "en",
    "cer": 0.05,
    "failures": 0.03,
    "dnsmos": None,
    "recordings": {"cer": 0.01},
    "spoken": [{"text": TEXT}],
}


@pytest.fixture(scope="module")
def stock(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with three versions of anna: 1 and 2 are good, of 3 too many letters are heard wrong."""
    out = tmp_path_factory.mktemp("registry")
    shutil.copyfile(empty, out / "mlflow.db")
    for errors in (0.05, 0.02, 0.4):
        registered(out, **{"free_errors": errors})
    return out


@pytest.fixture
def out(stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of its own; the files of the three versions are shared."""
    shutil.copyfile(stock / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture
def typed(out: Path) -> Callable[..., int]:
    return lambda *line: main([*line, "--out", str(out)])


def registered(out: Path, *more: str, finite: bool = True, **figures: object) -> None:
    """Register a voice with these figures as the next version of anna."""
    voice = talking(figures={**FIGURES, **figures})
    if not finite:
        with torch.no_grad():
            voice.network.projection.weight.fill_(torch.nan)
    file = voice.save(out / "voice.pt")
    assert (
        main(["register", str(file), "--name", "anna", *more, "--mlflow", f"sqlite:///{out}/mlflow.db", "--out", str(out)]) == 0
    )


def aliases(out: Path) -> dict[str, int]:
    found = MlflowClient(f"sqlite:///{out}/mlflow.db").get_registered_model("anna").aliases
    return {alias: int(number) for alias, number in found.items()}


def tags(out: Path, number: int) -> dict[str, str]:
    return dict(MlflowClient(f"sqlite:///{out}/mlflow.db").get_model_version("anna", str(number)).tags)


def stored(out: Path, number: int) -> Path:
    source = MlflowClient(f"sqlite:///{out}/mlflow.db").get_model_version("anna", str(number)).source
    return Path(urlsplit(source).path) / "artifacts" / "voice.pt"


def made_champion(out: Path, number: int) -> None:
    """Put a version in the champion's place behind the gates' back."""
    client = MlflowClient(f"sqlite:///{out}/mlflow.db")
    client.set_registered_model_alias("anna", "previous", str(aliases(out)["champion"]))
    client.set_registered_model_alias("anna", "champion", str(number))


def test_a_version_that_passes_becomes_the_champion_and_speaks_through_mlflow(
    out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert typed("promote", "anna", "1") == 0
    assert aliases(out) == {"champion": 1}
    assert "version 1 of anna is the champion, the first one\n" in capfd.readouterr().out
    assert typed("promote", "anna", "2") == 0
    assert aliases(out) == {"champion": 2, "previous": 1}
    assert typed("promote", "anna", "2") == 0
    assert aliases(out) == {"champion": 2, "previous": 1}, "a second time changes nothing"
    said = mlflow.pyfunc.load_model("models:/anna@champion").predict([TEXT, "Two."])
    wave, rate_hz = talking().speak(TEXT)
    assert [one["rate_hz"] for one in said] == [rate_hz] * 2
    np.testing.assert_allclose(said[0]["wave"], wave, atol=1e-4)
    assert np.isfinite(said[1]["wave"]).all()


def test_a_closed_gate_ends_with_one_and_moves_nothing(
    out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert typed("promote", "anna", "1") == 0
    registered(out, finite=False)
    capfd.readouterr()
    for number, gate in ((3, "understood"), (4, "speech")):
        assert typed("promote", "anna", str(number)) == 1
        printed = capfd.readouterr()
        assert f"version {number} of anna is not promoted: failed {gate}\n" in printed.err
        assert [line.split()[0] for line in printed.out.splitlines() if line.endswith("failed")] == [gate]
    assert aliases(out) == {"champion": 1}


def test_what_was_not_measured_is_measured_by_quality(
    out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    unmeasured = {"free_errors": None, "free_failures": None, "diagonality": None}
    registered(out, **unmeasured)
    assert typed("promote", "anna", "4") == 1
    assert "understood and stops must be measured: register it with --quality\n" in capfd.readouterr().err
    file = out / "quality.json"
    file.write_text(json.dumps({**QUALITY, "weights": digest(talking().network.state_dict())}))
    registered(out, "--quality", str(file), **unmeasured)
    assert tags(out, 5)["quality.recordings.cer"] == "0.01"
    assert "quality.dnsmos" not in tags(out, 5)
    assert typed("promote", "anna", "5") == 0
    assert "is the champion, the first one; not measured: diagonality\n" in capfd.readouterr().out


def test_back_to_the_version_before_and_why(out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert [typed("promote", "anna", number) for number in ("1", "2")] == [0, 0]
    assert typed("rollback", "anna", "--why", "it sounds tired") == 0
    assert "version 1 of anna is the champion again instead of version 2 of anna: it sounds tired" in capfd.readouterr().out
    assert aliases(out) == {"champion": 1}
    assert tags(out, 2)["rolled_back"].endswith(" UTC: it sounds tired")
    assert typed("rollback", "anna") == 2
    assert "there is none to go back to" in capfd.readouterr().err
    assert typed("list", "anna") == 0
    rows = capfd.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["1", "champion"], ["2", "-"], ["3", "-"]]
    assert ["it sounds tired" in row for row in rows[1:]] == [False, True, False]
    assert "closed: understood" in rows[3]


def test_two_that_go_back_at_once_go_back_once(out: Path, typed: Callable[..., int]) -> None:
    assert [typed("promote", "anna", number) for number in ("1", "2")] == [0, 0]
    registry = Registry(None, out)
    broken = registry.version(Reference("anna"))
    for _ in range(2):
        champion = registry.roll_back(broken, "broken")
        assert champion is not None
        assert champion.number == 1
    assert aliases(out) == {"champion": 1}


@pytest.mark.parametrize("damage", ["not finite", pytest.param("cut", marks=pytest.mark.slow)])
def test_a_server_falls_back_by_itself(
    out: Path, typed: Callable[..., int], damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert typed("promote", "anna", "1") == 0
    registered(out, finite=damage != "not finite")
    made_champion(out, 4)
    if damage == "cut":
        stored(out, 4).write_bytes(stored(out, 4).read_bytes()[:1_000])
    found = ready(served_as("registry:anna", out))
    assert found is not None
    assert found[1] == "version 1 of anna, the champion"
    assert aliases(out) == {"champion": 1}
    sentence = "version 4 of anna failed its self-check: version 1 of anna is served, and is the champion\n"
    assert sentence in capfd.readouterr().err
    assert " UTC: serve: " in tags(out, 4)["rolled_back"]


@pytest.mark.slow
def test_a_machine_without_the_files_of_the_champion_leaves_it_the_champion(
    out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert [typed("promote", "anna", number) for number in ("1", "2")] == [0, 0]
    stored(out, 2).unlink()
    assert serve.main(["--voice", "registry:anna", "--port", "0", "--out", str(out)]) == 2
    assert aliases(out) == {"champion": 2, "previous": 1}
    assert "mount its folder on this machine" in capfd.readouterr().err


def test_a_server_without_a_version_before_ends_with_one(out: Path, typed: Callable[..., int]) -> None:
    assert typed("promote", "anna", "1") == 0
    registered(out, finite=False)
    made_champion(out, 4)
    assert serve.main(["--voice", "registry:anna@4", "--port", "0", "--out", str(out)]) == 1, "a version is no champion"
    assert aliases(out) == {"champion": 4, "previous": 1}
    MlflowClient().delete_registered_model_alias("anna", "previous")
    assert serve.main(["--voice", "registry:anna", "--port", "0", "--out", str(out)]) == 1
    assert aliases(out) == {"champion": 4}


def served_as(voice: str, out: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.arguments(parser)
    return parser.parse_args(["--voice", voice, "--out", str(out), "--device", "cpu"])


@pytest.mark.slow
def test_the_command_serves_the_version_before(out: Path, typed: Callable[..., int]) -> None:
    assert typed("promote", "anna", "1") == 0
    registered(out, finite=False)
    made_champion(out, 4)
    with running("registry:anna", "--out", str(out)) as (_, address):
        port = urlsplit(address).port
        assert port
        assert ask(port, "POST", "/", TEXT)[0] == 200
    assert aliases(out) == {"champion": 1}


def test_a_registered_voice_speaks(out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert typed("promote", "anna", "1") == 0
    for voice in ("registry:anna", "registry:anna@2"):
        line = ["--voice", voice, "--out", str(out), "--tries", "1", "-o", str(out / "said.wav"), TEXT]
        assert speak.main(line) == 0
        assert len(soundfile.read(out / "said.wav")[0]) > 10_000
    printed = capfd.readouterr().err
    assert "version 1 of anna, the champion, en, " in printed
    assert "version 2 of anna, en, " in printed


BAD = {
    "an unknown name": ("list bob", "got bob: choose one of anna"),
    "an unknown version": ("promote anna 9", "need a version of anna, got 9: choose one of 1, 2, 3"),
    "no champion": ("rollback anna", "need a champion of anna, it has none"),
    "no file": ("register nothing.pt --name anna", "need the file of a voice, got"),
    "no voice": ("register notes.pt --name anna", "need voice.pt, best.pt of a trial, or a checkpoint"),
    "a bad name": ("register voice.pt --name a/b", "need a name without @ / : and quotes, got 'a/b'"),
    "a quote": ("register voice.pt --name anna's", "need a name without @ / : and quotes"),
    "a quote in a list": ("list anna's", "need a name without @ / : and quotes"),
    "no quality": ("register voice.pt --name anna --quality none.json", "need a file that can be read, got none.json"),
    "no JSON": ("register voice.pt --name anna --quality notes.pt", "need the JSON of `tacotune quality`, got notes.pt"),
    "another JSON": ("register voice.pt --name anna --quality other.json", "need the JSON of `tacotune quality --json`"),
    "another voice": (
        "register voice.pt --name anna --quality bob.json",
        "need figures of this voice, got those of another",
    ),
    "no registry": ("list anna --mlflow sqlite:///nowhere.db", "nowhere.db, which does not exist: register a voice first"),
    "a folder": ("list anna --mlflow runs", "need a tracking URI such as"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_one_sentence(
    case: str, out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(out)
    talking().save(out / "voice.pt")
    (out / "notes.pt").write_text("notes")
    (out / "other.json").write_text("{}")
    (out / "bob.json").write_text(json.dumps({**QUALITY, "voice": "bob", "weights": "00"}))
    line, sentence = BAD[case]
    assert typed(*line.split()) == 2
    printed = capfd.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("voice", ["registry:", "registry:anna@", "registry:bob", "registry:anna@9"])
def test_a_voice_that_the_registry_does_not_have_is_refused(voice: str, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert speak.main(["--voice", voice, "--out", str(out), TEXT]) == 2
    printed = capfd.readouterr().err
    assert printed.startswith("need ")
    assert printed.count("\n") == 1


def test_a_dead_server_is_the_machines_failure(out: Path, typed: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert typed("list", "anna", "--mlflow", "http://127.0.0.1:9") == 1
    assert "the machine failed: no answer from http://127.0.0.1:9" in capfd.readouterr().err
