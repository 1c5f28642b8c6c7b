"""Standard output, written beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Final, Self

import click

#: Text that may wait for its reader before `room` makes the command wait too.
_WAITING: Final = 8 * 1024 * 1024
_LOOK_S: Final = 0.1


class Output:
    """Prints in a thread, in order, so that a reader who takes his time (`| less`) holds up nobody.

    While a command holds a connection to the broker, its event loop has to send heartbeats: a full pipe that stops the
    loop ends the connection.  Used with `with`, which waits until everything is printed, unless it was interrupted.
    """

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._characters = 0
        self._changed = threading.Condition()
        self._error: OSError | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        if kind is None or issubclass(kind, Exception):
            self._thread.join()
            self._raise()

    def add(self, text: str) -> None:
        """Print a text, without waiting for it; raises the error of an earlier one, such as a reader that is gone."""
        self._raise()
        with self._changed:
            self._texts.append(text)
            self._characters += len(text)
            self._changed.notify()

    async def room(self) -> None:
        """Wait while more than 8 MiB are still to be printed."""
        while self._characters > _WAITING and self._error is None:  # noqa: ASYNC110 - an event would be of another thread
            await asyncio.sleep(_LOOK_S)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._ended)
                text = "".join(self._texts)
                self._texts.clear()
            if not text:
                return
            try:
                click.echo(text, nl=False)
            except OSError as error:
                self._error = error
                return
            with self._changed:
                self._characters -= len(text)
