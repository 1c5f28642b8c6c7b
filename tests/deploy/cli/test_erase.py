"""`hitline erase` and `hitline retain` as commands; what they do is proven in tests/deploy/rollups."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli import main
from deploy.erasure.conditions import Erasure
from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits

SITE = next(iter(visits.PAIR))


@pytest.fixture
def rows(tables: ClickHouseProcess) -> list[visits.Row]:
    visits.register(tables, visits.PAIR)
    rows = visits.make(60, seed=1, days=2, sites=visits.PAIR)
    visits.insert(tables, rows)
    return rows


def test_a_condition_is_required(hitline: Hitline) -> None:
    assert "nothing to erase" in hitline("erase", "--yes", expect=1).stderr
    assert "--from must be before" in hitline("erase", "--from", "2026-02-02", "--to", "2026-02-02", expect=1).stderr
    assert "there is no site" in hitline("erase", "--site", "none.example", "--yes", expect=1).stderr


def test_times_far_away_are_accepted(hitline: Hitline, rows: list[visits.Row]) -> None:
    output = hitline("erase", "--from", "0001-01-01", "--to", "9999-12-31", "--dry-run").stdout
    assert f"{len(rows)} pageviews" in output
    assert "0 pageviews" in hitline("erase", "--from", "9998-01-01", "--dry-run").stdout
    ends = ("--from", "0001-01-01T00:00:00+14:00", "--to", "9999-12-31T23:59:59-14:00")
    assert f"{len(rows)} pageviews" in hitline("erase", *ends, "--dry-run").stdout


def test_a_path_is_meant_in_each_of_its_spellings(
    hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]
) -> None:
    spellings = ["/caf%C3%A9", "/café", "/caf%c3%a9"]  # the last two are from before paths were canonical
    visits.insert(tables, [{**rows[0], "page_id": str(uuid.uuid4()), "path": path} for path in spellings])
    for given, found in (("/café", 2), ("/%63afé", 2), ("/x/../caf%c3%a9", 2), ("/caf%c3%a9", 3), ("/caf%C3*", 1)):
        output = hitline("erase", "--path", given, "--dry-run").stdout
        assert f"{found} pageview" in output, given
    assert "0 pageviews" in hitline("erase", "--path", "/none/..*", "--dry-run").stdout


def test_neither_a_dry_run_nor_answering_no_changes_anything(
    hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row], tmp_path: Path
) -> None:
    assert f"{len(rows)} pageviews" in hitline("erase", "--from", "2026-01-01", "--dry-run").stdout
    env = parts.make_env(tmp_path, tables)
    asked = parts.in_thread(lambda: CliRunner().invoke(main, ["erase", "--from", "2026-01-01"], env=env, input="n\n"))
    assert asked.exit_code == 1
    assert f"Erase {len(rows)} pageviews" in asked.output
    assert services.count(tables) == len(rows)


def test_a_removed_site_and_a_site_by_its_id(
    hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]
) -> None:
    first, second = list(visits.PAIR)[:2]
    of_first = sum(row["site_id"] == str(first) for row in rows)
    hitline("site", "remove", f"{first.hex[-4:]}.example")
    assert f"{of_first} pageviews erased" in hitline("erase", "--site", f"{first.hex[-4:]}.example", "--yes").stdout
    hitline("erase", "--site", str(second), "--yes")
    assert services.count(tables, where=f"site_id IN ('{first}', '{second}')") == 0


def test_all_conditions_must_match(hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]) -> None:
    hitline("erase", "--site", str(SITE), "--path", "/a", "--from", "2026-03-28T00:00:00+02:00", "--yes")
    gone = [
        row for row in rows
        if row["site_id"] == str(SITE) and row["path"] == "/a" and row["timestamp"] >= "2026-03-27 22:00"
    ]  # fmt: skip
    assert services.count(tables) == len(rows) - len(gone)


def test_it_ends_while_pageviews_of_the_same_days_arrive(
    hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]
) -> None:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            fresh = [{**row, "page_id": str(uuid.uuid4()), "path": "/kept"} for row in rows[:20]]
            visits.insert(tables, fresh)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        assert "none left" in hitline("erase", "--path", "/a", "--yes").stdout
    finally:
        stop.set()
        thread.join()
    assert services.count(tables, where="path = '/a'") == 0


def test_an_empty_option_is_refused(hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]) -> None:
    assert "--path is empty" in hitline("erase", "--site", str(SITE), "--path", "", "--yes", expect=1).stderr
    assert "--site is empty" in hitline("erase", "--site", "", "--path", "/a", "--yes", expect=1).stderr
    assert "every path" in hitline("erase", "--path", "*", "--yes", expect=1).stderr
    assert services.count(tables) == len(rows)
    for empty in (Erasure(sites=()), Erasure(sites=(SITE,), path=""), Erasure()):
        with pytest.raises(ValueError, match="erasure"):
            empty.condition()


def test_a_name_covers_the_removed_sites_that_had_it(
    hitline: Hitline, tables: ClickHouseProcess, rows: list[visits.Row]
) -> None:
    name = f"{SITE.hex[-4:]}.example"
    hitline("site", "remove", name)
    hitline("site", "add", name)
    asked = hitline("erase", "--site", name, "--yes")
    assert "covers 2 sites of that name, 1 of them removed" in asked.stderr
    assert services.count(tables, where=f"site_id = '{SITE}'") == 0
