"""The gateway process: wires the parts together, serves until a signal, and stops without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from gateway.app import App, routes
from gateway.authenticate import ClientAddress
from gateway.broker import BrokerConnection
from gateway.connections import ConnectionLimits
from gateway.http import JsonServer
from gateway.ids import Ids
from gateway.intake import Intake
from gateway.listen import describe, listen
from gateway.pageviews import Pageviews
from gateway.publish import Publisher
from gateway.rate_limit import RateLimiter
from gateway.refusals import Refusals
from gateway.registry_age import RegistryAge
from gateway.settings import GatewaySettings
from shared import logs, metrics
from shared.admin import Admin
from shared.background import BackgroundFailed, background
from shared.broker_watch import BrokerWatch
from shared.clickhouse import ClickHouse
from shared.clickhouse_address import BadAddress
from shared.clocks import Clocks
from shared.process import harden, return_freed_memory
from shared.registry import Replica
from shared.registry.poll import IDLE_SECONDS, Poller
from shared.seal import Sealer, key_names
from shared.settings import SettingsError, load
from shared.traces import open_traces

if TYPE_CHECKING:
    from gateway.traces import GatewayTraces

log = logging.getLogger("gateway")

#: How long to wait for broker and registry at startup before listening (and answering 503) without them.
_STARTUP_WAIT_S: Final = 5.0
#: How long a stop still serves open connections, with `Connection: close` so that clients reconnect elsewhere.
_STOP_GRACE_S: Final = 0.5


def main(publisher: type[Publisher] = Publisher) -> None:
    """Run a gateway until SIGTERM or SIGINT; exits with 1 when a setting is wrong or the port is taken.

    `publisher` is replaced by benchmarks.
    """
    logs.set_up()
    try:
        settings = load(GatewaySettings)
        logs.set_up(settings.log_format)
        gateway = Gateway(settings, publisher)
        harden(gateway.files)
        uvloop.run(gateway.run())
    except BackgroundFailed:
        sys.exit(1)
    except (SettingsError, BadAddress) as error:
        sys.exit(f"hitline gateway: {error}")
    except Exception as error:
        # Python's own traceback would quote values, such as visitors' addresses.
        log.critical("unexpected error", exc_info=error)
        sys.exit(1)


class Gateway:
    """The parts of a gateway, wired together."""

    def __init__(self, settings: GatewaySettings, publisher: type[Publisher] = Publisher) -> None:
        self._settings = settings
        self._registry = Replica(
            settings.state_dir, "gateway", ("sites", "clients", "grants"), key_names(settings.queue_keys)
        )
        self._clickhouse = ClickHouse(settings.clickhouse_url, "hitline gateway", cluster=settings.clickhouse_cluster)
        self._poller = Poller(self._registry, self._clickhouse, idle_s=IDLE_SECONDS)
        self._clocks = Clocks("timestamps are accepted up to a day ahead of the later clock")
        self._watch = BrokerWatch(settings.rabbitmq_api_url, settings.amqp_url[0], self._clocks)
        self._broker = BrokerConnection(settings.amqp_url, settings.confirm_seconds, lambda: self._watch.unsafe)
        sealer = Sealer(settings.queue_keys)
        self._traces = _traces(settings.traces_ratio)
        self._publisher = publisher(self._broker, sealer, lambda: self._registry.version, self._traces)
        self._limiter = RateLimiter(settings.rate_limit, settings.rate_limit_storage)
        addresses = ClientAddress(settings.trusted_proxies)
        self._registry_age = RegistryAge(self._poller, settings.registry_max_age_seconds)
        intake = Intake(
            self._registry, self._registry_age, self._limiter, addresses, Ids(settings.id_secret), self._clocks
        )
        self._connections = ConnectionLimits(
            settings.max_connections, settings.max_connections_per_address, addresses.is_trusted
        )
        self._refusals = Refusals(self._broker, sealer, lambda: self._registry.version, settings.refusals_seconds)
        self._app = App(routes(Pageviews(intake, self._limiter, self._publisher, self._refusals)))
        #: File descriptors that the process needs.
        self.files = self._connections.files
        self._listening = False
        self._admin = Admin(settings.admin_host, settings.admin_port, self._unready, self._refresh_metrics)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        handle = self._app.handle if self._traces is None else self._traces.around(self._app.handle, self._app.paths)
        server = JsonServer(handle, self._connections, self._settings.keepalive_seconds)
        work = (
            self._broker.run(),
            self._poller.run(),
            self._refusals.run(),
            server.watch(),
            self._clocks.run(self._clickhouse),
            self._watch.run(),
            return_freed_memory(),
        )
        tasks = background(self._admin, stop, *work)
        async with tasks, self._serving(server):
            await stop.wait()
            log.info("stopping: %d requests in flight", self._app.in_flight)
            self._app.stopping = True
            # Balancers see /readyz turn 503 only at their next look, and send requests until then.
            await asyncio.sleep(self._settings.stop_delay_seconds)
        await self._clickhouse.close()
        self._registry.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        log.info("stopped")

    @contextlib.asynccontextmanager
    async def _serving(self, server: JsonServer) -> AsyncIterator[None]:
        settings = self._settings
        runner = web.ServerRunner(server, shutdown_timeout=settings.drain_seconds - _STOP_GRACE_S)
        await runner.setup()
        try:
            await self._wait_until_ready()
            sites = await listen(runner, self._connections, settings.http_host, settings.http_port)
            self._listening = True
            log.info("listening on %s, admin port %d", describe(settings.http_host, runner), self._admin.port)
            yield
            for site in sites:
                await site.stop()
            await asyncio.sleep(_STOP_GRACE_S)
        finally:
            await runner.cleanup()

    async def _wait_until_ready(self) -> None:
        """Wait a little for broker and registry: other processes that share the port can serve meanwhile."""
        deadline = time.monotonic() + _STARTUP_WAIT_S
        while self._missing() is not None and time.monotonic() < deadline:  # noqa: ASYNC110 - depends on two parts
            await asyncio.sleep(0.05)

    def _unready(self) -> str | None:
        if self._app.stopping:
            return "stopping"
        return self._missing() or (None if self._listening else "not listening yet")

    def _missing(self) -> str | None:
        if self._broker.unavailable_reason is not None:
            return self._broker.unavailable_reason.label
        if self._registry.empty:
            return "the registry is empty or was never loaded"
        return "the copy of the registry is too old" if self._registry_age.too_old else None

    def _refresh_metrics(self) -> None:
        metrics.PROCESS.labels("gateway").set(1)
        metrics.REQUESTS_IN_FLIGHT.set(self._app.in_flight)
        metrics.CONNECTIONS.set(self._connections.open)
        metrics.REGISTRY_AGE.set(self._poller.age_s)
        metrics.REGISTRY_TOO_OLD.set(int(self._registry_age.too_old))
        metrics.REGISTRY_VERSION.set(self._registry.version)


def _traces(ratio: float) -> GatewayTraces | None:
    """Return what begins and ends spans; None where traces are off, and the SDK is not loaded."""
    if (traces := open_traces("gateway", ratio)) is None:
        return None
    from gateway.traces import GatewayTraces  # needs the SDK

    return GatewayTraces(traces)


if __name__ == "__main__":
    main()
