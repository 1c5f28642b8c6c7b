"""Passes a result from the engine's thread to the event loop, block by block, no faster than the client reads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from dataclasses import replace

from deploy.local.clickhouse.engine import Result

# A result up to this size is sent as a whole: its summary is complete, and an error still has its status.
WHOLE_BYTES = 1 << 20
_BLOCKS_AHEAD = 4


class Pipe:
    """A bounded queue of blocks. The engine's thread calls `feed`, the event loop `next`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, whole_s: float | None = None):
        """`whole_s`: a result that takes longer is passed on in blocks, however small it is."""
        self._loop = loop
        self._whole_until_s = float("inf") if whole_s is None else time.monotonic() + whole_s
        self._queue: asyncio.Queue[Result | None] = asyncio.Queue(_BLOCKS_AHEAD)
        self._gone = threading.Event()

    def feed(self, blocks: Generator[Result, None, None]) -> Result | None:
        """Pass the query's blocks on. A small result is returned as a whole; for a large one, return None."""
        kept = Result()
        try:
            for block in blocks:
                kept = merged(kept, block)
                if len(kept.data) > WHOLE_BYTES or (kept.data and time.monotonic() > self._whole_until_s):
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
        raise ConnectionResetError("the client has gone")

    async def next(self, job: asyncio.Future[Result | None]) -> Result | None:
        """Return the next block of a large result; None when the job has ended and its blocks are taken."""
        if self._queue.empty() and not job.done():
            getting = asyncio.ensure_future(self._queue.get())
            await asyncio.wait({getting, job}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            getting.cancel()
        return None if self._queue.empty() else self._queue.get_nowait()

    def leave(self) -> None:
        """Let the thread stop: there is no reader any more."""
        self._gone.set()
        while not self._queue.empty():
            self._queue.get_nowait()


def merged(first: Result, second: Result) -> Result:
    """Return two parts of a result as one."""
    return replace(
        first,
        data=first.data + second.data,
        read_rows=first.read_rows + second.read_rows,
        read_bytes=first.read_bytes + second.read_bytes,
        result_rows=first.result_rows + second.result_rows,
        elapsed_ns=first.elapsed_ns + second.elapsed_ns,
    )
