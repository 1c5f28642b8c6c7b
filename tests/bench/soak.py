"""`make soak MINUTES=30`: memory, files, tasks and latency over a long time at 70 % of the limit, with faults.

A tenth of the batches has wrong values; ClickHouse stops for a sixth of the time, until the queue is full and requests
are refused; later the broker restarts.  In the end the ledger must be equal, memory at most 1.1 times that of a third
of the time (the tenth minute of thirty), and files and tasks as many as then.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.local.broker import ensure_rabbitmq
from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts, services
from tests.bench import machine, results, soak_plot
from tests.bench.profile import RESULTS
from tests.bench.soak_parts import Faults, LoadProcess, Sample, Sampler
from tests.bench.table import Table
from tests.services import System

PART_OF_LIMIT: Final = 0.7
#: Seconds in which the limit is measured, of a soak of usual length.
LIMIT_S: Final = 20.0
#: The times, as parts of the whole: what the end is compared with, and the faults.
BASELINE: Final = 10 / 30
QUEUE_FULL: Final = (12 / 30, 17 / 30)
BROKER_RESTARTS: Final = 20 / 30
#: Of the front, which is stopped then, the end of its first life: ClickHouse's pools grow in steps for some minutes.
FRONT_BASELINE: Final = QUEUE_FULL[0] - 1 / 30
#: How much of the whole is averaged at either place.
WINDOW: Final = 1 / 30
MEMORY: Final = 1.1
#: Files and tasks that may come and go: connections that are opened when they are needed, files of a merge.
SPARE: Final = {"gateway": 6, "worker": 6, "front": 40}


@dataclass(frozen=True)
class Sizes:
    """How long a soak is, and how much a queue holds while it is full."""

    seconds: float
    limit_seconds: float = LIMIT_S
    full_at_messages: int = 200


def main() -> None:
    """Soak for the minutes of the command line and write JSON and plot; exits with 1 when something falls short."""
    sizes = Sizes(60 * float(sys.argv[1] if len(sys.argv) > 1 else "30"))
    ensure_rabbitmq()
    with tempfile.TemporaryDirectory() as directory:
        table, samples = run(Path(directory), sizes)
    done = results.make(table.rows, sizes, commit=machine.commit())
    write(done, samples, RESULTS)
    print(f"\nin {RESULTS.relative_to(Path.cwd())}: soak.json and plots")
    if os.environ.get("PUBLISH"):
        write(done, samples, Path(__file__).parent.parent.parent / "docs" / "performance")
    sys.exit(f"falls short: {', '.join(table.short)}" if table.short else 0)


def write(run: results.Run, samples: Sequence[Sample], directory: Path) -> None:
    """Write figures and plot."""
    results.write(run, directory / "soak.json")
    soak_plot.draw(samples, directory / "soak", run.sizes["seconds"])


def run(directory: Path, sizes: Sizes) -> tuple[Table, list[Sample]]:
    """Soak on parts of its own; returns the verdict and what was sampled."""
    table = Table()
    table.machine()
    table.section("soak")
    with (
        services.own_broker(directory / "broker") as broker,
        ClickHouseProcess(directory / "clickhouse") as clickhouse,
    ):
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        with services.system(clickhouse, broker, directory, flush_seconds="0.5", refusals_seconds="60") as system:
            token = services.add_client(system.env, "soak", "example.com", rate="1000000000/second")
            services.wait_for(lambda: system.post(token=token, dnt=True).status == 202)
            limit = measure_limit(system, token, sizes)
            table.figure("limit of gateway and worker together", [limit], "{:,.0f} pageviews/s")
            samples, ledger = soak(system, token, PART_OF_LIMIT * limit, sizes, table)
            compare_ledger(system, ledger, table)
    judge(samples, sizes, table)
    return table, samples


def measure_limit(system: System, token: str, sizes: Sizes) -> float:
    """Return how many pageviews a second are received and stored."""
    began = time.monotonic()
    load = LoadProcess(system.port, token, sizes.limit_seconds, 0)
    accepted = load.ledger()["accepted"]
    services.wait_for(lambda: sum(system.outcomes().values()) >= accepted, 120)
    seconds = time.monotonic() - began
    parts.empty_tables_of_pageviews(system.clickhouse)
    return float(accepted) / seconds


def soak(system: System, token: str, rate: float, sizes: Sizes, table: Table) -> tuple[list[Sample], dict[str, object]]:
    """Post for the whole time, with the faults at their times; returns samples and ledger."""
    load = LoadProcess(system.port, token, sizes.seconds, rate)
    sampler, faults = Sampler(system, load), Faults(system, sizes.full_at_messages)
    events = [
        (QUEUE_FULL[0], faults.queue_full),
        (QUEUE_FULL[1], faults.queue_empties),
        (BROKER_RESTARTS, faults.broker_restarts),
    ]
    samples = []
    began = time.monotonic()
    with ThreadPoolExecutor(1) as executor:
        happened = []
        while load.running:
            at = time.monotonic() - began
            if events and at >= events[0][0] * sizes.seconds:
                happened.append(executor.submit(events.pop(0)[1]))
            samples.append(sampler.sample(at))
            table.progress(f"{at:.0f} of {sizes.seconds:.0f} s: {samples[-1].text}")
            time.sleep(min(3.0, max(0.3, sizes.seconds / 600)))
        for each in happened:
            each.result()
    assert not events, "the load ended early"
    return samples, load.ledger()


def compare_ledger(system: System, ledger: dict[str, object], table: Table) -> None:
    """Wait until everything has its outcome, and compare what was accepted with what is stored, by number."""
    accepted, unknown = int(str(ledger["accepted"])), ledger["unknown"]
    assert isinstance(unknown, list)
    services.wait_for(lambda: system.outcomes().get("stored", 0) >= accepted, 300)
    services.wait_for(lambda: parts.run_apart(lambda: parts.depth(system.broker.amqp_url, "hitline.pageviews")) == 0)
    time.sleep(1)
    number = "reinterpretAsUInt64(reverse(substring(UUIDStringToNum(toString(page_id)), 9, 8)))"
    among = ", ".join(map(str, unknown[:5_000])) or "0"
    found = services.rows(
        system.clickhouse,
        f"SELECT count() AS stored, uniqExact(page_id) AS pages, sum({number}) AS total,"
        f" countIf({number} IN ({among})) AS open, sumIf({number}, {number} IN ({among})) AS open_total"
        " FROM hitline.pageviews",
    )[0]
    stored, pages, total, opened, open_total = (
        int(found[name]) for name in ("stored", "pages", "total", "open", "open_total")
    )
    table.note(
        "accepted, of unknown fate and stored, refused, rejected",
        (f"{accepted:,}, {len(unknown):,} and {opened:,}, {ledger['refused']:,}, {ledger['rejected']:,}"),
    )
    table.ratio("pageviews accepted and not stored", accepted + opened - pages, 0, at_most=True, form="{:.0f}")
    table.ratio("pageviews stored twice", stored - pages, 0, at_most=True, form="{:.0f}")
    same = total - open_total == int(str(ledger["accepted_sum"]))
    table.ratio("the numbers of those accepted and those stored differ", int(not same), 0, at_most=True, form="{:.0f}")
    ended_otherwise = {name for name in system.outcomes() if name != "stored" and not name.startswith("refused:")}
    table.ratio("outcomes other than stored", len(ended_otherwise), 0, at_most=True, form="{:.0f}")
    table.ratio("refused while the queue was full", int(str(ledger["refused"])), 1, form="{:.0f}")


def judge(samples: Sequence[Sample], sizes: Sizes, table: Table) -> None:
    """Compare the end with the baseline, and add the rows."""
    end = window(samples, 1 - WINDOW, sizes)
    for part in samples[-1].parts:
        base = window(samples, FRONT_BASELINE if part == "front" else BASELINE, sizes)
        table.figure(f"{part}, memory at the baseline", [level(base, part, "mib")], "{:.0f} MiB")
        ratio = level(end, part, "mib") / level(base, part, "mib")
        table.ratio(f"{part}, memory at the end, of the baseline", ratio, MEMORY, at_most=True)
        for what in ("files", "tasks"):
            more = lowest(end, part, what) - lowest(base, part, what)
            table.ratio(f"{part}, {what} more than at the baseline", more, SPARE[part], at_most=True, form="{:.1f}")
    calm = [each.p99_ms for each in window(samples, BASELINE, sizes, width=4 * WINDOW)]
    last = [each.p99_ms for each in window(samples, 1 - 4 * WINDOW, sizes, width=4 * WINDOW)]
    table.figure("p99 of answers at the baseline", [sorted(calm)[len(calm) // 2]], "{:.0f} ms")
    table.figure("p99 of answers at the end", [sorted(last)[len(last) // 2]], "{:.0f} ms")


def window(samples: Sequence[Sample], start: float, sizes: Sizes, width: float = WINDOW) -> list[Sample]:
    """Return the samples of a part of the time."""
    first, last = start * sizes.seconds, (start + width) * sizes.seconds
    return [each for each in samples if first <= each.seconds < last] or [samples[-1]]


def level(samples: Sequence[Sample], part: str, what: str) -> float:
    """Return the median of one figure of a part."""
    return statistics.median(asdict(each.parts[part])[what] for each in samples if part in each.parts)


def lowest(samples: Sequence[Sample], part: str, what: str) -> float:
    """Return the least of one figure of a part: what is left of files and tasks between requests and merges."""
    return min(asdict(each.parts[part])[what] for each in samples if part in each.parts)


if __name__ == "__main__":
    main()
