"""How late the event loop is: what one callback takes, everything else waits for."""

from __future__ import annotations

import asyncio

from shared.metrics import LOOP_LAG

_EVERY_S = 0.5


async def watch_loop() -> None:
    """Measure, until cancelled, by how much a timer is late, in `hitline_loop_lag_seconds`."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
