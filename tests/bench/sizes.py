"""How much the benchmarks measure: the usual sizes, and short ones that only show that everything runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class Sizes:
    """What a run measures with."""

    #: Interleaved rounds of every measurement; the table has their medians.
    rounds: int = 3
    #: Seconds of each measurement at full rate, and of the one at a steady rate.
    seconds: float = 4.0
    steady_seconds: float = 12.0
    #: Rows that a worker drains from a full queue, and those of an insert.  The first is a multiple of the second: what
    #: is left over would wait for its age, which is no work.
    rows: int = 160_000
    flush_rows: int = 20_000
    #: Prepared requests of a pageview each, all different.
    requests: int = 30_000
    sites: int = 1_000_000
    #: Different hostnames of these sites that pageviews have.
    hostnames: int = 100_000
    #: Exclusion and spam rules of each kind.
    rules: int = 100_000
    #: Requests in flight at once, and batches of 16 MiB at once.
    in_flight: int = 10_000
    large_batches: int = 64
    #: Lengths of hostile text, and how often each is measured.
    hostile_lengths: tuple[int, ...] = (60, 250, 1_000, 4_000, 15_000, 60_000)
    hostile_rounds: int = 3
    #: How many bodies are measured of those that are hostile as a whole.
    hostile_bodies: int = 1_000


SHORT: Final = Sizes(
    rounds=1, seconds=1.5, steady_seconds=1.5, rows=4_000, flush_rows=1_000, requests=500, sites=2_000, hostnames=500,
    rules=100, in_flight=100, large_batches=2, hostile_lengths=(60,), hostile_rounds=1, hostile_bodies=30,
)  # fmt: skip


def from_environment() -> Sizes:
    """Return the sizes that `make bench` asks for: SHORT=1, ROUNDS=n, SECONDS=n."""
    sizes = SHORT if os.environ.get("SHORT") else Sizes()
    if rounds := os.environ.get("ROUNDS"):
        sizes = replace(sizes, rounds=int(rounds))
    if seconds := os.environ.get("SECONDS"):
        sizes = replace(sizes, seconds=float(seconds), steady_seconds=3 * float(seconds))
    return sizes
