"""The reporter: looks at the study, tells what is new, keeps the board, answers commands. Where it was is kept in the study."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial

from objective.telegram.bot_api import Bot, Message, RequestRefused
from objective.telegram.commands import Answering, answer, asked, chat_of, menu
from objective.telegram.event_queue import Event, Position, Scene, next_event, told
from objective.telegram.lease import BEAT_S, SETTLE_S, Lease
from objective.telegram.messages import messages
from objective.telegram.observer import Looks
from objective.telegram.pinned_board import board
from objective.telegram.translations import Words
from objective.views.launcher import Command
from storage.artifacts import artifacts
from storage.retry import OUTAGES, first_line, is_transient

POSITION = "telegram"  # attribute of the study
POLL_S = 2.0  # between two looks at the study
BOARD_S = 15.0  # between two edits of the board: a group may hear 20 messages a minute in all
LISTEN_S = 50  # that Telegram holds a question for updates open
LEAVE_S = 10.0  # after the end of the command, for workers that still end with it
LAST_S = 60.0  # after the end of the command, for what is left to tell
FINISH_S = 5.0  # for what was begun when this reporter is told to stop

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
        self.looks = Looks(study, self.command)
        self._database = ThreadPoolExecutor(1)  # one thread, so one connection
        self._away, self._waited, self._saving = False, False, asyncio.Lock()
        self._shown: Message | None = None
        self._shown_at, self._pinned = -BOARD_S, False

    async def run(self) -> None:
        """Run until the command has ended and everything is sent. Raises RequestRefused where Telegram rejects the bot."""
        try:
            async with asyncio.TaskGroup() as group:
                deadline = group.create_task(self._deadline())
                while await self._claimed():
                    with suppress(Lost):
                        await self._report()
                        break
                deadline.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            with suppress(*OUTAGES):  # who is gone is noticed without a word, too
                await self._in_thread(self.lease.release)
            self._database.shutdown()

    async def _claimed(self) -> bool:
        """Waits until nobody else speaks; False where the command ended before that."""
        while True:
            if await self._in_study(self.lease.free):
                await self._in_study(self.lease.sign)
                await asyncio.sleep(SETTLE_S)
                if await self._in_study(self.lease.mine):
                    return True
            elif not self._waited:
                self._waited = True
                self.bot.log("another reporter speaks for this study: this one waits for its end")
            if self.command.ended.is_set():
                return False
            await asyncio.sleep(POLL_S)

    async def _report(self) -> None:
        self.position = Position.load((await self._in_study(self.looks.attributes)).get(POSITION) or {})
        self.bot.mark, self._waited = self.position.mark, False
        self.looks.alive = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(task()) for task in (self._listen, self._beat)]
                await self._speak()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _speak(self) -> None:
        while True:
            scene = await self._in_study(self.looks.look)
            event = next_event(scene, self.position)
            if event is not None:
                await self._tell(event, scene)
            elif self.looks.ended_at and (scene.stopped is not None or time.monotonic() > self.looks.ended_at + LEAVE_S):
                return await self._show(scene)
            else:
                if time.monotonic() > self._shown_at + BOARD_S:
                    await self._show(scene)
                await asyncio.sleep(POLL_S)

    async def _tell(self, event: Event, scene: Scene) -> None:
        """Each part that Telegram has confirmed is noted, and with the last one the event."""
        parts = await self._in_study(messages, event, scene, self.position, self.words, self.out / scene.name, self._files)
        for part in parts:
            if part.name not in self.position.said:
                await self._in_study(self._check)
                await self._whole(self._part(event, part))
        told(event, scene, self.position)
        await self._save()

    async def _part(self, event: Event, part: Message) -> None:
        try:
            await self.bot.send(self.chats[0], part, self.topic)
        except RequestRefused as why:
            if why.final or not (part.files or why.too_long):  # a closed topic, a right taken back: what is due stays due
                raise
            self.bot.log(f"left out: {why}")
        self.position.telling = list(astuple(event))
        self.position.said.append(part.name)
        await self._save()

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Where this reporter is told to stop in the middle, what it says is noted still, or the next one would repeat it."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=FINISH_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _show(self, scene: Scene) -> None:
        """The board as it is now; what it was in between nobody misses."""
        shown, self._shown_at = board(scene, self.position, self.words), time.monotonic()
        if shown == self._shown:
            return
        self._shown = shown
        await self._in_study(self._check)
        try:
            if self.position.board is None or not await self._edited(self.position.board, shown):
                await self._whole(self._new_board(shown))
            if not self._pinned:
                self._pinned = True
                pin: dict[str, Any] = {"chat_id": self.chats[0], "message_id": self.position.board}
                await self.bot.call("pinChatMessage", **pin, disable_notification=True)
        except RequestRefused as why:
            if why.final:
                raise
            self.bot.log(f"the board: {why}")

    async def _new_board(self, shown: Message) -> None:
        self.position.board, self._pinned = await self.bot.send(self.chats[0], shown, self.topic), False
        await self._save()

    async def _edited(self, number: int, shown: Message) -> bool:
        """False where somebody has deleted it."""
        try:
            await self.bot.edit(self.chats[0], number, shown)
        except RequestRefused as why:
            if "not found" in why.said or "can't be edited" in why.said:
                return False
            raise
        return True

    async def _listen(self) -> None:
        """Commands, one after the other. An update is behind us when it was answered: a crash in between repeats an answer."""
        try:
            me = await self.bot.call("getMe")
            if me["id"] != self.position.bot:  # it counts its own updates, and what it was told before is not for this study
                before = await self.bot.call("getUpdates", offset=-1, timeout=0)
                self.position.bot, self.position.offset = me["id"], before[-1]["update_id"] + 1 if before else 0
                await self._save()
            await self.bot.call("setMyCommands", commands=menu(self.words))
            while True:
                updates = await self.bot.call(
                    "getUpdates", seconds=LISTEN_S + 15, offset=self.position.offset, timeout=LISTEN_S,
                    allowed_updates=["message", "callback_query"],
                )  # fmt: skip
                for update in updates:
                    await self._heed(update, me["username"])
                    self.position.offset = update["update_id"] + 1
                    await self._save()
        except RequestRefused as why:
            if why.final:
                raise
            other = " (another study's reporter or a webhook reads them)" if why.code == 409 else ""
            self.bot.log(f"commands are off{other}: {why}")

    async def _heed(self, update: dict[str, Any], name: str) -> None:
        if chat_of(update) not in self.chats:
            self.position.strangers += chat_of(update) is not None
            return
        wish = asked(update, name, self.position.mark)
        if wish is None:
            return
        await self._in_study(self._check)
        if wish.press is not None:
            said = None if wish.ours else self.words("other_study", study=self.study.study_name)
            with suppress(RequestRefused):  # of a press that is too old
                await self.bot.call("answerCallbackQuery", callback_query_id=wish.press, text=said)
        if not wish.ours:
            return
        try:
            for message in await self._in_study(self._answer, wish):
                await self.bot.send(wish.chat, message, wish.topic)
        except RequestRefused as why:
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
        raise TimeoutError(f"not everything was told within {LAST_S:g} s")

    async def _save(self) -> None:
        async with self._saving:  # one that waits for the database must not come behind a later one
            await self._in_study(self._write, self.position.dump())

    async def _in_study(self, work: Callable[..., T], *args: Any) -> T:
        """What needs the study's database: where that is away, until it is there."""
        while True:
            try:
                result = await self._in_thread(work, *args)
            except OUTAGES as why:
                if not is_transient(why):
                    raise
                if not self._away:
                    self.bot.log(f"the database does not answer ({first_line(why)}): it is tried again until it does")
                self._away = True
                await asyncio.sleep(POLL_S)
                continue
            if self._away:
                self.bot.log("the database answers again")
            self._away = False
            return result

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *args)

    # In the thread of the database.

    def _check(self) -> None:
        if not self.lease.mine():
            raise Lost

    def _write(self, position: dict[str, Any]) -> None:
        self._check()
        self.study.set_user_attr(POSITION, position)

    def _files(self, trial: FrozenTrial) -> dict[str, Path]:
        return artifacts(self.study, trial, self.out)

    def _answer(self, wish: Any) -> list[Message]:
        scene = self.looks.look()
        return answer(wish, Answering(self.study, scene, self.position, self.words, self.out / scene.name, self._files))
