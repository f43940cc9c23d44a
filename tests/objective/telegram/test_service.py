"""The command: its setup, how it ends, and that its token appears nowhere."""

import argparse
import signal
from pathlib import Path
from typing import get_args

import optuna
import pytest

from objective import study
from objective.runtime.cli import as_typed
from objective.settings.schema import Telegram
from objective.settings.telegram_env import Setup
from objective.telegram.__main__ import arguments, main
from objective.telegram.reporter import NotAllReported
from objective.telegram.translations import LANGUAGES
from objective.views.launcher import FROM_STUDY
from storage.lookup import existing_study
from storage.paths import STORAGE_VARIABLE
from tests.objective.telegram.running import end, marks, start
from tests.objective.telegram.server import TOKEN, BotApi
from tests.objective.telegram.studies import NAME, StudyBuilder
from tests.processes import until


@pytest.fixture
def _setup(telegram: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a command that runs in this process."""
    monkeypatch.setenv("TELEGRAM_API_BASE", telegram.url)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "1")
    for name in ("TELEGRAM_PROXY", "TELEGRAM_TOPIC_ID", STORAGE_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_setup")
@pytest.mark.parametrize(("number", "topic"), [("", None), ("1", None), ("12", 12)])
def test_messages_to_the_topic_general_name_no_topic(number: str, topic: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_TOPIC_ID", number)
    assert Setup.read().topic == topic


def test_check_tests_the_setup_with_one_message(telegram: BotApi, tmp_path: Path) -> None:
    process = start(tmp_path, telegram, "--check", module="objective.telegram")
    assert end(process) == (0, "@tune_bot can write to 1\n", "")
    assert telegram.lines == ["✅ tacotune can write to this chat"]


@pytest.mark.usefixtures("_setup")
def test_the_study_can_test_the_setup_too(telegram: BotApi, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        study.main(["--telegram-check"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "@tune_bot can write to 1\n"
    assert len(telegram.chat) == 1


@pytest.mark.usefixtures("_setup")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"TELEGRAM_BOT_TOKEN": ""}, "need the token of a bot: export TELEGRAM_BOT_TOKEN"),
        ({"TELEGRAM_BOT_TOKEN": "7000001:wrong"}, "Unauthorized (401): check TELEGRAM_BOT_TOKEN"),
        ({"TELEGRAM_CHAT_ID": TOKEN}, "need the number of a chat, got ***: export TELEGRAM_CHAT_ID"),
        ({"TELEGRAM_CHAT_ID": ""}, "need the number of a chat, got none: export TELEGRAM_CHAT_ID"),
        ({"TELEGRAM_PROXY": "socks5://somewhere"}, "need http:// or https:// and a host in TELEGRAM_PROXY"),
    ],
)
def test_a_wrong_setup_ends_with_one_sentence(
    telegram: BotApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: dict[str, str],
    sentence: str,
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert main(["--check"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert not telegram.chat


@pytest.mark.usefixtures("_setup")
def test_a_study_that_does_not_exist_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--study", NAME]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("need the database of the study, got ")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("_setup")
def test_a_study_of_another_program_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = StudyBuilder(tmp_path)
    optuna.create_study(storage=builder.study._storage, study_name="foreign")
    assert main(["--out", str(tmp_path), "--study", "foreign"]) == 2
    assert capsys.readouterr().err == "study foreign was made by another program: choose another --study\n"


@pytest.mark.usefixtures("_setup")
def test_a_study_that_cannot_report_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    assert study.main(["--out", str(tmp_path), "--telegram"]) == 2
    assert capsys.readouterr().err.startswith("watch.telegram: need the token of a bot: export TELEGRAM_BOT_TOKEN")
    assert not (tmp_path / "tacotune.db").exists()


def test_a_blocked_bot_ends_the_reporter_with_one_sentence(telegram: BotApi, tmp_path: Path) -> None:
    StudyBuilder(tmp_path)
    telegram.script["sendMessage"].append((403, "Forbidden: bot was blocked by the user", {}))
    process = start(tmp_path, telegram, **{FROM_STUDY: "1"})
    assert process.wait(60) == 2, "while the study's command continues"
    assert process.communicate()[1] == (
        "reporting is off, the study continues: Telegram refused sendMessage: Forbidden: bot was blocked by the user (403)\n"
    )


def test_the_token_is_in_nothing_that_a_run_leaves(telegram: BotApi, tmp_path: Path, files: list[Path]) -> None:
    """Started by a study's command, through all kinds of faults, to its end: database, outputs, process title and messages."""
    builder = StudyBuilder(tmp_path, files=files)
    builder.complete(builder.begin(), 0.5)
    telegram.script["sendMessage"].extend([(500, f"/bot{TOKEN}/sendMessage", {}), "reset"])
    telegram.script["sendMediaGroup"].append((400, f"cannot /bot{TOKEN}/", {}))
    process = start(tmp_path, telegram, **{FROM_STUDY: "1", STORAGE_VARIABLE: builder.url})
    until(lambda: telegram.chat or process.poll() is not None)
    title = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").exists() else b""
    out, err = process.communicate("interrupted\n", timeout=60)
    assert process.returncode == 0
    assert "cannot /bot***/" in err
    secret = TOKEN.partition(":")[2].encode()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"telegram" in written
    assert secret not in written + title + (out + err).encode() + repr([sent.fields for sent in telegram.chat]).encode()
    assert marks(telegram) == ["▶", "⭐", "t", "⏹"], "the album was refused"


def test_a_signal_ends_the_reporter_and_frees_the_study_for_the_next(telegram: BotApi, tmp_path: Path) -> None:
    StudyBuilder(tmp_path)
    process = start(tmp_path, telegram)
    until(lambda: telegram.pinned or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert end(process)[::2] == (0, "")
    assert existing_study(f"sqlite:///{tmp_path}/tacotune.db", NAME).user_attrs["telegram_lease"] is None


@pytest.mark.usefixtures("_setup")
def test_a_reporter_without_time_names_the_command_that_reports_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study's command has ended while Telegram was away. The password stays hidden."""

    async def late(*_: object) -> None:
        raise NotAllReported("not everything could be reported")

    builder = StudyBuilder(tmp_path)
    monkeypatch.setattr("objective.telegram.service._report", late)
    monkeypatch.setattr("objective.telegram.service.existing_study", lambda url, name: builder.study)
    storage = "postgresql://me:geheim@db/x"
    assert main(["--study", NAME, "--out", str(tmp_path), "--storage", storage, "--language", "ru"]) == 1
    flags = f"--out {tmp_path} --study {NAME} --language ru --storage 'postgresql://me:***@db/x'"
    assert capsys.readouterr().err == f"not everything could be reported: {as_typed('telegram')} {flags} reports the rest\n"


def test_the_parser_the_settings_and_the_texts_have_the_same_languages() -> None:
    parser = argparse.ArgumentParser()
    arguments(parser)
    (language,) = (action for action in parser._actions if action.dest == "language")
    assert set(language.choices or ()) == LANGUAGES.keys() == set(get_args(Telegram.model_fields["language"].annotation))
