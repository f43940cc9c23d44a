"""What allow-listed chats may ask: a command as text or as a button, and the messages that answer it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.search.control import pause, stop
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import Position, Scene, known
from objective.telegram.messages import Files, best_one, buttons_of, gone, pictures, sample, stop_button, summary
from objective.telegram.pinned_board import board, running
from objective.telegram.translations import Words

NAMES = ("status", "best", "trial", "curves", "listen", "stop", "pause", "resume", "help")


@dataclass(frozen=True, slots=True)
class Asked:
    """A command, and where its answer goes."""

    chat: int
    words: tuple[str, ...]  # "/trial", "12"
    topic: int | None = None
    press: str | None = None  # the button's press, which wants to be answered as well
    ours: bool = True  # no button below a message of another study


@dataclass(frozen=True, slots=True)
class Answering:
    """What an answer is made of."""

    study: optuna.Study
    scene: Scene
    position: Position
    words: Words
    folder: Path
    files: Files


def asked(update: Mapping[str, Any], name: str, mark: str) -> Asked | None:
    """What an update of Telegram's asks the bot `name`; None where that is nothing. Our buttons bear our `mark`."""
    press = update.get("callback_query")
    message = (press or update).get("message")
    text = press.get("data") if press else message and message.get("text")
    if not message or not text or not text.startswith("/"):
        return None
    words = text.split()
    ours = press is None or words.pop() == mark
    command, _, to = text.split()[0].partition("@")
    if to and to.lower() != name.lower():
        return None
    topic = message.get("message_thread_id") if message.get("is_topic_message") else None
    return Asked(message["chat"]["id"], (command, *words[1:]), topic, press and press["id"], ours)


def chat_of(update: Mapping[str, Any]) -> int | None:
    message = update.get("callback_query", update).get("message")
    return message["chat"]["id"] if message else None


def menu(words: Words) -> list[dict[str, str]]:
    """What Telegram shows beside its line of input."""
    return [{"command": name, "description": about} for name, about in zip(NAMES, words("menu").split("/"), strict=True)]


def answer(wish: Asked, known_now: Answering) -> list[Message]:
    """Does what was asked, and says so. Reads and writes the study's storage."""
    command = wish.words[0].removeprefix("/")
    if command in _OF_A_TRIAL:
        return _of_a_trial(command, wish.words[1:], known_now)
    return [_OF_THE_STUDY.get(command, _help)(known_now)]


def _of_a_trial(command: str, rest: Sequence[str], now: Answering) -> list[Message]:
    if not rest or not rest[0].isdecimal():
        return [Message(now.words("need_number", command=f"/{command}"))]
    number = int(rest[0])
    if number >= len(now.scene.trials):
        return [Message(now.words("no_trial", number=number))]
    return _OF_A_TRIAL[command](now.scene.trials[number], now)


def _status(now: Answering) -> Message:
    shown = board(now.scene, now.position, now.words)
    if not now.position.strangers:
        return shown
    return Message(f"{shown.text}\n{now.words('strangers', count=now.position.strangers)}", buttons=shown.buttons)


def _best(now: Answering) -> Message:
    return Message(best_one(now.scene, now.words, now.folder))


def _help(now: Answering) -> Message:
    return Message(now.words("help", study=now.scene.name))


def _pause(now: Answering) -> Message:
    pause(now.study, True)
    return Message(now.words("pauses"), buttons=((now.words("button_resume"), "/resume"),))


def _resume(now: Answering) -> Message:
    pause(now.study, False)
    return Message(now.words("resumes"))


def _trial(trial: FrozenTrial, now: Answering) -> list[Message]:
    if trial.state == TrialState.RUNNING:
        return [Message(running(trial, now.scene, now.words), buttons=(stop_button(trial.number, now.words),))]
    if trial.state == TrialState.WAITING:
        return [Message(now.words("waits", number=trial.number))]
    if trial.state == TrialState.FAIL:
        return [Message(gone(trial, now.words))]
    before = [other for other in known(now.scene, now.position) if other.number != trial.number]
    return [Message(summary(trial, before, now.scene, now.words), buttons=buttons_of(trial, now.words))]


def _curves(trial: FrozenTrial, now: Answering) -> list[Message]:
    return [pictures(trial, now.files(trial), now.words) or Message(now.words("no_pictures", number=trial.number))]


def _listen(trial: FrozenTrial, now: Answering) -> list[Message]:
    return [sample(trial, now.files(trial), now.words) or Message(now.words("no_sample", number=trial.number))]


def _stop(trial: FrozenTrial, now: Answering) -> list[Message]:
    return [Message(now.words("stops" if stop(now.study, trial.number) else "not_running", number=trial.number))]


_OF_THE_STUDY: dict[str, Callable[[Answering], Message]] = {
    "status": _status,
    "best": _best,
    "pause": _pause,
    "resume": _resume,
    "help": _help,
}
_OF_A_TRIAL: dict[str, Callable[[FrozenTrial, Answering], list[Message]]] = {
    "trial": _trial,
    "curves": _curves,
    "listen": _listen,
    "stop": _stop,
}
