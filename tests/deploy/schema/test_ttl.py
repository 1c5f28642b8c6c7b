"""What ClickHouse deletes by itself, and after how long."""

from __future__ import annotations

import re

from deploy.schema import migrations
from worker.lookups.salts import KEPT


def test_nothing_is_deleted_by_the_schema_but_salts_and_records_of_runs() -> None:
    """A table's TTL in another unit, or of another column, deletes too soon or keeps what must go."""
    found = {
        table: ttl
        for migration in migrations.read()
        for statement in migration.statements
        for table in re.findall(r"(?:CREATE|ALTER) TABLE (?:IF NOT EXISTS )?(\S+)", statement)
        for ttl in re.findall(r"(?:^|\s)TTL ([^\n]+)", statement)
    }
    assert found == {
        "hitline.rollup_runs": "toDateTime(finished_at) + INTERVAL 90 DAY",
        # From the beginning of the day that a salt is for.
        "hitline_control.salts": f"toDateTime(day, 'UTC') + INTERVAL {1 + KEPT} DAY",
    }
