"""What a worker asks of the broker and of ClickHouse: pending until the test decides what becomes of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.worker.simulated.virtual_time import VirtualLoop

#: Says in each task which process it is a part of.
_owner: contextvars.ContextVar[Process | None] = contextvars.ContextVar("_owner", default=None)
DONE = "done"


class Killed(BaseException):
    """The process is no more; nothing of it may happen."""


@dataclass(eq=False)
class Request:
    """Something that was sent and not answered yet."""

    process: Process
    name: str
    #: Does it, in the given way (`DONE`, or a way to fail), and returns or raises the answer.
    act: Callable[[str], Any]
    answer: asyncio.Future[Any]

    def resolve(self, how: str = DONE) -> None:
        """Let it happen, and answer."""
        try:
            result = self.act(how)
        except Exception as error:  # noqa: BLE001 - the worker's to handle
            if not self.answer.done():
                self.answer.set_exception(error)
        else:
            if not self.answer.done():
                self.answer.set_result(result)


@dataclass(eq=False)
class Process:
    """A process on a simulated machine: its tasks, and what it waits for."""

    loop: VirtualLoop
    pending: list[Request] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    alive: bool = True

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task; all that are created within belong to the process as well."""

        def create() -> asyncio.Task[None]:
            _owner.set(self)
            return self.loop.create_task(coroutine)

        return contextvars.copy_context().run(create)

    async def ask(self, name: str, act: Callable[[str], Any]) -> Any:
        """Send a request, and wait for what the test makes of it."""
        if not self.alive:
            raise Killed
        request = Request(self, name, act, self.loop.create_future())
        self.pending.append(request)
        try:
            return await request.answer
        finally:
            if request in self.pending:
                self.pending.remove(request)

    def kill(self) -> None:
        """End at once, as by SIGKILL: no handler does anything any more."""
        self.alive = False
        self.pending.clear()
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            self.loop.settle()


def adopt_tasks(loop: VirtualLoop) -> None:
    """Make the loop note for each task which process it is of."""

    def create(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        owner = _owner.get()
        if owner is not None:
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    loop.set_task_factory(create)
