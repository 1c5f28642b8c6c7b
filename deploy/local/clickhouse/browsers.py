"""Refuses what web pages send: this server is for programs of this machine.

A page of any site can make its visitor's browser send requests to a loopback port. Browsers mark them: with `Origin`,
with `Sec-Fetch-Site` (W3C Fetch Metadata), or, when the site's name was made to resolve to 127.0.0.1 (DNS rebinding),
with a `Host` that is not this machine. Browsers let no page change these headers.
"""

from __future__ import annotations

import ipaddress

from aiohttp import web
from aiohttp.typedefs import Handler

from deploy.local.clickhouse.errors import ClickHouseError


@web.middleware
async def refuse_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 to a request that a web page caused."""
    if reason := _reason(request):
        error = ClickHouseError(497, f"This server answers programs on this machine only: {reason}")
        return web.Response(status=403, text=f"Code: {error.code}. DB::Exception: {error.message} ({error.name})\n")
    return await handler(request)


def _reason(request: web.Request) -> str:
    hosts = request.headers.getall("Host", ())
    if len(hosts) != 1 or not is_loopback(hosts[0]):
        return "the Host header must be 127.0.0.1 or localhost"
    if "Origin" in request.headers:
        return "the request has an Origin, as a web page's has"
    # "none" is what a person types into the address bar.
    if request.headers.get("Sec-Fetch-Site", "none") != "none":
        return "the request comes from a web page (Sec-Fetch-Site)"
    return ""


def is_loopback(host: str) -> bool:
    """Return whether a Host header, with or without a port, names this machine by a loopback address or localhost."""
    name = host.strip()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = name.partition(":")
    if port and not port.isdecimal():
        return False
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
