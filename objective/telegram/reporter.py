"""The reporter: looks at the study, tells what is new, keeps the board, answers commands. Where it was is kept in the study."""
import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter

from objective.beside import Command
from objective.steer import PAUSED
from objective.telegram.api import Bot, Message, Refused
from objective.telegram.board import board
from objective.telegram.commands import Answering, answer, asked, chat_of, menu
from objective.telegram.lease import BEAT_S, SETTLE_S, Lease
from objective.telegram.messages import messages
from objective.telegram.story import Event, Position, Scene, next_event, told
from objective.telegram.words import Words
from pruners.compose import rules
from pruners.levels import Levels
from pruners.rules import Decision, judge
from storage.artifacts import artifacts
from storage.leases import Watch

POSITION = "telegram"  # attribute of the study
POLL_S = 2.0  # between two looks at the study
BOARD_S = 15.0  # between two edits of the board: a group may hear 20 messages a minute in all
LISTEN_S = 50  # that Telegram holds a question for updates open
IDLE_S = 600.0  # without anybody who works, after which a study has stopped
LEAVE_S = 10.0  # after the end of the command, for workers that still end with it
LAST_S = 60.0  # after the end of the command, for what is left to tell

T = TypeVar("T")


class Lost(Exception):
    """Another reporter speaks for this study."""


class Reporter:
    """Speaks to the first of `chats` and heeds the commands of all. `out` is the folder of all studies."""

    def __init__(
        self, study: optuna.Study, bot: Bot, chats: tuple[int, ...], language: str, out: Path, topic: int | None = None
    ) -> None:
        self.study, self.bot, self.chats, self.topic, self.out = study, bot, chats, topic, out
        self.words, self.command = Words(language), Command()
        self.lease, self.position = Lease(study), Position()
        levels = TypeAdapter(Levels).validate_python(study.user_attrs["settings"]["health"])
        self._rules, self._judged = rules(levels), dict[int, tuple[float, tuple[Decision, ...]]]()
        self._watch = Watch(study.user_attrs["settings"]["study"]["grace_s"])
        self._database = ThreadPoolExecutor(1)  # one thread, so one connection
        self._alive, self._ended_at = time.monotonic(), 0.0
        self._shown: Message | None = None
        self._shown_at, self._pinned = -BOARD_S, False

    async def run(self) -> None:
        """Until the command has ended and everything is told, or for ever. Raises Refused where Telegram wants none of it."""
        try:
            while await self._claimed():
                with suppress(Lost):
                    return await self._report()
                self.bot.log("another reporter speaks for this study: this one waits")
        finally:
            await self._in_study(self.lease.release)
            self._database.shutdown()

    async def _claimed(self) -> bool:
        """Waits until nobody else speaks; False where the command ended before that."""
        while True:
            if await self._in_study(self.lease.free):
                await self._in_study(self.lease.sign)
                await asyncio.sleep(SETTLE_S)
                if await self._in_study(self.lease.mine):
                    return True
            if self.command.ended.is_set():
                return False
            await asyncio.sleep(POLL_S)

    async def _report(self) -> None:
        self.position = Position.load((await self._in_study(self._attributes)).get(POSITION) or {})
        self._alive = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(task()) for task in (self._listen, self._beat, self._deadline)]
                await self._speak()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _speak(self) -> None:
        while True:
            scene = await self._in_study(self._look)
            event = next_event(scene, self.position)
            if event is not None:
                await self._tell(event, scene)
            elif self._ended_at and (scene.stopped is not None or time.monotonic() > self._ended_at + LEAVE_S):
                return await self._show(scene)
            else:
                if time.monotonic() > self._shown_at + BOARD_S:
                    await self._show(scene)
                await asyncio.sleep(POLL_S)

    async def _tell(self, event: Event, scene: Scene) -> None:
        """Each part that Telegram has confirmed is noted, and with the last one the event."""
        parts = await self._in_study(messages, event, scene, self.position, self.words, self.out / scene.name, self._files)
        for part in parts:
            if part.name in self.position.said:
                continue
            await self._in_study(self._check)
            try:
                await self.bot.send(self.chats[0], part, self.topic)
            except Refused as why:
                if why.final:
                    raise
                self.bot.log(f"left out: {why}")
            self.position.said.append(part.name)
            if part is not parts[-1]:
                self.position.telling = list(astuple(event))
                await self._save()
        told(event, scene, self.position)
        await self._save()

    async def _show(self, scene: Scene) -> None:
        """The board as it is now; what it was in between nobody misses."""
        shown, self._shown_at = board(scene, self.position, self.words), time.monotonic()
        if shown == self._shown:
            return
        self._shown = shown
        await self._in_study(self._check)
        try:
            if self.position.board is None or not await self._edited(self.position.board, shown):
                self.position.board, self._pinned = await self.bot.send(self.chats[0], shown, self.topic), False
                await self._save()
            if not self._pinned:
                self._pinned = True
                pin: dict[str, Any] = {"chat_id": self.chats[0], "message_id": self.position.board}
                await self.bot.call("pinChatMessage", **pin, disable_notification=True)
        except Refused as why:
            if why.final:
                raise
            self.bot.log(f"the board: {why}")

    async def _edited(self, number: int, shown: Message) -> bool:
        """False where somebody has deleted it."""
        try:
            await self.bot.edit(self.chats[0], number, shown)
        except Refused as why:
            if "not found" in why.said or "can't be edited" in why.said:
                return False
            raise
        return True

    async def _listen(self) -> None:
        """Commands, one after the other. An update is behind us when it was answered: a crash in between repeats an answer."""
        try:
            name = (await self.bot.call("getMe"))["username"]
            await self.bot.call("setMyCommands", commands=menu(self.words))
            while True:
                updates = await self.bot.call(
                    "getUpdates", seconds=LISTEN_S + 15, offset=self.position.offset, timeout=LISTEN_S,
                    allowed_updates=["message", "callback_query"],
                )  # fmt: skip
                for update in updates:
                    await self._heed(update, name)
                    self.position.offset = update["update_id"] + 1
                    await self._save()
        except Refused as why:
            if why.final:
                raise
            other = " (another study's reporter or a webhook reads them)" if why.code == 409 else ""
            self.bot.log(f"commands are off{other}: {why}")

    async def _heed(self, update: dict[str, Any], name: str) -> None:
        if chat_of(update) not in self.chats:
            self.position.strangers += chat_of(update) is not None
            return
        wish = asked(update, name)
        if wish is None:
            return
        await self._in_study(self._check)
        if wish.press is not None:
            with suppress(Refused):  # of a press that is too old
                await self.bot.call("answerCallbackQuery", callback_query_id=wish.press)
        try:
            for message in await self._in_study(self._answer, wish):
                await self.bot.send(wish.chat, message, wish.topic)
        except Refused as why:
            self.bot.log(f"left out: {why}")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._in_study(self._check)
            await self._in_study(self.lease.sign)

    async def _deadline(self) -> None:
        while not self.command.ended.is_set():
            await asyncio.sleep(POLL_S / 2)
        await asyncio.sleep(LAST_S)
        raise TimeoutError(f"not everything was told within {LAST_S:g} s: the next reporter goes on")

    async def _save(self) -> None:
        await self._in_study(self._write, self.position.dump())

    async def _in_study(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *args)

    # In the thread of the database.

    def _attributes(self) -> dict[str, Any]:
        return self.study._storage.get_study_user_attrs(self.study._study_id)

    def _check(self) -> None:
        if not self.lease.mine():
            raise Lost

    def _write(self, position: dict[str, Any]) -> None:
        self._check()
        self.study.set_user_attr(POSITION, position)

    def _files(self, trial: FrozenTrial) -> dict[str, Path]:
        return artifacts(self.study, trial, self.out)

    def _answer(self, wish: Any) -> list[Message]:
        scene = self._look()
        return answer(wish, Answering(self.study, scene, self.position, self.words, self.out / scene.name, self._files))

    def _look(self) -> Scene:
        trials, attributes = self.study.get_trials(deepcopy=False), self._attributes()
        settings = attributes["settings"]
        running = [trial for trial in trials if not trial.state.is_finished() and trial.user_attrs.get("health")]
        self._judged = {trial.number: self._judge(trial) for trial in running}
        return Scene(
            name=self.study.study_name,
            trials=trials,
            wanted=settings["study"]["trials"],
            budget_kframes=settings["budget"]["kframes"],
            found={number: found for number, (_, found) in self._judged.items()},
            paused=bool(attributes.get(PAUSED)),
            stopped=self._stopped(trials, bool(attributes.get(PAUSED))),
        )

    def _judge(self, trial: FrozenTrial) -> tuple[float, tuple[Decision, ...]]:
        """What the rules say at the last report; asked once for each."""
        record = trial.user_attrs["health"]
        at, before = record["kframes"][-1] if record["kframes"] else 0.0, self._judged.get(trial.number)
        return before if before is not None and before[0] == at else (at, judge(record, self._rules))

    def _stopped(self, trials: list[FrozenTrial], paused: bool) -> str | None:
        """Why nobody works on the study any more, None while somebody does. Of several commands the last one ends it."""
        now, alive = time.monotonic(), self._watch.look(trials)[0]
        if alive or paused:
            self._alive = now
        if self.command.ended.is_set():
            self._ended_at = self._ended_at or now
            return None if alive else self.command.why
        return "idle" if now > self._alive + IDLE_S else None
