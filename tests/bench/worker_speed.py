"""The worker's rows: draining a full queue against inserting ready-made rows with the client alone."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared import queue
from shared.clickhouse import ClickHouse
from shared.message import MAX_PAGEVIEWS, Headers, build
from shared.pageview import QueuedPageview, join, pack
from shared.registry import Replica
from shared.registry.poll import Poller
from shared.seal import Sealer
from tests import parts, services
from tests.bench import profile, requests
from tests.bench.cpu import of_tree
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.services import System
from worker.lookups.lookups import Lookups
from worker.pipeline import build_steps, process
from worker.row import COLUMN_TYPES, COLUMNS, Row, to_columns
from worker.settings import WorkerSettings
from worker.store.batch import PositionedRow, deduplication_token

_ON_DISK: Final = (
    "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = 'hitline'"
    " AND table = 'pageviews_raw'"
)


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure and add the rows; leaves the tables empty."""
    queued = make_queued(sizes.rows)
    drained, cpu, alone, memory = [], [], [], []
    for round_number in range(sizes.rounds):
        table.progress(f"round {round_number + 1}: a worker drains a full queue")
        parts.run_apart(lambda: fill(system, queued))
        parts.empty_tables_of_pageviews(system.clickhouse)
        worker = system.add_worker(flush_rows=str(sizes.flush_rows), flush_seconds="0.5")
        before = of_tree(worker.pid)
        with profile.flames(worker.pid, "worker") as flames:
            drained.append(drained_per_second(system, sizes.rows))
        cpu.append((of_tree(worker.pid) - before) / sizes.rows * 1e6)
        memory.append(worker.resident_mib())
        worker.stop()
        bytes_on_disk = float(parts.execute(system.clickhouse, _ON_DISK))
        table.progress(f"round {round_number + 1}: the client alone")
        parts.empty_tables_of_pageviews(system.clickhouse)
        alone.append(parts.run_apart(lambda: insert_alone(system, queued, sizes.flush_rows)))
    parts.empty_tables_of_pageviews(system.clickhouse)
    flames.note(table)
    table.figure("worker, queue to ClickHouse", drained, "{:,.0f} rows/s")
    table.figure("the client alone, ready-made rows, compressed as the worker's", alone, "{:,.0f} rows/s")
    table.figure("ClickHouse, bytes on disk a pageview", [bytes_on_disk], "{:.0f}")
    table.figure("queue, bytes a pageview in a full message", [bytes_in_queue(queued)], "{:.0f}")
    table.figure("worker, CPU seconds a million rows", cpu, "{:.1f} s")
    table.ratio("worker, of inserting ready-made rows with the client alone", ratios(drained, alone), 0.6)
    table.ratio("worker, resident after draining", memory, 500, at_most=True, form="{:.0f} MiB")


def bytes_in_queue(queued: Sequence[QueuedPageview]) -> float:
    """Return the bytes that a pageview takes in a full message, sealed."""
    some = queued[:MAX_PAGEVIEWS]
    message = build(Headers(uuid.uuid4(), len(some), 0), join([pack(each) for each in some]), Sealer([parts.QUEUE_KEY]))
    return len(message.body) / len(some)


def drained_per_second(system: System, number: int) -> float:
    """Wait until `number` rows are stored; returns how many a second came after the first were there."""
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") > 0, 120)
    first, counted = time.perf_counter(), services.count(system.clickhouse, "pageviews_raw")
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") >= number, 300)
    return (number - counted) / (time.perf_counter() - first)


def make_queued(number: int) -> list[QueuedPageview]:
    client = uuid.uuid4().bytes
    source = requests.pageviews(min(10_000, number))
    now = int(time.time() * 1000)
    return [
        QueuedPageview(
            client, now, "example.com", each["url"], now - index, each["visitor_ip"], each["user_agent"], False,
            uuid.uuid4().bytes, uuid.uuid4().bytes, each["referrer"], "", 0, 0, 0, 0,
        )
        for index, each in ((index, source[index % len(source)]) for index in range(number))
    ]  # fmt: skip


async def fill(system: System, queued: list[QueuedPageview]) -> None:
    """Put sealed messages into the queue, full ones, as gateways make them under load."""
    sealer = Sealer([parts.QUEUE_KEY])
    connection = await queue.connect([system.broker.amqp_url], "hitline bench")
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(queue.EXCHANGE)
        for start in range(0, len(queued), 20 * MAX_PAGEVIEWS):
            chunk = queued[start : start + 20 * MAX_PAGEVIEWS]
            groups = [chunk[at : at + MAX_PAGEVIEWS] for at in range(0, len(chunk), MAX_PAGEVIEWS)]
            await asyncio.gather(
                *(
                    exchange.publish(
                        build(Headers(uuid.uuid4(), len(group), 0), join([pack(each) for each in group]), sealer),
                        queue.PAGEVIEWS,
                        mandatory=True,
                    )
                    for group in groups
                )
            )


async def insert_alone(system: System, queued: list[QueuedPageview], flush_rows: int) -> float:
    """Return the rows a second of inserting columns that are ready."""
    clickhouse = ClickHouse(system.clickhouse.url, "hitline bench")
    rows = await make_rows(system, queued, clickhouse)
    blocks = [
        [PositionedRow(row, uuid.uuid4().bytes, 0) for row in rows[at : at + flush_rows]]
        for at in range(0, len(rows), flush_rows)
    ]
    columns = [to_columns(block) for block in blocks]
    began = time.perf_counter()
    for block, ready in zip(blocks, columns, strict=True):
        await clickhouse.insert(
            "hitline.pageviews_raw", COLUMNS, ready, token=deduplication_token(block), column_type_names=COLUMN_TYPES,
            column_oriented=True,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    await clickhouse.close()
    return len(rows) / seconds


async def make_rows(system: System, queued: list[QueuedPageview], clickhouse: ClickHouse) -> list[Row]:
    state = Path(system.env["HITLINE_STATE_DIR"])
    registry = Replica(state, "bench")
    await Poller(registry, clickhouse).refresh()
    settings = WorkerSettings(queue_keys="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", state_dir=state)  # type: ignore[arg-type]
    steps = build_steps(Lookups(settings, registry))
    rows = [process(each, steps) for each in queued]
    registry.close()
    return [row for row in rows if isinstance(row, Row)]
