from __future__ import annotations

import re
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deploy.schema
from shared.pageview import join, pack, parse, unpack
from tests.worker.factories import ANY, NOW_MS, SITE, pageview
from worker.lookups.agents import Agent
from worker.lookups.geo_records import NOWHERE, Location
from worker.lookups.sources import Source
from worker.pipeline import Row, process
from worker.row import COLUMN_TYPES, COLUMNS, to_columns
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer

SIZES = "screen_width", "screen_height", "viewport_width", "viewport_height"
BATCH = uuid.uuid4()
QR = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"


def positioned_rows(rows):
    return [(row, BATCH.bytes, position) for position, row in enumerate(rows)]


def test_columns_are_those_of_the_table_in_its_order():
    sql = (Path(deploy.schema.__path__[0]) / "0001_pageviews.sql").read_text()
    table = sql[sql.index("hitline.pageviews_raw\n(") : sql.index("INDEX batch_id")]
    declared = re.findall(r"^    (\w+) +(\w+(?:\([^)]*\))?)", table, re.MULTILINE)
    for later in sorted(Path(deploy.schema.__path__[0]).glob("*.sql")):
        for alter in re.findall(r"ALTER TABLE hitline\.pageviews_raw\b([^;]*);", later.read_text()):
            for name, kind, before in re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) (\S+) AFTER (\w+)", alter):
                declared.insert([column for column, _ in declared].index(before) + 1, (name, kind))
    assert declared[-1][0] == "stored_at"
    assert list(zip(COLUMNS, COLUMN_TYPES, strict=True)) == declared[:-1]


def test_no_two_parts_of_a_row_fill_the_same_column():
    fields = [name for part in (Page, Referrer, Source, Agent, Location) for name in part._fields]
    assert len(fields) == len(set(fields))


def test_no_rows_are_empty_columns():
    assert to_columns([]) == [[] for _ in COLUMNS]


def test_rows_share_a_hostname_that_is_forgotten_again(steps):
    """Interned texts are kept for good by Python 3.12.0 to 3.12.6, and a wildcard site has any number of names."""
    names = ["".join(parts) for parts in [("seldom.exa", "mple.net")] * 3]
    first, second = (process(pageview(hostname=name), steps).hostname for name in names[:2])
    assert first is second
    assert sys.intern(names[2]) is names[2]


def test_no_row_and_no_column_holds_the_visitor_s_address(steps):
    row = process(pageview(visitor_ip="81.2.69.99"), steps)
    columns = to_columns(positioned_rows([row]))
    assert len(columns) == len(COLUMNS)
    assert "81.2.69" not in repr((row, columns))


def test_rows_share_what_their_pageviews_have_in_common(steps):
    """Tens of thousands wait for ClickHouse: each holds ids and times of its own, and nothing else."""
    sent = [pack(pageview(session_id=uuid.uuid4().bytes, page_id=uuid.uuid4().bytes)) for _ in range(2)]
    first, second = (process(parse(item), steps) for item in unpack(join(sent)))
    own = {name for name in Row._fields if getattr(first, name) is not getattr(second, name)}
    assert own <= {"session_id", "page_id", "timestamp_ms", "received_ms", *SIZES}
    assert not [value for value in first if type(value) is bytes]


def test_numbers_out_of_range_are_bounded(steps):
    good = process(pageview(), steps)
    odd = process(pageview(screen_width=-1, screen_height=70_000, timestamp_ms=2**63, received_ms=-(2**62)), steps)
    columns = dict(zip(COLUMNS, to_columns(positioned_rows([good, odd])), strict=True))
    assert list(columns["screen_width"]) == [1920, 0]
    assert list(columns["screen_height"]) == [1080, 65_535]
    assert columns["timestamp"][1] < 2**63 // 1000
    assert columns["received_at"][1] > -(2**62)


@pytest.fixture
def client(tables):
    client = clickhouse_connect.get_client(dsn=tables.url.replace("http://", "clickhouse+http://"))
    yield client
    client.close()


def insert(client, rows):
    client.insert(
        "hitline.pageviews_raw",
        to_columns(positioned_rows(rows)),
        column_names=COLUMNS,
        column_type_names=COLUMN_TYPES,
        column_oriented=True,
        settings={"max_partitions_per_insert_block": 0},
    )


def test_clickhouse_has_what_was_inserted(client, steps):
    url = f"https://example.com/a%20b?utm_source=n%C3%A4chste&utm_medium=m&hk_qr={QR}"
    given_pageview = pageview(
        url=url,
        referrer="https://www.google.com/x",
        language="de-at",
        timestamp_ms=NOW_MS - 1,
        page_id=uuid.uuid4().bytes,
    )
    row = process(given_pageview, steps)
    nowhere = process(pageview(), steps)
    assert isinstance(nowhere, Row)
    insert(client, [row, nowhere._replace(location=NOWHERE)])
    first, second = client.query(
        "SELECT * EXCEPT stored_at FROM hitline.pageviews_raw ORDER BY timestamp"
    ).named_results()
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(tzinfo=None)
    assert first == {
        "site_id": uuid.UUID(bytes=SITE.site_id), "hostname": "example.com",
        "timestamp": at - timedelta(milliseconds=1),
        "received_at": at, "session_id": uuid.UUID(bytes=b"s" * 16), "visitor_id": uuid.UUID(int=0),
            "page_id": uuid.UUID(bytes=given_pageview.page_id),
        "path": "/a%20b", "query": url.partition("?")[2], "referrer": "https://www.google.com/x",
        "referrer_host": "google.com", "source": "nächste", "channel": "campaign",
        "utm_source": "nächste", "utm_medium": "m", "utm_campaign": "", "utm_term": "",
        "utm_content": "", "qr_id": uuid.UUID(QR), "user_agent": given_pageview.user_agent, "browser": "Firefox",
        "browser_version": "140.0", "os": "Linux", "os_version": "", "device": "desktop", "is_bot": False,
        "bot_kind": "",
        "language": "de-AT", "country": "GB", "region": "England", "city": "London", "provider": "Andrews & Arnold Ltd",
        "asn": 20712, "asn_org": "Andrews & Arnold Ltd", "screen_width": 1920, "screen_height": 1080,
        "viewport_width": 1900, "viewport_height": 900, "client_id": uuid.UUID(bytes=b"c" * 16), "batch_id": BATCH,
        "position": 0,
    }  # fmt: skip
    assert (second["qr_id"], second["country"], second["asn"], second["position"]) == (None, "", 0, 1)


@given(st.lists(ANY.map(lambda kept: kept._replace(hostname="example.com", dnt=False)), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_kept_pageview_is_a_row_that_clickhouse_takes(client, steps, pageviews):
    ends = [process(one._replace(page_id=uuid.uuid4().bytes), steps) for one in pageviews]
    rows = [end for end in ends if isinstance(end, Row)]
    if rows:
        insert(client, rows)
        client.command("SELECT count() FROM hitline.pageviews")
        client.command("TRUNCATE TABLE hitline.pageviews_raw")
