"""The private port of gateway and worker: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest

from shared import metrics
from shared.settings import SettingsError
from shared.web_pages import is_loopback, reason_to_refuse

#: Returns why the process is not ready, or None if it is.
Readiness = Callable[[], str | None]


class Admin:
    """Serves health, readiness and metrics."""

    def __init__(
        self,
        host: str,
        port: int,
        unready: Readiness,
        before_metrics: Callable[[], None],
        only: Collection[str] | None = None,
    ) -> None:
        """`only`: Hitline's metrics that this process keeps, where it keeps few; None: all."""
        self._address = (host, port)
        self._registry = REGISTRY if only is None else _Only(only)
        self._unready = unready
        self._before_metrics = before_metrics
        self._runner: web.AppRunner | None = None
        #: The port in use, once started (0 in the settings picks one).
        self.port = port

    async def start(self) -> None:
        """Listen; raises `SettingsError` if the port is taken."""
        app = web.Application(middlewares=[self._refuse_web_pages])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        try:
            await site.start()
        except OSError as error:
            host, port = self._address
            raise SettingsError(
                f"HITLINE_ADMIN_HOST, HITLINE_ADMIN_PORT: can't listen on {host}:{port}: {error.strerror}"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _refuse_web_pages(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer 403 to a request that a web page made a browser send."""
        if reason := reason_to_refuse(request.headers, only_loopback=is_loopback(self._address[0])):
            return web.Response(status=403, text=f"this port is not for web pages: {reason}\n")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._unready()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        self._before_metrics()
        metrics.TASKS.set(len(asyncio.all_tasks()))
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Only(CollectorRegistry):
    """The metrics of the process and those of Hitline that are named; others would stand at 0 as if they meant it."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self._names = names

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        return (each for each in REGISTRY.collect() if each.name in self._names or not each.name.startswith("hitline_"))
