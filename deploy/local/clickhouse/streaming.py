"""A result from the engine's thread to the event loop, block by block and no faster than the client reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from dataclasses import replace

from deploy.local.clickhouse.engine import Result

# A result up to here is answered whole: its summary is complete and an error still has a status.
WHOLE_BYTES = 1 << 20
_BLOCKS_AHEAD = 4


class Pipe:
    """Blocks on their way. The thread calls `feed`, the loop `next`."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._queue: asyncio.Queue[Result | None] = asyncio.Queue(_BLOCKS_AHEAD)
        self._gone = threading.Event()

    def feed(self, blocks: Generator[Result, None, None]) -> Result | None:
        """Pass on what the query gives. A small result is returned whole; of a large one nothing is left to return."""
        kept = Result()
        try:
            for block in blocks:
                kept = merged(kept, block)
                if len(kept.data) > WHOLE_BYTES:
                    break
            else:
                return kept
            self._put(kept)
            for block in blocks:
                self._put(block)
            return None
        finally:
            blocks.close()  # cancels what still runs

    def _put(self, block: Result) -> None:
        while not self._gone.is_set():
            put = asyncio.run_coroutine_threadsafe(self._queue.put(block), self._loop)
            try:
                put.result()
                return
            except asyncio.CancelledError:
                continue
        raise ConnectionResetError("the client is gone")

    async def next(self, job: asyncio.Future[Result | None]) -> Result | None:
        """The next block of a large result; None when the job has ended and nothing is left of it."""
        if self._queue.empty() and not job.done():
            getting = asyncio.ensure_future(self._queue.get())
            await asyncio.wait({getting, job}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            getting.cancel()
        return None if self._queue.empty() else self._queue.get_nowait()

    def leave(self) -> None:
        """Nobody reads any more: let the thread stop."""
        self._gone.set()
        while not self._queue.empty():
            self._queue.get_nowait()


def merged(first: Result, second: Result) -> Result:
    """Two parts of a result as one."""
    return replace(
        first,
        data=first.data + second.data,
        read_rows=first.read_rows + second.read_rows,
        read_bytes=first.read_bytes + second.read_bytes,
        result_rows=first.result_rows + second.result_rows,
        elapsed_ns=first.elapsed_ns + second.elapsed_ns,
    )
