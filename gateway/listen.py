"""The sockets on which the gateway listens: addresses of both families, and Unix sockets."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.accept import Site
from gateway.connections import ConnectionLimits
from shared.settings import SettingsError

_UNIX: Final = "unix:"
#: What the kernel keeps of a connection that is not read from, or reads nothing, instead of megabytes (it takes twice
#: this, socket(7)).
_BUFFER_BYTES: Final = 128 * 1024


async def listen(
    runner: web.ServerRunner, limits: ConnectionLimits, hosts: Sequence[str], port: int
) -> list[web.BaseSite]:
    """Listen on every address of `hosts` and return the sites.

    `0.0.0.0` is all of IPv4, `::` all of IPv4 and IPv6, `unix:/path` a Unix socket.  Port 0 picks one, the same for all
    addresses.  Raises `SettingsError` with the address that can not be used.
    """
    sites: list[web.BaseSite] = []
    for host in hosts:
        try:
            sockets = [_unix(host)] if host.startswith(_UNIX) else _addresses(host, port)
        except OSError as error:
            where = host if host.startswith(_UNIX) else f"{host}:{port}"
            raise SettingsError(
                f"HITLINE_HTTP_HOST, HITLINE_HTTP_PORT: cannot listen on {where}: {error.strerror}"
            ) from None
        for each in sockets:
            if each.family != socket.AF_UNIX:
                port = each.getsockname()[1]
            site = Site(runner, each, limits)
            await site.start()
            sites.append(site)
    return sites


def describe(hosts: Sequence[str], runner: web.ServerRunner) -> str:
    """Return the addresses for the log, with the port that is in use."""
    ports = [address[1] for address in runner.addresses if isinstance(address, tuple)]
    port = ports[0] if ports else 0
    return ",".join(host if host.startswith(_UNIX) else f"{_bracketed(host)}:{port}" for host in hosts)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _addresses(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listening = socket.socket(family, kind, protocol)
        opened.append(listening)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Several gateways may share a port: the kernel spreads connections among them.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            _bound_buffers(listening)
            listening.bind(address)
            listening.setblocking(False)
        except OSError:
            for each in opened:
                each.close()
            raise
    return opened


def _bound_buffers(listening: socket.socket) -> None:
    """Set the buffers of the connections that will be accepted."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        listening.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)


def _unix(host: str) -> socket.socket:
    """Return a Unix socket that every user of the machine may connect to, in place of one that was left behind."""
    path = Path(host.removeprefix(_UNIX))
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bound_buffers(listening)
        listening.bind(str(path))
        path.chmod(0o666)  # the directory says who may; the token is asked for in any case
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
