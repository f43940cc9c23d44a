"""Commands: which are accepted, from whom, and that each is executed once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from objective.telegram.commands import NAMES, menu, request_of
from objective.telegram.reporter import POSITION
from objective.telegram.translations import LANGUAGES, Translator
from tests.objective.samples import report
from tests.objective.telegram.running import watching
from tests.objective.telegram.server import BotApi, Sent
from tests.objective.telegram.studies import NAME, StudyBuilder, eventful_study
from tests.processes import happens


def replies(telegram: BotApi, out: Path, *actions: Callable[[], None]) -> list[Sent]:
    """Return what is sent after each of `actions`, one after the other, by a reporter without pending events."""
    sent: list[Sent] = []

    async def scenario() -> None:
        async with watching(telegram, out) as reporter:
            await happens(lambda: reporter.position.board is not None)
            for act in actions:
                before = len(telegram.chat)
                act()
                await happens(lambda before=before: len(telegram.chat) > before)
                sent.extend(telegram.chat[before:])

    asyncio.run(scenario())
    return sent


def mark(builder: StudyBuilder) -> str:
    """Return the mark on the buttons of the study."""
    return str(builder.study.user_attrs[POSITION]["mark"])


def answered_presses(telegram: BotApi) -> list[dict[str, object]]:
    return [fields for _, method, fields in telegram.calls if method == "answerCallbackQuery"]


def test_each_command_is_answered_in_the_chat_it_came_from(telegram: BotApi, tmp_path: Path, files: list[Path]) -> None:
    eventful_study(tmp_path, files)
    commands = ["/status", "/best", "/trial 2", "/trial 3", "/curves 0", "/listen 0", "/curves 3", "/listen 1"]
    commands += ["/trial", "/trial 99", "/help", "/what"]
    sent = replies(telegram, tmp_path, *(lambda text=text: telegram.receive(text, chat=2) for text in commands))
    assert {message.chat for message in sent} == {2}
    assert [message.text.partition("\n")[0] for message in sent] == [
        "anna: 4 of 6 trials finished",
        "best: trial 2, 0.500",
        "⭐ trial 2: 0.500, best so far",
        "💥 trial 3 lost: its worker died; its configuration will be retried",
        "trial 0: attention and curves",
        "trial 0: synthesized sample",
        "trial 3 has no pictures",
        "trial 1 has no sample",
        "add the number of a trial, for example /trial 12",
        "there is no trial 99",
        "anna",
        "anna",
    ]
    assert [message.method for message in sent[4:6]] == ["sendMediaGroup", "sendVoice"]


def test_a_button_does_what_its_command_would_do_if_typed(telegram: BotApi, tmp_path: Path, files: list[Path]) -> None:
    builder = eventful_study(tmp_path, files)
    (reply,) = replies(telegram, tmp_path, lambda: telegram.receive(f"/listen 2 {mark(builder)}", press=True))
    assert reply.method == "sendVoice"
    assert answered_presses(telegram) == [{"callback_query_id": "press"}]
    rows = [sent.fields["reply_markup"]["inline_keyboard"] for sent in telegram.chat if sent.method == "sendMessage"]
    keys = [key for (row,) in filter(None, rows) for key in row]
    commands, marks = zip(*(key["callback_data"].rsplit(" ", 1) for key in keys), strict=True)
    assert set(marks) == {mark(builder)}
    assert all(command.split()[0].removeprefix("/") in NAMES for command in commands)
    assert {"/curves 0", "/listen 0", "/best", "/pause"} <= set(commands)


def test_a_button_of_another_study_does_nothing_and_names_the_present_study(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.reports(builder.begin(), report(60.0))

    def press() -> None:
        for data in ("/stop 0 0badcafe", "/stop 0", "/pause"):
            telegram.receive(data, press=True)
        telegram.receive("/help")

    (reply,) = replies(telegram, tmp_path, press)
    assert reply.text.startswith(NAME)
    notice = f"this button belongs to another study; the bot now reports {NAME}"
    assert {fields["text"] for fields in answered_presses(telegram)} == {notice}
    assert builder.trials[0].state.name == "RUNNING"
    assert "paused" not in builder.study.user_attrs


def test_stop_does_the_same_as_the_dashboards_button(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.reports(builder.begin(), report(60.0))
    commands = ["/trial 0", "/stop 0", "/stop 0"]
    sent = replies(telegram, tmp_path, *(lambda text=text: telegram.receive(text) for text in commands))
    assert sent[0].text.startswith("🟢 trial 0 STABLE")
    texts = [message.text for message in sent[1:] if not message.text.startswith(("✋", "anna"))]
    assert texts[0] == "trial 0 will stop at its next report and will not be retried"
    assert builder.trials[0].state.name == "FAIL"
    assert "released" not in builder.trials[0].user_attrs


def test_pause_and_resume_are_kept_in_the_study(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    replies(telegram, tmp_path, lambda: telegram.receive("/pause"))
    assert builder.study.user_attrs["paused"] is True
    replies(telegram, tmp_path, lambda: telegram.receive("/resume"))
    assert builder.study.user_attrs["paused"] is False


def test_strangers_are_ignored_and_counted_also_after_a_restart(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.begin()

    def write() -> None:
        telegram.receive("/stop 0", chat=666)
        telegram.receive("/stop 0", chat=667, press=True)
        telegram.receive("/help", chat=2)

    replies(telegram, tmp_path, write)
    assert {sent.chat for sent in telegram.chat} <= {1, 2}
    assert builder.trials[0].state.name == "RUNNING"
    (status,) = replies(telegram, tmp_path, lambda: telegram.receive("/status"))
    assert status.text.endswith("2 messages from other chats ignored")


def test_a_command_is_answered_once_also_after_a_restart(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path):
            await happens(lambda: len(telegram.chat) == 2)
            telegram.receive("/help")
            await happens(lambda: builder.study.user_attrs[POSITION]["offset"] == 2)  # while it still runs

    asyncio.run(scenario())
    assert "/status: progress of the study" in telegram.chat[2].text
    sent = replies(telegram, tmp_path, lambda: telegram.receive("/best"))
    assert [message.text for message in sent] == ["no healthy trial yet"]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("/trial 7", ("/trial", "7")), ("/status@Tune_Bot", ("/status",)), ("/status@other_bot", None), ("good morning", None)],
)
def test_a_command_is_text_with_a_slash_that_addresses_no_other_bot(text: str, arguments: tuple[str, ...] | None) -> None:
    request = request_of({"update_id": 1, "message": {"chat": {"id": 1}, "text": text}}, "tune_bot", "m")
    assert (request and request.arguments) == arguments


def test_an_answer_goes_to_the_topic_of_its_question() -> None:
    message = {"chat": {"id": -1}, "text": "/best", "is_topic_message": True, "message_thread_id": 12}
    request = request_of({"update_id": 1, "message": message}, "tune_bot", "m")
    assert request is not None
    assert request.topic == 12


@pytest.mark.parametrize("update", [{}, {"edited_message": {}}, {"message": {"chat": {"id": 1}, "photo": []}}])
def test_an_update_without_text_is_no_command(update: dict[str, object]) -> None:
    assert request_of({"update_id": 1, **update}, "tune_bot", "m") is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_menu_describes_every_command(language: str) -> None:
    rows = menu(Translator(language))
    assert [row["command"] for row in rows] == list(NAMES)
    assert all(row["description"] for row in rows)
