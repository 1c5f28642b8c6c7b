"""The schema before it was tuned: the same columns as plain types, without codecs, indexes and partitions, by time.

It is as exact as the tuned one (ReplacingMergeTree, sorted by the same identity in another order), so that both give
the same answers and only what tuning changed is measured.  LZ4 is what ClickHouse takes where nothing is said; it is
named because a server may say something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from deploy.schema import migrations
from tests.bench.analysts import generate

_VIEW: Final = re.compile(
    r"CREATE (?:OR REPLACE VIEW|VIEW IF NOT EXISTS) hitline\.(pageviews|sessions|sessions_between)\b"
)


def fill(run: Callable[[str], str]) -> None:
    """Make the database `untuned` with all of `hitline`'s pageviews, merged."""
    columns = run(
        "SELECT name, replaceRegexpOne(type, '^LowCardinality\\((.*)\\)$', '\\\\1') FROM system.columns"
        " WHERE database = 'hitline' AND table = 'pageviews_raw' ORDER BY position FORMAT TSVRaw"
    )
    run("CREATE DATABASE untuned")
    run(
        f"CREATE TABLE untuned.pageviews_raw ({columns.replace(chr(10), ', ').replace(chr(9), ' ')})"
        " ENGINE = ReplacingMergeTree ORDER BY (timestamp, site_id, session_id, page_id)"
        " SETTINGS default_compression_codec = 'LZ4'"
    )
    for statement in [text for file in migrations.read() for text in file.statements if _VIEW.match(text)]:
        run(instead(statement))
    for month in run("SELECT DISTINCT toYYYYMM(timestamp) FROM hitline.pageviews_raw ORDER BY 1").split():
        run(
            f"INSERT INTO untuned.pageviews_raw ({generate.COLUMNS}) SELECT {generate.COLUMNS}"
            f" FROM hitline.pageviews_raw FINAL WHERE toYYYYMM(timestamp) = {month}"
        )
    run("OPTIMIZE TABLE untuned.pageviews_raw FINAL")


def instead(sql: str) -> str:
    """Return the statement for the untuned database; outcomes are the same for both."""
    return re.sub(r"\bhitline\.(?!outcomes)", "untuned.", sql)


def drop(run: Callable[[str], str]) -> None:
    """Take it away again."""
    run("DROP DATABASE untuned SYNC")
