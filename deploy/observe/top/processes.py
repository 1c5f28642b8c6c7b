"""What the private ports of gateways and workers say: readiness and metrics."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 2.0


@dataclass(frozen=True)
class Process:
    """One process at one moment.  Counters are since its start; a process that does not answer has none."""

    #: Host and port of its private port.
    address: str
    #: `gateway`, `worker`, or empty where nothing answers.
    kind: str = ""
    #: Empty: ready for work; else why not.
    unready: str = "no answer"
    #: Monotonic time of the answer, in seconds.
    at: float = 0.0
    accepted: float = 0.0
    #: Not accepted, by reason.
    refused: Counter[str] = field(default_factory=Counter)
    #: A worker's, by outcome.
    outcomes: Counter[str] = field(default_factory=Counter)
    inserts: float = 0.0
    resident_bytes: float = 0.0
    cpu_seconds: float = 0.0
    registry_age_s: float = 0.0
    waiting: float = 0.0
    #: Why it takes nothing from the queue, empty while it does.
    paused: str = ""


async def look(addresses: Sequence[str]) -> list[Process]:
    """Ask all of these ports (`host:port`) at once; raises nothing."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_look(session, address) for address in addresses)))


async def _look(session: aiohttp.ClientSession, address: str) -> Process:
    try:
        async with session.get(f"http://{address}/readyz") as answer:
            unready = "" if answer.status == 200 else (await answer.text()).strip()[:80]
        async with session.get(f"http://{address}/metrics") as answer:
            text = await answer.text()
        return _read(address, unready, text)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return Process(address)


def _read(address: str, unready: str, text: str) -> Process:
    values: defaultdict[str, float] = defaultdict(float)
    by_label: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] += sample.value
            for label in sample.labels.values():  # those that are read here have one
                by_label[sample.name][label] += int(sample.value)
    return Process(
        address=address,
        kind=next(iter(by_label["hitline_process_info"]), "process"),
        unready=unready,
        at=time.monotonic(),
        accepted=values["hitline_accepted_pageviews_total"],
        refused=by_label["hitline_rejected_total"],
        outcomes=by_label["hitline_outcomes_total"],
        inserts=values["hitline_insert_rows_count"],
        resident_bytes=values["process_resident_memory_bytes"],
        cpu_seconds=values["process_cpu_seconds_total"],
        registry_age_s=values["hitline_registry_age_seconds"],
        waiting=values["hitline_pageviews_waiting"] + values["hitline_rows_waiting"],
        paused=", ".join(name for name, value in by_label["hitline_paused"].items() if value),
    )
