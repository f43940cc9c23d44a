"""The command itself: what it needs, how it ends, and that its token is nowhere to be read."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from objective import study
from objective.telegram.__main__ import main
from objective.views.launcher import BESIDE
from storage.lookup import existing_study
from storage.paths import STORAGE_VARIABLE as STORAGE
from tests.objective.telegram.server import TOKEN, BotApi
from tests.objective.telegram.studies import NAME, Made
from tests.processes import until

ROOT = Path(__file__).parents[3]
KNOWN = {name: value for name, value in os.environ.items() if not name.startswith(("TELEGRAM_", "TACOTUNE_"))}


def started(out: Path, telegram: BotApi | None, *more: str, **environment: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "objective.telegram", "--out", str(out), "--study", NAME, *more]
    setup = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "1"} | ({"TELEGRAM_API_BASE": telegram.url} if telegram else {})
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, cwd=ROOT, env=KNOWN | setup | environment, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_check_proves_the_set_up_with_one_message(telegram: BotApi, tmp_path: Path) -> None:
    assert ended(started(tmp_path, telegram, "--check")) == (0, "@tune_bot can write to 1\n", "")
    assert telegram.lines == ["✅ tacotune can write here"]


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
def test_a_set_up_that_is_wrong_is_one_sentence(telegram: BotApi, tmp_path: Path, wrong: dict[str, str], sentence: str) -> None:
    code, out, err = ended(started(tmp_path, telegram, "--check", **wrong))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert not telegram.chat


def test_a_study_that_is_not_there_is_one_sentence(telegram: BotApi, tmp_path: Path) -> None:
    code, _, err = ended(started(tmp_path, telegram))
    assert code == 2
    assert err.startswith("need the database of the study, got ")


def test_who_is_blocked_ends_with_one_line(telegram: BotApi, tmp_path: Path) -> None:
    Made(tmp_path)
    telegram.script["sendMessage"].append((403, "Forbidden: bot was blocked by the user", {}))
    process = started(tmp_path, telegram, **{BESIDE: "1"})
    assert process.wait(60) == 2, "while its command goes on"
    assert process.communicate()[1] == (
        "the reporter is off, the study goes on: Telegram refused sendMessage: Forbidden: bot was blocked by the user (403)\n"
    )


def test_the_token_is_in_nothing_that_a_run_leaves(telegram: BotApi, tmp_path: Path, drawn: list[Path]) -> None:
    """Beside a command, through faults of all kinds, to its end: database, outputs, process title, and what is said."""
    made = Made(tmp_path, drawn=drawn)
    made.complete(made.begin(), 0.5)
    telegram.script["sendMessage"].extend([(500, f"/bot{TOKEN}/sendMessage", {}), "reset"])
    telegram.script["sendMediaGroup"].append((400, f"cannot /bot{TOKEN}/", {}))
    process = started(tmp_path, telegram, **{BESIDE: "1", STORAGE: made.url})
    until(lambda: telegram.chat or process.poll() is not None)
    title = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").exists() else b""
    out, err = process.communicate("interrupted\n", timeout=60)
    assert process.returncode == 0
    assert "cannot /bot***/" in err
    secret = TOKEN.partition(":")[2].encode()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"telegram" in written
    assert secret not in written + title + (out + err).encode() + repr([said.fields for said in telegram.chat]).encode()
    assert [line[0] for line in telegram.lines] == ["▶", "⭐", "t", "⏹", "a"], "the album was refused"


def test_a_signal_ends_it_well_and_the_next_goes_on(telegram: BotApi, tmp_path: Path) -> None:
    Made(tmp_path)
    process = started(tmp_path, telegram)
    until(lambda: telegram.pinned or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[::2] == (0, "")
    assert existing_study(f"sqlite:///{tmp_path}/tacotune.db", NAME).user_attrs["telegram_lease"] is None


def test_the_study_proves_it_too(telegram: BotApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TELEGRAM_API_BASE", telegram.url)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "1")
    assert study.main(["--telegram-check"]) == 0
    assert capsys.readouterr().out == "@tune_bot can write to 1\n"
    assert len(telegram.chat) == 1


def test_a_study_that_cannot_report_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN", raising=False)
    assert study.main(["--out", str(tmp_path), "--telegram"]) == 2
    assert capsys.readouterr().err.startswith("watch.telegram: need the token of a bot: export TELEGRAM_BOT_TOKEN")
    assert not (tmp_path / "tacotune.db").exists()


def test_who_has_no_time_left_names_the_command_that_tells_the_rest(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a command that has ended, while Telegram is away. The password stays hidden."""

    async def late(*_: object) -> None:
        raise TimeoutError("not everything was told within 60 s")

    made = Made(tmp_path)
    monkeypatch.setattr("objective.telegram.__main__._run", late)
    monkeypatch.setattr("storage.lookup.existing_study", lambda url, name: made.study)
    for name, value in {"BOT_TOKEN": TOKEN, "CHAT_ID": "1"}.items():
        monkeypatch.setenv(f"TELEGRAM_{name}", value)
    assert main(["--study", NAME, "--out", str(tmp_path), "--storage", "postgresql://me:geheim@db/x"]) == 1
    again = f"--out {tmp_path} --storage 'postgresql://me:***@db/x' --study {NAME}"
    assert capsys.readouterr().err == f"not everything was told within 60 s: python -m objective.telegram {again} goes on\n"
