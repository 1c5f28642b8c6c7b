"""Accepting connections: whoever opens many waits behind its own, and everybody else does not.

A loop's own server accepts in the order of asking, and starts whatever it has accepted: while one address opens
thousands of connections, everybody waits behind them.  So all that ask are taken from the kernel at once, which costs
little; those over a limit are turned away; and the others are started a few in each turn of the loop, in turns by
address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from gateway.authenticate import network_of
from gateway.connections import ConnectionLimits
from gateway.replies import Reason, Rejected, as_bytes

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
#: Connections that are taken from the kernel in one turn of the loop: about 10 µs each.
_ACCEPTED_AT_ONCE: Final = 128
#: How long nothing is accepted after the system has refused to.
_PAUSE_S: Final = 1.0

#: Makes the protocol of a connection from an address.
Factory = Callable[[str], asyncio.Protocol]


class Acceptor(asyncio.AbstractServer):
    """Accepts the connections of one listening socket."""

    def __init__(self, listening: socket.socket, factory: Factory, limits: ConnectionLimits) -> None:
        self.sockets = (listening,)
        self._listening = listening
        self._factory = factory
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False
        listening.listen(_BACKLOG)
        self._watch()

    def close(self) -> None:
        """Stop listening; what has been accepted is still served."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listening.fileno())
            self._listening.close()

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # no file or memory left
                log.error("cannot accept connections for %d s: %s", _PAUSE_S, error.strerror)
                self._loop.remove_reader(self._listening.fileno())
                self._loop.call_later(_PAUSE_S, self._watch)
                return
            connection.setblocking(False)
            self._admit(connection, network_of(str(peer[0])) if isinstance(peer, tuple) else "")

    def _admit(self, connection: socket.socket, address: str) -> None:
        if not self._limits.admit(address):
            with contextlib.suppress(OSError), connection:
                connection.send(as_bytes(Rejected(Reason.TOO_MANY_CONNECTIONS)))
            return
        self._limits.lane.call(address, partial(self._start_soon, connection, address))

    def _start_soon(self, connection: socket.socket, address: str) -> None:
        task = self._loop.create_task(self._start(connection, address))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, connection: socket.socket, address: str) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._factory(address), connection)
        except OSError:  # it has gone already
            self._limits.leave(address)
            connection.close()


class Site(web.SockSite):
    """aiohttp's site on an `Acceptor`."""

    def __init__(self, runner: web.ServerRunner, listening: socket.socket, limits: ConnectionLimits) -> None:
        super().__init__(runner, listening)
        self._limits = limits

    async def start(self) -> None:
        """Start to accept."""
        await web.BaseSite.start(self)
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        self._server = Acceptor(self._sock, server, self._limits)  # type: ignore[abstract,arg-type]  # what is used of it
