"""docs/queries.md: each query and its rollup answer what a count in Python does, in zones that are not whole hours.

A part of the sessions is derived, as those of forwarders that send none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import documents, parts
from tests.deploy.rollups import visits
from tests.queries_in_clickhouse import (
    OF_OUTCOMES,
    OF_PAGEVIEWS,
    PERIODS,
    QUERIES,
    SITES,
    ZONES,
    ask,
    compare,
    computed,
    make_rows,
    of_last_seconds,
)
from tests.queries_in_python import ANSWERS, BY_DAY, Asked

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def pageviews(clickhouse: ClickHouseProcess, _schema: None) -> Iterator[dict[uuid.UUID, list[visits.Row]]]:
    """Store them, some of them twice and some of them corrected, and compute rollups."""
    parts.empty_tables(clickhouse)
    parts.execute(clickhouse, "SYSTEM STOP MERGES hitline.pageviews_raw")
    visits.register(clickhouse, SITES)
    found = {}
    for number, site in enumerate(SITES):
        rows = make_rows(site, seed=number, derived=True)
        stored: visits.Stored = {}
        corrected = [{**row, "path": "/corrected", "is_bot": not row["is_bot"]} for row in rows[100:130]]
        last = [[row] for row in of_last_seconds(SITES[site], rows)]
        for some in (rows, rows[:200], corrected, *last):
            visits.insert(clickhouse, some)
            visits.store(stored, some)
        found[site] = list(visits.shown(stored).values())
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.outcomes_raw (batch_id, minutes, sites, clients, outcomes, counts) SELECT"
        f" generateUUIDv4(), [now(), now()], ['{next(iter(SITES))}', '{next(iter(SITES))}'],"
        " [generateUUIDv4(), generateUUIDv4()], ['stored', 'dnt'], [7, 2]",
    )
    computed(clickhouse)
    yield found
    parts.execute(clickhouse, "SYSTEM START MERGES hitline.pageviews_raw")
    parts.empty_tables(clickhouse)


def test_each_has_an_answer_in_python() -> None:
    assert [query.number for query in QUERIES] == list(range(1, len(QUERIES) + 1))
    assert {query.number for query in OF_PAGEVIEWS} == set(ANSWERS)
    assert {query.number for query in QUERIES if query.rollup and not query.equal} == set(BY_DAY)


@pytest.mark.parametrize("site", SITES, ids=ZONES)
@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("query", OF_PAGEVIEWS, ids=[query.title for query in OF_PAGEVIEWS])
def test_it_answers_what_python_counts(
    clickhouse: ClickHouseProcess,
    pageviews: dict[uuid.UUID, list[visits.Row]],
    query: documents.Query,
    period: str,
    site: uuid.UUID,
) -> None:
    asked = Asked(pageviews[site], SITES[site], *PERIODS[period])
    wanted = compare(clickhouse, query, asked, site)
    # The pages before and in spring are all there are, but for the corrected ones.
    assert wanted or query.number == 18
    if query.rollup and not query.equal:
        assert BY_DAY[query.number](asked) != wanted, "the data tell both apart"


@pytest.mark.parametrize("site", SITES, ids=ZONES)
@pytest.mark.parametrize("period", PERIODS)
def test_pageviews_between_has_the_same(
    clickhouse: ClickHouseProcess, pageviews: dict[uuid.UUID, list[visits.Row]], period: str, site: uuid.UUID
) -> None:
    (first, last), zone = PERIODS[period], SITES[site]
    asked = Asked(pageviews[site], zone, first, last)
    given = f"site = '{site}', zone = '{zone}', from = '{first}', to = '{last}'"
    counts = ask(clickhouse, f"SELECT countIf(NOT is_bot), countIf(is_bot) FROM hitline.pageviews_between({given})")
    assert counts == [(len(asked.people), len(asked.bots))]


def test_what_became_of_what_was_sent(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    assert ask(clickhouse, QUERIES[OF_OUTCOMES - 1].sql, site=next(iter(SITES))) == [("stored", 7), ("dnt", 2)]


def test_sessions_between_refuses_a_moment(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    """A moment would reach the view as its wall clock without the time zone."""
    start = "toDateTime('2026-03-06 00:00:00', 'Asia/Kolkata')"
    site = next(iter(SITES))
    with pytest.raises(AssertionError, match="from"):
        ask(
            clickhouse,
            "SELECT count() FROM hitline.sessions_between"
            f"(site = '{site}', zone = 'Asia/Kolkata', from = {start}, to = '2026-03-11')",
        )


def test_freshness(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    assert [row[1] for row in ask(clickhouse, documents.named("fresh"))] == list(ZONES)
