"""Work that strangers cause, a little in each turn of the event loop, and in turns by address."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

#: Calls in one turn of the loop, of about 0.1 to 0.3 ms each.
_AT_ONCE: Final = 4


class Lane:
    """Runs calls soon, in the order of asking by one address, and the addresses in turns.

    The loop runs whatever is ready in one turn: a thousand connections that are opened or closed at once would hold up
    everybody else's.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Callable[[], object]]] = {}
        self._order: deque[str] = deque()

    def call(self, address: str, function: Callable[[], object]) -> None:
        """Call a function when its address's turn comes."""
        waiting = self._waiting.get(address)
        if waiting is not None:
            waiting.append(function)
            return
        self._waiting[address] = deque((function,))
        self._order.append(address)
        if len(self._order) == 1:
            asyncio.get_running_loop().call_soon(self._run_some)

    def _run_some(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            address = self._order[0]
            waiting = self._waiting[address]
            loop.call_soon(waiting.popleft())
            self._order.popleft()
            if waiting:
                self._order.append(address)
            else:
                del self._waiting[address]
            if not self._order:
                return
        loop.call_soon(self._run_some)
