"""Refuses what web pages send: this server is for programs on this machine."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from deploy.local.clickhouse.errors import ClickHouseError
from shared.web_pages import reason_to_refuse


@web.middleware
async def refuse_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 to a request that a web page caused."""
    if reason := reason_to_refuse(request.headers, only_loopback=True):
        error = ClickHouseError(497, f"This server answers programs on this machine only: {reason}")
        return web.Response(status=403, text=f"Code: {error.code}. DB::Exception: {error.message} ({error.name})\n")
    return await handler(request)
