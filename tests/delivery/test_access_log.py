"""A whole access log through gateway, queue and two workers: every line is one row, counted another way."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import pytest

from tests import access_log, load, services
from tests.services import System


@pytest.mark.parametrize("number", [600, pytest.param(10_000, marks=pytest.mark.full)])
async def test_every_line_of_an_access_log_becomes_one_row(bare: System, number: int) -> None:
    system = bare
    pageviews = [access_log.to_pageview(line) for line in access_log.lines(number)[:number]]
    system.add_worker()
    system.add_worker()

    ledger = await load.post_all(system.port, system.token, pageviews, in_flight=500)

    assert (len(ledger.accepted), ledger.unknown, ledger.refused) == (len(pageviews), [], [])
    assert system.wait_for_outcomes(len(pageviews)) == {"stored": len(pageviews)}
    assert services.count(system.clickhouse, "pageviews_raw") == len(pageviews)
    assert services.count(system.clickhouse) == len(pageviews)
    assert counted(system, "path") == Counter(urlsplit(each["url"]).path or "/" for each in pageviews)
    assert counted(system, "toString(toDate(timestamp))") == Counter(each["timestamp"][:10] for each in pageviews)
    assert counted(system, "user_agent") == Counter(each["user_agent"] for each in pageviews)
    assert counted(system, "toString(page_id)") == Counter(each["page_id"] for each in pageviews)


def counted(system: System, column: str) -> Counter[str]:
    sql = f"SELECT {column} AS value, count() AS number FROM hitline.pageviews GROUP BY value"
    return Counter({row["value"]: int(row["number"]) for row in services.rows(system.clickhouse, sql)})
