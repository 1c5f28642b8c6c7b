"""Bare aiohttp that reads the body and answers 202: what its HTTP alone costs.  Prints its port."""

from __future__ import annotations

import uvloop
from aiohttp import web
from aiohttp.web_request import BaseRequest

from tests.bench import sink


async def answer(request: BaseRequest) -> web.Response:
    """Read the body and answer."""
    await request.read()
    return web.Response(status=202)


if __name__ == "__main__":
    uvloop.run(sink.serve(answer))
