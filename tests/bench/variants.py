"""The same gateway with another publisher: `python -m tests.bench.variants nothing|each`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from gateway.__main__ import main
from gateway.publish import Publisher


class Nothing(Publisher):
    """Publishes nothing and answers at once: what everything but the queue costs."""

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Each(Publisher):
    """A message a request, as many in flight as there are requests: what most services do."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        done = super().submit(packed)
        unit = self._waiting.pop()
        self._release(unit)
        task = asyncio.create_task(self._publish([unit]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return done


if __name__ == "__main__":
    main({"nothing": Nothing, "each": Each}[sys.argv[1]])
