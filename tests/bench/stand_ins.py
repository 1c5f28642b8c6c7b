"""Many workers in one process that work as real ones do: `python -m tests.bench.stand_ins 50`."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from shared import logs
from shared.background import background
from shared.settings import load
from worker.run import Worker
from worker.settings import WorkerSettings


class StandIns(Worker):
    """Workers that share the registry and the look-ups; each has its own connection to the broker."""

    async def run_many(self, count: int, stop: asyncio.Event) -> None:
        """Run `count` of them until `stop` is set."""
        async with background(self._admin, stop, self._poller.run(), self._gate.run()):
            print(f"admin port {self._admin.port}", file=sys.stderr, flush=True)
            await asyncio.gather(*(self._consume(stop) for _ in range(count)))


async def main() -> None:
    """Run as many as the first argument says until SIGTERM."""
    logs.set_up()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await StandIns(load(WorkerSettings)).run_many(int(sys.argv[1]), stop)


if __name__ == "__main__":
    uvloop.run(main())
