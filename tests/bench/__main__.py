"""`make bench`: the speed table, on its own broker and database; `make bench ONLY=gateway` runs one section."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deploy.local.broker import ensure_rabbitmq
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.bench import (
    fleet,
    freshness,
    gateway_speed,
    hostile,
    look_up,
    neighbours,
    registry,
    report,
    scale,
    sites,
    steps,
    worker_speed,
)
from tests.bench.table import Table

SECTIONS = {
    "gateway": gateway_speed.run,
    "worker": worker_speed.run,
    "freshness": freshness.run,
    "fleet": fleet.run,
    "look_up": look_up.run,
    "sites": sites.run,
}
#: Only when named: they take long.
LONG_SECTIONS = {"neighbours": neighbours.run, "registry": registry.run}
ON_REAL_PARTS = {**SECTIONS, **LONG_SECTIONS}


def main() -> None:
    chosen = sys.argv[1:] or [*SECTIONS, "steps", "hostile"]
    table = Table()
    table.machine()
    if any(name in ON_REAL_PARTS for name in chosen):
        ensure_rabbitmq()
        with tempfile.TemporaryDirectory() as directory:
            on_real_parts([name for name in chosen if name in ON_REAL_PARTS], Path(directory), table)
    if "scale" in chosen:
        table.section("scale")
        scale.main(scale.PAGEVIEWS, scale.SITES, scale.NEW, table)
    if "report" in chosen:
        table.section("report")
        report.main(report.PAGEVIEWS, table)
    if "steps" in chosen:
        table.section("steps")
        steps.main()
    if "hostile" in chosen:
        table.section("hostile")
        hostile.run(table)
    print(f"\nfalls short: {', '.join(table.short)}" if table.short else "\nall ratios reached")


def on_real_parts(chosen: list[str], directory: Path, table: Table) -> None:
    broker = RabbitMQNode(directory / "broker")
    broker.start()
    try:
        with ClickHouseProcess(directory / "clickhouse") as clickhouse:
            parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
            table.note("fsync of 4 KiB on this disk, p99", f"{gateway_speed.fsync_p99_ms(directory):.1f} ms")
            for name in chosen:
                parts.run_apart(lambda: parts.empty_queues(broker.amqp_url))
                parts.empty_tables(clickhouse)
                table.section(name)
                with services.system(clickhouse, broker, directory / name, workers=0) as system:
                    ON_REAL_PARTS[name](system, table)
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
