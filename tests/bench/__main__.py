"""`make bench`: the speed table (design, section 10) on its own broker and database.

`make bench ONLY="gateway worker"` runs some sections.  The table is printed, and kept as `.local/bench/bench.json` with
plots beside it.  In the environment:

    ROUNDS, SECONDS     how often, and how long, everything is measured (3 and 4)
    BASE=FILE           compare with the JSON of an earlier run
    AGAINST=REVISION    the cost of a pageview, beside that of another revision's gateway and worker
    PROFILE=1           flame graphs of gateway and worker
    PUBLISH=1           put JSON, plots and table into docs/
    SHORT=1             sizes that only show that everything runs
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from deploy.local.broker import ensure_rabbitmq
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.bench import (
    cost,
    document,
    fleet,
    freshness,
    gateway_speed,
    hostile,
    look_up,
    machine,
    memory,
    neighbours,
    plots,
    processes,
    registry,
    report,
    report_all,
    results,
    rules,
    scale,
    sites,
    sizes,
    steps,
    worker_speed,
)
from tests.bench.profile import RESULTS
from tests.bench.sizes import Sizes
from tests.bench.table import Table
from tests.services import System

Section = Callable[[System, Table, Sizes], None]

#: The rows of the design's table that need a broker and a database, and those that do not.
ON_REAL_PARTS: Final[dict[str, Section]] = {
    "gateway": gateway_speed.run,
    "worker": worker_speed.run,
    "cost": cost.run,
    "freshness": freshness.run,
    "memory": memory.run,
    "sites": sites.run,
    "processes": processes.run,
}
IN_PROCESS: Final[dict[str, Callable[[Table, Sizes], None]]] = {"rules": rules.run, "hostile": hostile.run}
#: Only when named.
LONGER: Final[dict[str, Section]] = {
    "fleet": lambda system, table, _: fleet.run(system, table),
    "look_up": lambda system, table, _: look_up.run(system, table),
    "neighbours": lambda system, table, _: neighbours.run(system, table),
    "registry": lambda system, table, _: registry.run(system, table),
}
LONGER_IN_PROCESS: Final[dict[str, Callable[[Table, Sizes], None]]] = {
    "scale": lambda table, _: scale.main(scale.PAGEVIEWS, scale.SITES, scale.NEW, table),
    "report": lambda table, _: report.main(report.PAGEVIEWS, table),
    "report_all": lambda table, _: report_all.main(scale.SITES, report_all.PAGEVIEWS, table),
    "steps": lambda _, sizes: steps.main(numbers_of_rules=(1, sizes.rules // 100, sizes.rules)),
}


def main() -> None:
    """Run what the command line names, else the whole table."""
    chosen = sys.argv[1:] or [*ON_REAL_PARTS, *IN_PROCESS]
    if unknown := set(chosen) - {*ON_REAL_PARTS, *LONGER, *IN_PROCESS, *LONGER_IN_PROCESS}:
        sys.exit(f"no such section: {', '.join(sorted(unknown))}")
    if os.environ.get("PUBLISH") and sys.argv[1:]:
        sys.exit("PUBLISH=1 needs the whole table: leave out ONLY")
    run = measure(chosen, sizes.from_environment())
    results.write(run, RESULTS / "bench.json")
    plots.draw(run, RESULTS)
    print(f"\nin {RESULTS.relative_to(Path.cwd())}: bench.json and plots")
    if base := os.environ.get("BASE"):
        print("\n" + "\n".join(results.compare(results.read(Path(base)), run)))
    if os.environ.get("PUBLISH"):
        document.publish(results.read(RESULTS / "bench.json"))  # rounded as it is kept


def measure(chosen: Sequence[str], size: Sizes) -> results.Run:
    """Run some sections and print their rows."""
    table = Table()
    table.machine()
    if "neighbours" in chosen:
        table.note("high priority for all but attackers", "yes" if neighbours.prefer() else "not allowed")
    broker = ""
    sections = {**ON_REAL_PARTS, **LONGER}
    if named := [name for name in chosen if name in sections]:
        ensure_rabbitmq()
        with tempfile.TemporaryDirectory() as directory:
            broker = on_real_parts({name: sections[name] for name in named}, Path(directory), table, size)
    for name, section in {**IN_PROCESS, **LONGER_IN_PROCESS}.items():
        if name in chosen:
            table.section(name)
            section(table, size)
    print(f"\nfalls short: {', '.join(table.short)}" if table.short else "\nall demands met")
    return results.make(table.rows, size, broker, machine.commit())


def on_real_parts(chosen: dict[str, Section], directory: Path, table: Table, size: Sizes) -> str:
    """Run sections, each with a system of its own on parts that are emptied before; returns the broker's version."""
    broker = RabbitMQNode(directory / "broker")
    broker.start()
    try:
        with ClickHouseProcess(directory / "clickhouse") as clickhouse:
            parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
            table.section("machine")
            table.figure("fsync of 4 KiB on this disk, p99", [gateway_speed.fsync_p99_ms(directory)], "{:.1f} ms")
            for name, section in chosen.items():
                parts.run_apart(lambda: parts.empty_queues(broker.amqp_url))
                parts.empty_tables(clickhouse)
                table.section(name)
                with services.system(clickhouse, broker, directory / name, workers=0) as system:
                    section(system, table, size)
        return broker.ctl("eval", "rabbit_misc:version().").strip().strip('"')
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
