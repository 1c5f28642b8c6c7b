"""The number of messages waiting in each of Hitline's queues."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.queue.connection import connect
from shared import queue


async def depths(urls: Sequence[str]) -> dict[str, int]:
    """Return the number of ready messages by queue; messages that a worker holds are not included."""
    connection = await connect(urls, "hitline command")
    found = {}
    async with connection:
        channel = await connection.channel()
        for name in (queue.QUEUE, queue.DEAD_QUEUE):
            declared = await channel.declare_queue(name, passive=True)
            found[name] = declared.declaration_result.message_count or 0
    return found
