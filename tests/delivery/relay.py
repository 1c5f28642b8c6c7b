"""A TCP relay in front of a part: what goes through it can be held, and lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Passes on to `url` while `requests` and `answers` are set; what is held can be lost with its connection."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.requests, self.answers = asyncio.Event(), asyncio.Event()
        self.requests.set()
        self.answers.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen; `url` is then what to connect to."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        user = self._target.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.url = f"{self._target.scheme}://{user + '@' if user else ''}{place}{self._target.path}"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Reset all connections; what was held is lost, as it is with a machine that dies."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_there, to_there = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.close()
            return
        for source, sink, allowed in ((reader, to_there, self.requests), (from_there, writer, self.answers)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pump(source, sink, allowed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, allowed: asyncio.Event) -> None:
        try:
            while data := await source.read(65_536):
                await allowed.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            return
        finally:
            self._writers.discard(sink)
            sink.close()
