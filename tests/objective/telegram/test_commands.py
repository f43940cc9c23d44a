"""What may be asked, by whom, and that it is done once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from objective.telegram.commands import NAMES, asked, menu
from objective.telegram.reporter import POSITION
from objective.telegram.translations import Words
from tests.objective.samples import report
from tests.objective.telegram.server import BotApi, Said
from tests.objective.telegram.studies import NAME, Made, whole
from tests.objective.telegram.test_reporter import watching
from tests.processes import happens


def answers(telegram: BotApi, out: Path, *asking: Callable[[], None]) -> list[Said]:
    """What is said after each of `asking`, one after the other, when the reporter has nothing to tell of its own."""
    heard: list[Said] = []

    async def scenario() -> None:
        async with watching(telegram, out) as reporter:
            await happens(lambda: reporter.position.board is not None)
            for ask in asking:
                before = len(telegram.chat)
                ask()
                await happens(lambda before=before: len(telegram.chat) > before)
                heard.extend(telegram.chat[before:])

    asyncio.run(scenario())
    return heard


def mark(made: Made) -> str:
    """What the buttons of its study bear."""
    return str(made.study.user_attrs[POSITION]["mark"])


def pressed(telegram: BotApi) -> list[dict[str, object]]:
    return [fields for _, method, fields in telegram.calls if method == "answerCallbackQuery"]


def test_each_command_is_answered_where_it_was_asked(telegram: BotApi, tmp_path: Path, drawn: list[Path]) -> None:
    whole(tmp_path, drawn)
    wishes = ["/status", "/best", "/trial 2", "/trial 3", "/curves 0", "/listen 0", "/curves 3", "/listen 1"]
    wishes += ["/trial", "/trial 99", "/help", "/what"]
    heard = answers(telegram, tmp_path, *(lambda wish=wish: telegram.ask(wish, chat=2) for wish in wishes))
    assert {said.chat for said in heard} == {2}
    assert [said.text.partition("\n")[0] for said in heard] == [
        "anna: 4 of 6",
        "best: trial 2, 0.500",
        "⭐ trial 2: 0.500, the best so far",
        "💥 trial 3 is lost: its worker died; its point comes again",
        "trial 0: attention and curves",
        "trial 0",
        "trial 3 has no pictures",
        "trial 1 has no sample",
        "need the number of a trial, such as /trial 12",
        "there is no trial 99",
        "anna",
        "anna",
    ]
    assert [said.method for said in heard[4:6]] == ["sendMediaGroup", "sendVoice"]


def test_buttons_say_what_could_have_been_typed(telegram: BotApi, tmp_path: Path, drawn: list[Path]) -> None:
    made = whole(tmp_path, drawn)
    (heard,) = answers(telegram, tmp_path, lambda: telegram.ask(f"/listen 2 {mark(made)}", press=True))
    assert heard.method == "sendVoice"
    assert pressed(telegram) == [{"callback_query_id": "press"}]
    rows = [said.fields["reply_markup"]["inline_keyboard"] for said in telegram.chat if said.method == "sendMessage"]
    keys = [key for (row,) in filter(None, rows) for key in row]
    commands, marks = zip(*(key["callback_data"].rsplit(" ", 1) for key in keys), strict=True)
    assert set(marks) == {mark(made)}
    assert all(command.split()[0].removeprefix("/") in NAMES for command in commands)
    assert {"/curves 0", "/listen 0", "/best", "/pause"} <= set(commands)


def test_a_button_of_another_study_does_nothing_and_says_so(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.reports(made.begin(), report(60.0))

    def press() -> None:
        for data in ("/stop 0 0badcafe", "/stop 0", "/pause"):
            telegram.ask(data, press=True)
        telegram.ask("/help")

    (heard,) = answers(telegram, tmp_path, press)
    assert heard.text.startswith(NAME)
    assert {said["text"] for said in pressed(telegram)} == {f"this button is of another study, the bot reports {NAME} now"}
    assert made.trials[0].state.name == "RUNNING"
    assert "paused" not in made.study.user_attrs


def test_stop_does_what_the_dashboards_button_does(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.reports(made.begin(), report(60.0))
    wishes = ["/trial 0", "/stop 0", "/stop 0"]
    heard = answers(telegram, tmp_path, *(lambda wish=wish: telegram.ask(wish) for wish in wishes))
    assert heard[0].text.startswith("🟢 trial 0 STABLE")
    texts = [said.text for said in heard[1:] if not said.text.startswith(("✋", "anna"))]
    assert texts[0] == "trial 0 ends at its next report and does not come again"
    assert made.trials[0].state.name == "FAIL"
    assert "released" not in made.trials[0].user_attrs


def test_pause_and_resume_are_kept_in_the_study(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    answers(telegram, tmp_path, lambda: telegram.ask("/pause"))
    assert made.study.user_attrs["paused"] is True
    answers(telegram, tmp_path, lambda: telegram.ask("/resume"))
    assert made.study.user_attrs["paused"] is False


def test_strangers_are_ignored_and_counted_also_after_a_restart(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.begin()

    def ask() -> None:
        telegram.ask("/stop 0", chat=666)
        telegram.ask("/stop 0", chat=667, press=True)
        telegram.ask("/help", chat=2)

    answers(telegram, tmp_path, ask)
    assert {said.chat for said in telegram.chat} <= {1, 2}
    assert made.trials[0].state.name == "RUNNING"
    (status,) = answers(telegram, tmp_path, lambda: telegram.ask("/status"))
    assert status.text.endswith("2 messages of other chats were ignored")


def test_a_command_is_answered_once_whatever_is_restarted(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path):
            await happens(lambda: len(telegram.chat) == 2)
            telegram.ask("/help")
            await happens(lambda: made.study.user_attrs[POSITION]["offset"] == 2)  # while it still runs

    asyncio.run(scenario())
    assert "/status the board" in telegram.chat[2].text
    heard = answers(telegram, tmp_path, lambda: telegram.ask("/best"))
    assert [said.text for said in heard] == ["no trial is healthy yet"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("/trial 7", ("/trial", "7")), ("/status@Tune_Bot", ("/status",)), ("/status@other_bot", None), ("good morning", None)],
)
def test_what_is_a_command_of_this_bot(text: str, words: tuple[str, ...] | None) -> None:
    wish = asked({"update_id": 1, "message": {"chat": {"id": 1}, "text": text}}, "tune_bot", "m")
    assert (wish and wish.words) == words


def test_an_answer_goes_to_the_topic_of_its_question() -> None:
    message = {"chat": {"id": -1}, "text": "/best", "is_topic_message": True, "message_thread_id": 12}
    wish = asked({"update_id": 1, "message": message}, "tune_bot", "m")
    assert wish is not None
    assert wish.topic == 12


@pytest.mark.parametrize("update", [{}, {"edited_message": {}}, {"message": {"chat": {"id": 1}, "photo": []}}])
def test_what_says_nothing_asks_nothing(update: dict[str, object]) -> None:
    assert asked({"update_id": 1, **update}, "tune_bot", "m") is None


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_menu_names_every_command(language: str) -> None:
    assert [row["command"] for row in menu(Words(language))] == list(NAMES)
