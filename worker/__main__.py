"""The worker process: runs until a signal, then drains within `HITLINE_DRAIN_SECONDS`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time

import uvloop

from shared import logs
from shared.background import BackgroundFailed
from shared.clickhouse_address import BadAddress
from shared.metrics import MESSAGES
from shared.process import harden
from shared.settings import SettingsError, load
from worker.run import Worker
from worker.settings import WorkerSettings

log = logging.getLogger("worker")


def main() -> None:
    """Run a worker until SIGTERM or SIGINT; exits 1 if a setting is wrong or the port is taken."""
    logs.set_up()
    try:
        settings = load(WorkerSettings)
        logs.set_up(settings.log_format)
        harden()
        uvloop.run(_run(settings))
    except BackgroundFailed:
        sys.exit(1)
    except (SettingsError, BadAddress) as error:
        sys.exit(f"hitline worker: {error}")
    except OSError as error:
        sys.exit(f"hitline worker: {error.strerror or error}; see HITLINE_ADMIN_PORT")
    except Exception as error:
        # Python's own traceback would quote values.
        log.critical("failed unexpectedly", exc_info=error)
        sys.exit(1)


async def _run(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(Worker(settings).run(stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
    began = time.monotonic()
    try:
        async with asyncio.timeout(settings.drain_seconds):
            await work
        log.info(
            "stopped: drained in %.1f s; %d messages received since the start", time.monotonic() - began, _received()
        )
    except TimeoutError:
        log.warning(
            "stopped after %.0f s, before everything was stored; the broker will redeliver the rest",
            settings.drain_seconds,
        )
    finally:
        stopping.cancel()


def _received() -> int:
    """Return how many messages were delivered to this process."""
    return sum(int(s.value) for family in MESSAGES.collect() for s in family.samples if s.name.endswith("_total"))


if __name__ == "__main__":
    main()
