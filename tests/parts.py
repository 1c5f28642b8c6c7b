"""The real parts that tests run against, and what brings them back to empty between two tests."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from deploy.queue import topology
from deploy.schema import migrations
from shared import queue
from shared.clickhouse import ClickHouse

Result = TypeVar("Result")

#: Fixed, so that a test may make its own sealer.
QUEUE_KEY = bytes(range(32))


def in_thread(work: Callable[[], Result]) -> Result:
    """Run something that makes its own event loop, without touching the tests' loop."""
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def run_apart(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in a separate thread and loop, for synchronous fixtures."""
    return in_thread(lambda: asyncio.run(work()))


def execute(clickhouse: ClickHouseProcess, sql: str) -> str:
    """Run one statement over plain HTTP and return the answer's text."""
    with urllib.request.urlopen(statement(clickhouse, sql), timeout=120) as answer:
        return answer.read().decode()


def execute_as(clickhouse: ClickHouseProcess, sql: str, query_id: str) -> str:
    """Run one statement under an id."""
    with urllib.request.urlopen(statement(clickhouse, sql, query_id=query_id), timeout=120) as answer:
        return answer.read().decode()


def statement(clickhouse: ClickHouseProcess, sql: str, **parameters: object) -> urllib.request.Request:
    """Return the request that runs a statement; `parameters` are those of the URL."""
    url = f"{clickhouse.address}/?{urllib.parse.urlencode(parameters)}"
    return urllib.request.Request(url, data=sql.encode(), headers=clickhouse.credentials)


async def apply_schema(url: str) -> None:
    """Apply the migrations as `hitline migrate` does."""
    clickhouse = ClickHouse(url, "hitline tests")
    try:
        async for _ in migrations.migrate(clickhouse, migrations.read()):
            pass
    finally:
        await clickhouse.close()


def empty_tables(clickhouse: ClickHouseProcess) -> None:
    """Truncate every table of both databases but the record of migrations."""
    names = execute(
        clickhouse,
        "SELECT database || '.' || name FROM system.tables WHERE database IN ('hitline', 'hitline_control')"
        " AND engine LIKE '%MergeTree' AND name != 'migrations' AND total_rows > 0 FORMAT TSV",
    )
    for name in names.split():
        execute(clickhouse, f"TRUNCATE TABLE {name}")


def empty_tables_of_pageviews(clickhouse: ClickHouseProcess) -> None:
    """Truncate what workers write, and leave the registry."""
    for name in ("pageviews_raw", "outcomes_raw"):
        execute(clickhouse, f"TRUNCATE TABLE hitline.{name}")


async def empty_queues(amqp_url: str) -> None:
    """Declare the topology and purge both queues."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        assert await topology.declare(connection) == []
        channel = await connection.channel()
        for name in (queue.QUEUE, queue.DEAD_QUEUE):
            await (await channel.get_queue(name, ensure=False)).purge()


async def depth(amqp_url: str, name: str) -> int:
    """Return the number of messages that are ready in a queue."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        declared = await (await connection.channel()).declare_queue(name, passive=True)
        return declared.declaration_result.message_count or 0


async def consumers(amqp_url: str) -> int:
    """Return the number of workers that consume from the queue."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        declared = await (await connection.channel()).declare_queue(queue.QUEUE, passive=True)
        return declared.declaration_result.consumer_count or 0


async def delete_queue(amqp_url: str, name: str) -> None:
    """Delete a queue with all that is in it."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        await (await connection.channel()).queue_delete(name)


async def delete_exchange(amqp_url: str) -> None:
    """Delete the exchange; the queues stay, without their bindings."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        await (await connection.channel()).exchange_delete(queue.EXCHANGE)


@dataclass(frozen=True)
class Stack:
    """ClickHouse with the schema and a broker with the topology, both empty, and settings that point there."""

    clickhouse: ClickHouseProcess
    broker: RabbitMQNode
    env: dict[str, str]


def make_env(
    state_dir: Path, clickhouse: ClickHouseProcess | None = None, broker: RabbitMQNode | None = None, **more: str
) -> dict[str, str]:
    """Return an environment for Hitline processes: nothing of this machine's own, ports chosen by the system.

    `more`: further settings, by name without the prefix.
    """
    settings = {
        "QUEUE_KEYS": base64.b64encode(QUEUE_KEY).decode(),
        "ID_SECRET": "a secret for tests only",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": "0",
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": "0",
        "MAX_CONNECTIONS_PER_ADDRESS": "20000",  # all clients of tests have the same
        "STATE_DIR": str(state_dir),
        # So that nothing is in the queue but what a test posts.
        "REFUSALS_SECONDS": "3600",
        # Where nothing listens, so that a test that forgot a part fails at once.
        "CLICKHOUSE_URL": clickhouse.url if clickhouse else "http://127.0.0.1:1",
        "AMQP_URL": broker.amqp_url if broker else "amqp://guest:guest@127.0.0.1:1/",
        **more,
    }
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(state_dir),
        **{f"HITLINE_{name}": value for name, value in settings.items()},
    }
