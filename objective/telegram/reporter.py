"""The reporter: it reports what is new in the study, keeps the board up to date and answers commands.

What has been reported is kept in the study, so a reporter that starts again continues where the last one stopped.
"""

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
from objective.telegram.commands import Context, Request, answer, chat_of, menu, request_of
from objective.telegram.event_queue import Event, Position, StudyState, advance, next_event
from objective.telegram.lease import BEAT_S, SETTLE_S, Lease
from objective.telegram.messages import messages
from objective.telegram.observer import Observer
from objective.telegram.pinned_board import board
from objective.telegram.translations import Translator
from objective.views.launcher import StudyCommand
from storage.artifacts import artifacts
from storage.retry import OUTAGES, first_line, is_transient

POSITION = "telegram"  # attribute of the study
POLL_S = 2.0  # between two observations of the study
BOARD_S = 15.0  # between two edits of the board: a group takes 20 messages a minute in all
LISTEN_S = 50  # for which Telegram holds a request for updates open
LEAVE_S = 10.0  # after the end of the study's command, for other workers that end with it
LAST_S = 60.0  # after the end of the study's command, for what is still unreported
FINISH_S = 5.0  # for a request that is under way when this reporter has to stop

T = TypeVar("T")


class LeaseLost(Exception):
    """Another reporter is active in this study."""


class NotAllReported(Exception):
    """The time after the end of the study's command was not enough."""


class Reporter:
    """Reports to the first of `chats` and answers the commands of all. `out` is the folder of all studies."""

    def __init__(
        self, study: optuna.Study, bot: Bot, chats: tuple[int, ...], language: str, out: Path, topic: int | None = None
    ) -> None:
        self.study, self.bot, self.chats, self.topic, self.out = study, bot, chats, topic, out
        self.translate, self.command = Translator(language), StudyCommand()
        self.lease, self.position = Lease(study), Position()
        self.observer = Observer(study, self.command)
        self._database = ThreadPoolExecutor(1)  # one thread, so one connection
        self._away, self._waited, self._saving = False, False, asyncio.Lock()
        self._board: Message | None = None  # as it was sent last
        self._board_at, self._pinned = -BOARD_S, False

    async def run(self) -> None:
        """Run until the study's command has ended and everything is reported.

        Raises RequestRefused where Telegram rejects the bot, NotAllReported LAST_S after the end of the study's command.
        """
        try:
            async with asyncio.TaskGroup() as group:
                deadline = group.create_task(self._deadline())
                while await self._claimed():
                    with suppress(LeaseLost):
                        await self._report()
                        break
                deadline.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            with suppress(*OUTAGES):  # a signature that is left behind only costs the next reporter some time
                await self._in_thread(self.lease.release)
            self._database.shutdown()

    async def _claimed(self) -> bool:
        """Wait until no other reporter is active, and sign; False if the study's command ended before that."""
        while True:
            if await self._in_study(self.lease.free):
                await self._in_study(self.lease.sign)
                await asyncio.sleep(SETTLE_S)
                if await self._in_study(self.lease.mine):
                    return True
            elif not self._waited:
                self._waited = True
                self.bot.log("another reporter is active in this study: waiting until it ends")
            if self.command.ended.is_set():
                return False
            await asyncio.sleep(POLL_S)

    async def _report(self) -> None:
        self.position = Position.load((await self._in_study(self.observer.attributes)).get(POSITION) or {})
        self.bot.mark, self._waited = self.position.mark, False
        self.observer.last_active = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(task()) for task in (self._listen, self._beat)]
                await self._report_events()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _report_events(self) -> None:
        observer = self.observer
        while True:
            state = await self._in_study(observer.observe)
            event = next_event(state, self.position)
            if event is not None:
                await self._report_event(event, state)
            elif observer.command_ended_at and (
                state.stopped is not None or time.monotonic() > observer.command_ended_at + LEAVE_S
            ):
                return await self._update_board(state)
            else:
                if time.monotonic() > self._board_at + BOARD_S:
                    await self._update_board(state)
                await asyncio.sleep(POLL_S)

    async def _report_event(self, event: Event, state: StudyState) -> None:
        """Send the parts of an event that have not been sent. Each is recorded once Telegram has confirmed it."""
        folder = self.out / state.name
        parts = await self._in_study(messages, event, state, self.position, self.translate, folder, self._files)
        for part in parts:
            if part.name not in self.position.said:
                await self._in_study(self._check)
                await self._uninterrupted(self._send_part(event, part))
        advance(self.position, event, state)
        await self._save()

    async def _send_part(self, event: Event, part: Message) -> None:
        try:
            await self.bot.send(self.chats[0], part, self.topic)
        except RequestRefused as why:
            if why.final or not (part.files or why.too_long):  # a closed topic, a missing right: the text stays pending
                raise
            self.bot.log(f"skipped: {why}")
        self.position.telling = list(astuple(event))
        self.position.said.append(part.name)
        await self._save()

    async def _uninterrupted(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish `work`, for up to FINISH_S, if this task is cancelled meanwhile: a message has to be sent and recorded."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=FINISH_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _update_board(self, state: StudyState) -> None:
        """Bring the pinned board up to date, if it has changed. States in between are not shown."""
        current, self._board_at = board(state, self.position, self.translate), time.monotonic()
        if current == self._board:
            return
        self._board = current
        await self._in_study(self._check)
        try:
            if self.position.board is None or not await self._edited(self.position.board, current):
                await self._uninterrupted(self._new_board(current))
            if not self._pinned:
                self._pinned = True
                pin: dict[str, Any] = {"chat_id": self.chats[0], "message_id": self.position.board}
                await self.bot.call("pinChatMessage", **pin, disable_notification=True)
        except RequestRefused as why:
            if why.final:
                raise
            self.bot.log(f"the board: {why}")

    async def _new_board(self, current: Message) -> None:
        self.position.board, self._pinned = await self.bot.send(self.chats[0], current, self.topic), False
        await self._save()

    async def _edited(self, number: int, current: Message) -> bool:
        """Edit the board; False if the message has been deleted."""
        try:
            await self.bot.edit(self.chats[0], number, current)
        except RequestRefused as why:
            if "not found" in why.description or "can't be edited" in why.description:
                return False
            raise
        return True

    async def _listen(self) -> None:
        """Answer commands one after the other. An update counts once it is answered: a crash in between repeats the answer."""
        try:
            me = await self.bot.call("getMe")
            if me["id"] != self.position.bot:  # each bot numbers its own updates, and earlier commands meant another study
                earlier = await self.bot.call("getUpdates", offset=-1, timeout=0)
                self.position.bot, self.position.offset = me["id"], earlier[-1]["update_id"] + 1 if earlier else 0
                await self._save()
            await self.bot.call("setMyCommands", commands=menu(self.translate))
            while True:
                updates = await self.bot.call(
                    "getUpdates", seconds=LISTEN_S + 15, offset=self.position.offset, timeout=LISTEN_S,
                    allowed_updates=["message", "callback_query"],
                )  # fmt: skip
                for update in updates:
                    await self._handle(update, me["username"])
                    self.position.offset = update["update_id"] + 1
                    await self._save()
        except RequestRefused as why:
            if why.final:
                raise
            other = " (another study's reporter or a webhook reads them)" if why.code == 409 else ""
            self.bot.log(f"commands are off{other}: {why}")

    async def _handle(self, update: dict[str, Any], name: str) -> None:
        if chat_of(update) not in self.chats:
            self.position.strangers += chat_of(update) is not None
            return
        request = request_of(update, name, self.position.mark)
        if request is None:
            return
        await self._in_study(self._check)
        if request.press is not None:
            text = None if request.ours else self.translate("other_study", study=self.study.study_name)
            with suppress(RequestRefused):  # the press may be too old to be answered
                await self.bot.call("answerCallbackQuery", callback_query_id=request.press, text=text)
        if not request.ours:
            return
        try:
            await self.bot.send(request.chat, await self._in_study(self._answer, request), request.topic)
        except RequestRefused as why:
            self.bot.log(f"skipped: {why}")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._in_study(self._check)
            await self._in_study(self.lease.sign)

    async def _deadline(self) -> None:
        while not self.command.ended.is_set():
            await asyncio.sleep(POLL_S / 2)
        await asyncio.sleep(LAST_S)
        raise NotAllReported(f"not everything could be reported within {LAST_S:g} s after the end of the study's command")

    async def _save(self) -> None:
        async with self._saving:  # a write that waits for the database must not overwrite a later one
            await self._in_study(self._write, self.position.dump())

    async def _in_study(self, work: Callable[..., T], *args: Any) -> T:
        """Do what needs the study's database, as often as it takes while the database is away."""
        while True:
            try:
                result = await self._in_thread(work, *args)
            except OUTAGES as why:
                if not is_transient(why):
                    raise
                if not self._away:
                    self.bot.log(f"the database does not answer ({first_line(why)}): retrying until it does")
                self._away = True
                await asyncio.sleep(POLL_S)
                continue
            if self._away:
                self.bot.log("the database answers again")
            self._away = False
            return result

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *args)

    # The methods below run in the database's thread.

    def _check(self) -> None:
        if not self.lease.mine():
            raise LeaseLost

    def _write(self, position: dict[str, Any]) -> None:
        self._check()
        self.study.set_user_attr(POSITION, position)

    def _files(self, trial: FrozenTrial) -> dict[str, Path]:
        return artifacts(self.study, trial, self.out)

    def _answer(self, request: Request) -> Message:
        state = self.observer.observe()
        folder = self.out / state.name
        return answer(request, Context(self.study, state, self.position, self.translate, folder, self._files))
