"""Two workers, a broker and a ClickHouse, and what makes them go on."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import aio_pika
import pytest

from tests.worker.simulated.accepted import Accepted, check_settled
from tests.worker.simulated.broker import Broker
from tests.worker.simulated.clickhouse import Engine, Insert
from tests.worker.simulated.requests import DONE, Request, adopt_tasks
from tests.worker.simulated.virtual_time import VirtualLoop
from tests.worker.simulated.worker import Worker
from worker.consume import consumer, old_lane, process
from worker.store import insert

#: What a queue that empties takes is far less.
_ENOUGH = 5_000


class Stage:
    """All of it; `newer` of the messages in the queue can't be read, and stay there."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.loop = VirtualLoop()
        adopt_tasks(self.loop)
        self._patch = pytest.MonkeyPatch()
        clock = SimpleNamespace(monotonic=self.loop.time, perf_counter=self.loop.time)
        for module in (consumer, old_lane, process):
            self._patch.setattr(module, "time", clock)
        self._patch.setattr(insert, "_FEWEST_ROWS", 1)
        now_ms = int(time.time() * 1000)
        self.accepted = Accepted(now_ms)
        self.engine = Engine(now_ms, self.accepted.refuses)
        self.broker = Broker(self._removed)
        self.keys = keys
        self.newer = 0
        self.wrong: list[AssertionError] = []
        self.workers = [self._start() for _ in range(2)]

    def close(self) -> None:
        """End everything."""
        for worker in self.workers:
            worker.kill()
        self.loop.close()
        self._patch.undo()

    def _removed(self, message: aio_pika.Message) -> None:
        try:
            check_settled(self.accepted, self.engine, self.broker, message)
        except AssertionError as error:  # inside of a worker, which would try again
            self.wrong.append(error)

    def _start(self) -> Worker:
        worker = Worker(self.loop, self.broker, self.engine, self.accepted.steps(), self.keys)
        self.loop.settle()
        return worker

    def restart(self, which: int) -> None:
        """Kill a worker, and start another in its place."""
        self.workers[which].kill()
        self.workers[which] = self._start()

    def replace_stopped(self) -> None:
        """Start others for the workers that have ended as they were told."""
        for which, worker in enumerate(self.workers):
            if worker.main.done():
                worker.main.result()
                self.workers[which] = self._start()

    @property
    def pending(self) -> list[Request]:
        """What the workers wait for."""
        return [request for worker in self.workers for request in worker.process.pending]

    @property
    def abandoned(self) -> list[Insert]:
        """Inserts that run, and that nobody waits for."""
        return [each for each in self.engine.running.values() if each.abandoned]

    def steps(self, number: int, which: int) -> None:
        """Let so many things happen, each as it should, while there is something to do; `which` selects among them."""
        for _ in range(number):
            if len(self.broker.queue) > self.newer or self.pending:
                self._step(which)
            which = (7 * which + 3) % 31

    def _step(self, which: int) -> None:
        channel = self.workers[which % 2].channel
        if channel is not None and channel.deliver():
            self.loop.settle()
        if pending := self.pending:
            self.resolve(pending[which % len(pending)], DONE)
        elif abandoned := self.abandoned:  # sooner or later it ends
            self.engine.finish(abandoned[0], "stored")
        else:
            self.loop.pass_time()

    def resolve(self, request: Request, how: str) -> None:
        """Let a request end in some way."""
        request.resolve(how)
        self.loop.settle()

    def until(self, name: str, which: int, at_most: int) -> Request | None:
        """Go on until there is a request of that name, which is returned, but not for ever."""
        for _ in range(at_most):
            if found := [each for each in self.pending if each.name == name]:
                return found[which % len(found)]
            self.steps(1, which)
            which = (7 * which + 3) % 31
        return None

    def let_arrive(self, which: int, number: int) -> None:
        """Let the first of what a worker has sent happen, although it will not hear of it."""
        for request in [each for each in self.workers[which].process.pending if each.name != "rows"][:number]:
            with contextlib.suppress(Exception):
                request.act(DONE)

    def cut(self, which: int) -> None:
        """Close a worker's channel."""
        channel = self.workers[which].channel
        if channel is not None and channel.open:
            channel.cut()
            self.loop.settle()

    def drain(self) -> None:
        """Go on until the queue is empty."""
        self.steps(_ENOUGH, 0)
        assert len(self.broker.queue) == self.newer, "all is settled but what only a newer worker can read"
