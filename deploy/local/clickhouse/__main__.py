"""`python -m deploy.local.clickhouse --path DIR --port N`: ClickHouse on a loopback port, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import errno
import fcntl
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from deploy.local.clickhouse.app import Limits, Server
from deploy.local.clickhouse.engine import Engine
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.quiet import silence_http
from deploy.local.clickhouse.users import Users, load

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Queries can be in the URL, so lines may be long.
_LINE_BYTES = 1 << 20
# Large enough for a typical insert: with aiohttp's 64 KiB the reader is paused and resumed for every piece.
_READ_BYTES = 4 << 20


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data directory; one process at a time")
    parser.add_argument("--port", type=int, default=8123, help="0 picks a free one (default: 8123)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--config-file", type=Path, help="ClickHouse configuration with users, profiles, quotas")
    parser.add_argument("--port-setting", default="--port", help="the setting to name when the port is taken")
    parser.add_argument("--max-connections", type=int, default=32, help="queries side by side (default: 32)")
    parser.add_argument("--max-body-bytes", type=int, default=1 << 30, help="largest body (default: 1 GiB)")
    parser.add_argument("--drain-seconds", type=float, default=20.0, help="how long SIGTERM waits for queries")
    parser.add_argument("--leash", action="store_true", help="stop when stdin ends")
    return parser.parse_args()


def _fail(line: str) -> int:
    print(line, file=sys.stderr, flush=True)
    return 2


def _stop_at_end_of_stdin(stopped: asyncio.Event) -> None:
    """Stop when the process that started this one has ended: it has the other end of stdin."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stopped.set()

    loop.add_reader(0, read)


async def _serve(options: argparse.Namespace, engine: Engine, users: Users) -> int:
    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    if options.leash:
        _stop_at_end_of_stdin(stopped)
    server = Server(engine, users, Limits(options.max_connections, options.max_body_bytes))
    runner = web.AppRunner(
        server.app(),
        access_log=None,  # URLs contain queries
        auto_decompress=False,
        max_line_size=_LINE_BYTES,
        max_field_size=_LINE_BYTES,
        read_bufsize=_READ_BYTES,
        shutdown_timeout=options.drain_seconds,
    )
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    try:
        await site.start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        await runner.cleanup()
        return _fail(f"port {options.port} is taken: set {options.port_setting}")
    port = runner.addresses[0][1]
    print(f"ready {options.host}:{port}", flush=True)
    idle = asyncio.create_task(server.close_idle_sessions())
    await stopped.wait()
    idle.cancel()
    await runner.cleanup()
    if not server.close():
        print("some queries did not end in time", file=sys.stderr, flush=True)
        os._exit(0)  # what was acknowledged is stored; their threads may never end
    return 0


def main() -> int:
    """Run until a signal; return the exit code (2: it can't start, and one line says why)."""
    options = _arguments()
    if options.host not in _LOOPBACK:
        return _fail(f"--host {options.host}: this server is for this machine only, use 127.0.0.1")
    silence_http()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain visitors' data
    options.path.mkdir(parents=True, exist_ok=True)
    with (options.path / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return _fail(f"{options.path} is in use by another process")
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        users, config_file = Users(), None
        if options.config_file:
            users, config_file = load(options.config_file, options.path.resolve() / "front")
        engine = Engine(options.path.resolve(), config_file)
    except ClickHouseError as error:
        return _fail(f"{options.path}: {error.message}")
    try:
        return uvloop.run(_serve(options, engine, users))
    finally:
        engine.close()


if __name__ == "__main__":
    sys.exit(main())
