"""Commands from the allowed chats, typed or as a button, and their answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.search.control import pause, stop
from objective.telegram.bot_api import Message
from objective.telegram.event_queue import Position, StudyState, reported_trials
from objective.telegram.messages import Files, best_trial, failure, file_buttons, pictures, sample, stop_button, summary
from objective.telegram.pinned_board import board, running_trial
from objective.telegram.translations import Translator


@dataclass(frozen=True, slots=True)
class Request:
    """A command, and where its answer goes."""

    chat: int
    arguments: tuple[str, ...]  # "/trial", "12"
    topic: int | None = None
    press: str | None = None  # the press of a button, which has to be answered as well
    ours: bool = True  # False for a button below a message of another study


@dataclass(frozen=True, slots=True)
class Context:
    """The study and the language that an answer is made from."""

    study: optuna.Study
    state: StudyState
    position: Position
    translate: Translator
    folder: Path  # of the study
    files: Files


def request_of(update: Mapping[str, Any], name: str, mark: str) -> Request | None:
    """Return the command that an update of Telegram's holds for the bot `name`, or None. Our buttons carry our `mark`."""
    press = update.get("callback_query")
    message = (press or update).get("message")
    text = press.get("data") if press else message and message.get("text")
    if not message or not text or not text.startswith("/"):
        return None
    arguments = text.split()
    ours = press is None or arguments.pop() == mark
    command, _, addressee = text.split()[0].partition("@")
    if addressee and addressee.lower() != name.lower():
        return None
    topic = message.get("message_thread_id") if message.get("is_topic_message") else None
    return Request(message["chat"]["id"], (command, *arguments[1:]), topic, press and press["id"], ours)


def chat_of(update: Mapping[str, Any]) -> int | None:
    message = update.get("callback_query", update).get("message")
    return message["chat"]["id"] if message else None


def menu(translate: Translator) -> list[dict[str, str]]:
    """Return the commands that Telegram offers next to its input line."""
    return [{"command": name, "description": translate(f"about_{name}")} for name in NAMES]


def answer(request: Request, context: Context) -> Message:
    """Execute a command and return its answer. Reads and writes the study's storage."""
    command = request.arguments[0].removeprefix("/")
    if command in _TRIAL_COMMANDS:
        return _answer_about_trial(command, request.arguments[1:], context)
    return _STUDY_COMMANDS.get(command, _help)(context)


def _answer_about_trial(command: str, arguments: Sequence[str], context: Context) -> Message:
    if not arguments or not arguments[0].isdecimal():
        return Message(context.translate("need_number", command=f"/{command}"))
    number = int(arguments[0])
    if number >= len(context.state.trials):
        return Message(context.translate("no_trial", number=number))
    return _TRIAL_COMMANDS[command](context.state.trials[number], context)


def _status(context: Context) -> Message:
    current = board(context.state, context.position, context.translate)
    if not context.position.strangers:
        return current
    strangers = context.translate("strangers", count=context.position.strangers)
    return Message(f"{current.text}\n{strangers}", buttons=current.buttons)


def _best(context: Context) -> Message:
    return Message(best_trial(context.state, context.translate, context.folder))


def _help(context: Context) -> Message:
    usages = (f"/{name}{' N' if name in _TRIAL_COMMANDS else ''}: {context.translate(f'about_{name}')}" for name in NAMES)
    return Message(context.translate("help", study=context.state.name, commands="\n".join(usages)))


def _pause(context: Context) -> Message:
    pause(context.study, True)
    return Message(context.translate("pauses"), buttons=((context.translate("button_resume"), "/resume"),))


def _resume(context: Context) -> Message:
    pause(context.study, False)
    return Message(context.translate("resumes"))


def _trial(trial: FrozenTrial, context: Context) -> Message:
    translate = context.translate
    if trial.state == TrialState.RUNNING:
        return Message(running_trial(trial, context.state, translate), buttons=(stop_button(trial.number, translate),))
    if trial.state == TrialState.WAITING:
        return Message(translate("waits", number=trial.number))
    if trial.state == TrialState.FAIL:
        return Message(failure(trial, translate))
    before = [other for other in reported_trials(context.state, context.position) if other.number != trial.number]
    return Message(summary(trial, before, context.state, translate), buttons=file_buttons(trial, translate))


def _curves(trial: FrozenTrial, context: Context) -> Message:
    missing = Message(context.translate("no_pictures", number=trial.number))
    return pictures(trial, context.files(trial), context.translate) or missing


def _listen(trial: FrozenTrial, context: Context) -> Message:
    missing = Message(context.translate("no_sample", number=trial.number))
    return sample(trial, context.files(trial), context.translate) or missing


def _stop(trial: FrozenTrial, context: Context) -> Message:
    return Message(context.translate("stops" if stop(context.study, trial.number) else "not_running", number=trial.number))


_STUDY_COMMANDS: dict[str, Callable[[Context], Message]] = {
    "status": _status,
    "best": _best,
    "pause": _pause,
    "resume": _resume,
    "help": _help,
}
_TRIAL_COMMANDS: dict[str, Callable[[FrozenTrial, Context], Message]] = {
    "trial": _trial,
    "curves": _curves,
    "listen": _listen,
    "stop": _stop,
}
NAMES = ("status", "best", "trial", "curves", "listen", "stop", "pause", "resume", "help")  # in the order of the menu
