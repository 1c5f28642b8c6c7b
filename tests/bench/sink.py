"""A server that reads whatever it is sent and answers 202: what attacks are compared with.  Prints its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web
from aiohttp.web_request import BaseRequest


async def answer(request: BaseRequest) -> web.Response:
    """Read the body and answer."""
    with contextlib.suppress(ConnectionError, web.RequestPayloadError):
        async for _ in request.content.iter_any():
            pass
    return web.Response(status=202)


async def serve(handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]]) -> None:
    """Serve until the process is ended."""
    logging.disable()  # of what can't be parsed
    runner = web.ServerRunner(web.Server(handler, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(answer))
