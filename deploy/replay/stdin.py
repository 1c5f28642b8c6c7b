"""Reading a log from standard input as it comes: a pipe, a terminal, or a file."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from deploy.replay.decompress import MAGIC_BYTES, Decompressor, compression

_CHUNK: Final = 256 * 1024


async def pieces(descriptor: int | None = None) -> AsyncIterator[bytes]:
    """Yield the uncompressed log; an empty piece when nothing has come for a while.  Raises `DamagedError`."""
    descriptor = sys.stdin.fileno() if descriptor is None else descriptor
    head = b""
    stream: Decompressor | None = None
    decided = False
    async for chunk in _chunks(descriptor):
        if not chunk:
            yield b""
            continue
        head = b"" if decided else head + chunk
        data = chunk if decided else head
        if not decided and len(head) < MAGIC_BYTES and compression(head.ljust(MAGIC_BYTES, b"\0")) == "":
            continue
        if not decided:
            decided = True
            name = compression(head)
            stream = Decompressor(name) if name else None
        for piece in stream.feed(data) if stream else (data,):
            yield piece
    if not decided and head:
        yield head
    if stream:
        stream.finish()


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Yield chunks until the end; an empty one after each second without any."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (PermissionError, ValueError, OSError):  # a regular file is always ready, and epoll refuses it
        while chunk := os.read(descriptor, _CHUNK):
            yield chunk
        return
    try:
        while True:
            try:
                async with asyncio.timeout(1.0):
                    await ready.wait()
            except TimeoutError:
                yield b""
                continue
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return
            ready.clear()
            yield chunk
    finally:
        loop.remove_reader(descriptor)
