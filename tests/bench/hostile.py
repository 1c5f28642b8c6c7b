"""What the most expensive input costs: each field filled with hostile text of several kinds and lengths.

Run with `make bench ONLY=hostile` or `python -m tests.bench.hostile [LOG.gz]`.  Every pageview is new to all caches,
also the median one of the stream (of an access log where one is given): like is compared with like.  The gateway's
part is what it does with one item, from JSON to a packed pageview, also of what it rejects; the worker's is unpacking
and all steps, of what the gateway accepted.  Processor time, the best of several rounds; a body's limit bounds the
lengths.
"""

from __future__ import annotations

import gc
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateway.ids import Ids
from gateway.intake import Intake
from gateway.replies import Rejected
from gateway.validate import parse_json
from shared import pageview as wire
from shared.clocks import Clocks
from shared.pageview import QueuedPageview
from shared.registry import Client
from tests.bench.hostile_bodies import Make, bodies
from tests.bench.hostile_texts import BODY_BYTES, FIELDS, KINDS, body, hostile
from tests.bench.sizes import Sizes
from tests.bench.steps import prepare_lookups, stream
from tests.bench.table import Table
from tests.worker.factories import NOW_MS, FakeRegistry
from worker.pipeline import Steps, build_steps, process

REACH: Final = 10.0
#: Pageviews of the stream whose median is taken.
SAMPLE: Final = 2_000
#: How many of them are measured in each turn with hostile text, and how many turns there are in a round.
_BESIDE: Final = 15
_TURNS: Final = 4
#: Kinds of a field and length that are measured so, of gateway and worker.
_AGAIN: Final = 2

#: Fields that are filled at once in the end, each with the worst text that was found for it, of this length at most.
_MIXED: Final = ("url", "referrer", "user_agent", "language")
_MIXED_LENGTH: Final = 15_000


class Cost(NamedTuple):
    """Microseconds of processor time; the worker's is 0 for what the gateway rejects."""

    gateway: float
    worker: float

    def over(self, other: Cost) -> Cost:
        """Return the ratios."""
        return Cost(self.gateway / other.gateway, self.worker / other.worker)


_ORDINARY: Final = body({"referrer": "https://example.org/"})


_CLIENT: Final = Client(b"c" * 16, "forwarder")
_INTAKE: Final = Intake(FakeRegistry(), None, None, None, Ids("a secret"), Clocks())  # type: ignore[arg-type]  # tokens are not asked for


def gateway(sent: bytes) -> bytes | None:
    """Do the gateway's part; returns the packed pageview, None for what is rejected."""
    try:
        return _INTAKE.pack(parse_json(sent), _CLIENT, NOW_MS, None)
    except Rejected:
        return None


def worker(packed: bytes, steps: Steps) -> None:
    """Do the worker's part."""
    (item,) = wire.unpack(wire.join([packed]))
    process(wire.parse(item), steps)


def cost(sent: bytes, steps: Steps) -> Cost:
    """Measure one body once, behind an ordinary one, so that making the body does not count through emptied caches."""
    worker(gateway(_ORDINARY) or b"", steps)
    began = time.process_time_ns()
    packed = gateway(sent)
    between = time.process_time_ns()
    if packed is not None:
        worker(packed, steps)
    after = time.process_time_ns()
    return Cost((between - began) / 1e3, (after - between) / 1e3 if packed is not None else 0.0)


class Usual:
    """The median pageview of the stream: all are different, so caches help in none."""

    def __init__(self, steps: Steps, log: Path | None) -> None:
        self._steps = steps
        unlike = {(one.user_agent, one.referrer, one.url): one for one in stream(log)}
        self._pageviews = cycle(list(unlike.values())[:SAMPLE])
        self._numbers = count()

    def cost(self, pageviews: int) -> Cost:
        """Return the median cost of the next ones."""
        return _median(
            [cost(self._body(next(self._pageviews), next(self._numbers)), self._steps) for _ in range(pageviews)]
        )

    def beside(self, other: Callable[[], Cost], rounds: int) -> Cost:
        """Return what the other costs, of what the next ones do, measured in turns."""
        return _median([other().over(self.cost(_BESIDE)) for _ in range(_TURNS * rounds)])

    @staticmethod
    def _body(one: QueuedPageview, number: int) -> bytes:
        return orjson.dumps(
            {
                "url": f"{one.url}{'&' if '?' in one.url else '?'}n={number}",
                "timestamp": "2026-05-28T20:00:00Z",
                "visitor_ip": one.visitor_ip,
                "user_agent": f"{one.user_agent} {number}",
                "referrer": one.referrer and f"{one.referrer}?{number}",
                "language": one.language,
            }
        )


def measure(name: str, kind: str, length: int, steps: Steps, salts: Iterator[int]) -> Cost:
    """Measure one kind of text in a field once."""
    sent = body(FIELDS[name](hostile(kind, length, next(salts))))
    if len(sent) > BODY_BYTES:
        sent = body(FIELDS[name](hostile(kind, _shorter(length, len(sent)), next(salts))))
    return cost(sent, steps)


def worst(
    name: str, length: int, rounds: int, usual: Usual, steps: Steps, salts: Iterator[int]
) -> tuple[Cost, tuple[str, str]]:
    """Return the highest cost of a field's kinds at a length, of the usual one, and which kinds those are.

    The most expensive ones are measured again, in turns with usual pageviews: the highest of many measurements is often
    one that was disturbed, and a machine's speed changes within seconds.
    """
    found = {kind: _least([measure(name, kind, length, steps, salts) for _ in range(rounds)]) for kind in KINDS}
    again = {kind for part in (0, 1) for kind in sorted(found, key=lambda kind: found[kind][part])[-_AGAIN:]}
    ratios = {kind: usual.beside(partial(measure, name, kind, length, steps, salts), rounds) for kind in again}
    at_gateway = max(ratios, key=lambda kind: ratios[kind].gateway)
    at_worker = max(ratios, key=lambda kind: ratios[kind].worker)
    return Cost(ratios[at_gateway].gateway, ratios[at_worker].worker), (at_gateway, at_worker)


def _least(costs: Sequence[Cost]) -> Cost:
    return Cost(min(one.gateway for one in costs), min(one.worker for one in costs))


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(one.gateway for one in costs), statistics.median(one.worker for one in costs))


class Worst(NamedTuple):
    """The most expensive input of a field, for the gateway or the worker."""

    cost: float
    field: str
    kind: str
    length: int


def mixed(worst_of: Iterable[Worst], salts: Iterator[int]) -> bytes:
    """Return a body with the worst input of every field at once."""
    fields: dict[str, str] = {}
    for each in worst_of:
        fields |= FIELDS[each.field](hostile(each.kind, min(each.length, _MIXED_LENGTH), next(salts)))
    sent = body(fields)
    share = (BODY_BYTES - 1_024) / len(sent)
    return sent if share >= 1 else body({name: text[: int(len(text) * share)] for name, text in fields.items()})


def note(worst_of: dict[str, Worst], found: Worst) -> None:
    """Keep the worst input of each field of a pageview; those that are rejected as a whole are no part of a mix."""
    name = found.field.partition(":")[0]
    if name in _MIXED and found.cost > worst_of.get(name, found._replace(cost=0)).cost:
        worst_of[name] = found


def _shorter(length: int, size: int) -> int:
    """Return how many characters fit into a body when `length` of them make `size` bytes."""
    return int(length * (BODY_BYTES - 1_024) / size)


def run(table: Table, sizes: Sizes, log: Path | None = None) -> None:
    """Print the worst kind of every field and length, and whether the bound holds for all."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        steps = build_steps(prepare_lookups(Path(directory) / "state", 1_000), lambda: NOW_MS)
        gc.collect()
        gc.freeze()
        gc.disable()
        usual = Usual(steps, log)
        median = usual.cost(SAMPLE)
        table.note(
            "median pageview, new to all caches", f"{median.gateway:.0f} µs gateway, {median.worker:.0f} µs worker"
        )
        salts = iter(range(100_000, 10**9))
        highest = Cost(0, 0)
        worst_at_gateway: dict[str, Worst] = {}
        worst_at_worker: dict[str, Worst] = {}
        for name in FIELDS:
            for length in sizes.hostile_lengths:
                gc.collect()
                table.progress(f"{name}, {length:,} characters")
                ratio, kinds = worst(name, length, sizes.hostile_rounds, usual, steps, salts)
                note(worst_at_gateway, Worst(ratio.gateway, name, kinds[0], length))
                note(worst_at_worker, Worst(ratio.worker, name, kinds[1], length))
                highest = Cost(max(highest.gateway, ratio.gateway), max(highest.worker, ratio.worker))
                table.note(
                    f"{name}, {length:,} characters",
                    f"gateway {ratio.gateway:5.1f} ({kinds[0]}), worker {ratio.worker:5.1f} ({kinds[1]})",
                )
        groups = _groups(table, sizes, usual, steps, salts)
        gc.collect()
        mix = Cost(
            usual.beside(lambda: cost(mixed(worst_at_gateway.values(), salts), steps), sizes.hostile_rounds).gateway,
            usual.beside(lambda: cost(mixed(worst_at_worker.values(), salts), steps), sizes.hostile_rounds).worker,
        )
        gc.enable()
    for part, ratios in {"all": highest, "every field at once": mix, **groups}.items():
        table.ratio(f"gateway, worst of {part}, of the median", ratios.gateway, REACH, at_most=True)
        table.ratio(f"worker, worst of {part}, of the median", ratios.worker, REACH, at_most=True)


def _groups(table: Table, sizes: Sizes, usual: Usual, steps: Steps, salts: Iterator[int]) -> dict[str, Cost]:
    """Print what each of `bodies` costs; returns the highest of each group."""
    groups: dict[str, Cost] = {}
    for group, kind, make in islice(bodies(), sizes.hostile_bodies):
        gc.collect()
        ratio = usual.beside(partial(_cost_of_next, make, steps, salts), sizes.hostile_rounds)
        highest = groups.get(group, Cost(0, 0))
        groups[group] = Cost(max(highest.gateway, ratio.gateway), max(highest.worker, ratio.worker))
        table.note(f"{group}, {kind}", f"gateway {ratio.gateway:5.1f}, worker {ratio.worker:5.1f}")
    return groups


def _cost_of_next(make: Make, steps: Steps, salts: Iterator[int]) -> Cost:
    return cost(make(next(salts)), steps)


if __name__ == "__main__":
    run(Table(), Sizes(), Path(sys.argv[1]) if len(sys.argv) > 1 else None)
