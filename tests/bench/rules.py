"""What a pageview costs a worker with many rules of each kind, of what it costs with one; processor time."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Final

from shared.process import settle_garbage_collector
from tests.bench import steps
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.worker.factories import NOW_MS
from worker.pipeline import Steps, build_steps, process

#: What is measured: everything of a row before it is sent, of values that every cache knows, and the steps alone, of
#: pageviews whose visitors, pages, agents and referrers are new and then come again.
_KNOWN: Final = "all of it, caches full"
_NEW: Final = "steps, caches empty"


def run(table: Table, sizes: Sizes) -> None:
    """Measure and add the rows."""
    logging.disable(logging.WARNING)
    pageviews = steps.stream(None)
    salts = count(1)
    found: dict[tuple[int, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        lookups = {rules: steps.prepare_lookups(Path(directory) / str(rules), rules) for rules in (1, sizes.rules)}
        settle_garbage_collector()  # as the worker does once it has started
        for each in lookups.values():  # imports, and caches of the libraries
            cost_of_new(build_steps(each, lambda: NOW_MS), next(salts))
        for round_number in range(sizes.rounds):
            for rules, each in lookups.items():
                table.progress(f"round {round_number + 1}: {rules:,} rules")
                bound = build_steps(each, lambda: NOW_MS)
                found[rules, _KNOWN].append(steps.measure(bound, pageviews)["all of it, caches full"])
                found[rules, _NEW].append(cost_of_new(bound, next(salts)))
    logging.disable(logging.NOTSET)
    for what in (_KNOWN, _NEW):
        for rules in lookups:
            table.figure(f"worker, µs a pageview, {what}, {rules:,} rules", found[rules, what], "{:.1f}")
    for what in (_KNOWN, _NEW):
        more = ratios(found[sizes.rules, what], found[1, what])
        table.ratio(f"worker, {what}: {sizes.rules:,} rules of each kind, of 1", more, 1.2, at_most=True)


def cost_of_new(bound: Steps, salt: int) -> float:
    """Return the microseconds a pageview of the steps, of a stream whose values are not known yet."""
    pageviews = steps.fresh(steps.stream(None, salt))
    began = time.process_time()
    for each in pageviews:
        process(each, bound)
    return (time.process_time() - began) / len(pageviews) * 1e6
