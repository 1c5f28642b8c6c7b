"""The bench of folded outcomes, small: its figures are reached, and the view says the same before and after."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.bench import scale_outcomes
from tests.bench.table import Table

pytestmark = pytest.mark.processes


def test_folding_leaves_few_rows_and_reconcile_reads_the_day(tables: ClickHouseProcess) -> None:
    table = Table()
    scale_outcomes.measure(tables, table, 10_000, days=100)
    # The memory is that of the whole process, which other tests have used before.
    assert [what for what in table.short if "memory" not in what] == []
