"""A TCP proxy that can fall silent, as a network does that drops packets: nothing is refused, nothing arrives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Proxy:
    """Forwards between its own port and another; `silent` stops both directions without closing anything."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = asyncio.Event()
        self._answers = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def mute(self) -> None:
        """Let requests through, and no answers."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def silence(self) -> None:
        self._loop.call_soon_threadsafe(self._open.clear)

    def speak(self) -> None:
        for direction in (self._open, self._answers):
            self._loop.call_soon_threadsafe(direction.set)

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._open.set()
        self._answers.set()
        self._loop.call_soon(started.set)
        self._loop.run_forever()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer, self._answers))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, also: asyncio.Event | None = None
    ) -> None:
        try:
            while data := await reader.read(65536):
                for allowed in (self._open, also or self._open):
                    await allowed.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """Run a proxy to `port` of this machine."""
    running = Proxy(port)
    started = threading.Event()
    thread = threading.Thread(target=running.run, args=(started,), daemon=True)
    thread.start()
    started.wait(30)
    try:
        yield running
    finally:
        running.stop()
        thread.join(30)
