"""Runs the engine and its HTTP side until a signal, within the restrictions that `__main__` put on the process."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import sys

import uvloop
from aiohttp import web

from deploy.local.clickhouse import limits
from deploy.local.clickhouse.app import Limits, Server
from deploy.local.clickhouse.engine import Engine
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.quiet import silence_http
from deploy.local.clickhouse.users import Users, load

# A typical insert fits: with aiohttp's 64 KiB the reader is paused and resumed for every piece.
_READ_BYTES = 4 << 20


def run(options: argparse.Namespace) -> int:
    """Run until a signal; return the exit code (2: it can't start, and one line says why)."""
    silence_http()
    try:
        users, config_file = load(options.config_file, options.path.resolve() / "front", options.max_memory_bytes)
        engine = Engine(options.path.resolve(), config_file, options.setting)
    except ClickHouseError as error:
        print(f"{options.path}: {error.message}", file=sys.stderr, flush=True)
        return 2
    try:
        return uvloop.run(_serve(options, engine, users))
    finally:
        engine.close()


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
    if options.stop_on_eof:
        _stop_at_end_of_stdin(stopped)
    server = Server(engine, users, Limits(options.max_connections, options.max_body_bytes))
    runner = web.AppRunner(
        server.app(),
        access_log=None,  # URLs contain queries
        auto_decompress=False,
        max_line_size=limits.URL_BYTES,
        max_field_size=limits.FIELD_BYTES,
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
        print(f"port {options.port} is taken: set {options.port_setting}", file=sys.stderr, flush=True)
        return 2
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
