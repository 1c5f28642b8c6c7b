"""An HTTP proxy before ClickHouse that may answer in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from deploy.local.ports import free_port


class Front:
    """Passes on to ClickHouse what it is asked; once `instead` is set, that answers inserts (or returns None)."""

    def __init__(self, url: str) -> None:
        self._target = url
        self.instead: Callable[[web.Request, bytes], web.Response | None] | None = None
        self.answered = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/maintenance":
            return web.Response(text="<html>Back soon</html>")
        if self.instead and "insert_deduplication_token" in request.query:
            answer_instead = self.instead(request, body)
            if answer_instead is not None:
                self.answered += 1
                return answer_instead
        passed_on = ("Content-Encoding", "Content-Type", "User-Agent")  # the type has the boundary of external data
        headers = {name: value for name, value in request.headers.items() if name in passed_on}
        raw = request.rel_url.raw_query_string  # statements in it have lines
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(URL(f"{self._target}/?{raw}", encoded=True), data=body, headers=headers) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name.startswith(("X-", "Content-E"))}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)


@asynccontextmanager
async def running(front: Front) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", front.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port := free_port())
        await site.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
