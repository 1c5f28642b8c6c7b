"""Small sites are counted together, by which their numbers do not change."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import many
from deploy.report.figures import Period, Report
from deploy.report.many import Site
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.deploy.report.counted import Days
from tests.deploy.report.test_reading import compare
from tests.deploy.rollups import visits

FIRST, LAST = date(2026, 3, 14), date(2026, 3, 20)
#: Two in one time zone, and one in another.
DERIVING = list(visits.FEW)[1]
SITES = {**visits.PAIR, DERIVING: "Australia/Lord_Howe"}


def site(number: int, pageviews: int, zone: str = "UTC", *, derives: bool = False) -> Site:
    return Site(uuid.UUID(int=number), f"{number}.example", Period(FIRST, LAST, zone), pageviews, derives)


def numbers(sites: list[Site], top: int = 10) -> list[list[int]]:
    return [[each.site_id.int for each in group] for group in many.groups(sites, top)]


def test_small_sites_of_a_time_zone_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_SITES", 3)
    monkeypatch.setattr(many, "_PAGEVIEWS", 100)
    monkeypatch.setattr(many, "_SMALL", 60)
    assert numbers([site(1, 5), site(2, 5, "Asia/Kolkata"), site(3, 5)]) == [[2], [1, 3]]
    assert numbers([site(number, 5) for number in range(7)]) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers([site(1, 60), site(2, 40), site(3, 1)]) == [[1, 2], [3]]
    assert numbers([site(1, 5), site(2, 61), site(3, 5)]) == [[2], [1, 3]]
    assert numbers([site(1, 5), site(2, 5, derives=True), site(3, 5)]) == [[2], [1, 3]]
    assert numbers([]) == []


def test_long_rankings_and_periods_are_counted_for_fewer_sites_at_once() -> None:
    sites = [site(number, 5) for number in range(40)]
    assert list(map(len, numbers(sites))) == [40]
    assert list(map(len, numbers(sites, top=1000))) == [10] * 4
    years = Period(date(2000, 1, 1), date(2026, 1, 1), "UTC")
    assert list(map(len, numbers([each._replace(period=years) for each in sites]))) == [10] * 4
    centuries = Period(date(1700, 1, 1), date(2026, 1, 1), "UTC")
    assert list(map(len, numbers([each._replace(period=centuries) for each in sites[:2]]))) == [1, 1]


@pytest.fixture
def stored(tables: ClickHouseProcess) -> list[visits.Row]:
    visits.register(tables, SITES)
    rows = visits.make(600, seed=4, first=datetime(2026, 3, 8, tzinfo=UTC), days=13, sites=SITES)
    one, other = ([row for row in rows if row["site_id"] == str(each)] for each in visits.PAIR)
    for mine, theirs in zip(one[:50], other, strict=False):
        mine["session_id"] = theirs["session_id"]
    of_one = [row for row in rows if row["site_id"] == str(DERIVING)]
    rows = [row for row in rows if row["site_id"] != str(DERIVING)] + visits.derive(of_one[::2], 4) + of_one[1::2]
    visits.insert(tables, rows)
    visits.insert(tables, rows[:40])  # twice, which must not show
    kept: visits.Stored = {}
    visits.store(kept, rows)
    return list(visits.shown(kept).values())


@pytest.mark.parametrize("small", [20_000, 250], ids=["all small", "some small"])
def test_the_numbers_are_those_of_the_pageviews(
    tables: ClickHouseProcess, stored: list[visits.Row], monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    """Also of ids that two sites share, of a site without any pageview, and of one that derives sessions."""
    monkeypatch.setattr(many, "_SMALL", small)
    nobody = uuid.UUID(int=1)
    zones = {**SITES, nobody: "Asia/Kolkata"}
    shares = {each: sum(row["site_id"] == str(each) for row in stored) for each in zones}
    sites = [
        Site(each, str(each), Period(FIRST, LAST, zone), shares[each], each == DERIVING) for each, zone in zones.items()
    ]

    async def collect() -> list[Report]:
        client = ClickHouse(tables.url, "hitline tests")
        try:
            await roll_up(client)
            return [found async for _, found in many.collect_many(client, sites, with_bots=False, top=1000)]
        finally:
            await client.close()

    reports = {found.site: found for found in parts.run_apart(collect)}
    assert reports.keys() == {str(each) for each in zones}
    for each, zone in zones.items():
        found, rows = reports[str(each)], [row for row in stored if row["site_id"] == str(each)]
        assert rows or each == nobody
        days = Days(rows, zone, FIRST, LAST)
        assert not rows or days.rows
        if rows:
            compare(found.now, days, with_bots=False, tops=True)
            compare(found.before, days.before(rows), with_bots=False, tops=False)
        else:
            assert found.now.totals.pageviews == 0


def test_all_sites_are_shown_by_name_in_every_form(hitline: Hitline, stored: list[visits.Row]) -> None:
    names = sorted(f"{each.hex[-4:]}.example" for each in SITES)
    period = ("--from", str(FIRST), "--to", str(LAST), "--top", "2")
    every = json.loads(hitline("report", "--all", *period, "--json").stdout)
    assert [each["site"] for each in every] == names
    named = json.loads(hitline("report", *reversed(names), *period, "--json").stdout)
    for each in (*every, *named):
        del each["made_at"]
    assert named == every[::-1]
    assert hitline("report", "--all", *period, "--csv").stdout == hitline("report", *names, *period, "--csv").stdout
    assert hitline("report", "--all", *period).stdout == hitline("report", *names, *period).stdout
    assert json.loads(hitline("report", "--all", "--from", "2020-01-01", "--to", "2020-01-02", "--json").stdout) == []


def test_sites_of_one_name_are_shown_by_id(hitline: Hitline, tables: ClickHouseProcess) -> None:
    """Large ones and small ones are counted in another order."""
    ids = sorted(SITES, key=str)
    values = ", ".join(f"('{each}', 'same.example', [], '{SITES[each]}', 1, now64(6))" for each in ids)
    names = "site_id, name, hostnames, timezone, version, created_at"
    parts.execute(tables, f"INSERT INTO hitline_control.sites ({names}) VALUES {values}")
    rows = visits.make(300, seed=5, first=datetime(2026, 3, 14, tzinfo=UTC), days=7, sites=SITES)
    visits.insert(tables, rows)
    found = json.loads(hitline("report", "--all", "--from", str(FIRST), "--to", str(LAST), "--json").stdout)
    own = [
        json.loads(hitline("report", str(each), "--from", str(FIRST), "--to", str(LAST), "--json").stdout)
        for each in ids
    ]
    assert [each["totals"] for each in found] == [each["totals"] for each in own]


def test_no_error_of_an_output_is_clickhouses(
    hitline: Hitline, stored: list[visits.Row], tables: ClickHouseProcess, tmp_path: Path
) -> None:
    program = shlex.join([sys.executable, "-c", "from deploy.cli import main; main()"])
    command = f"{program} report --all --from {FIRST} --to {LAST} --top 1"

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        environment = parts.make_env(tmp_path, tables)
        return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60)

    for form in ("", " --json", " --csv"):
        assert "ClickHouse" not in shell(f"{command}{form} | true").stderr
        closed = shell(f"{command}{form} >&-")
        assert (closed.returncode, closed.stderr) == (0, "")
    full = shell(f"ulimit -f 1; {command} --json")
    assert full.returncode == 1
    assert full.stdout == ""
    assert "set TMPDIR" in full.stderr
