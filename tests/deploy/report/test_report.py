"""`hitline report`: its numbers are those of a count in Python, in every form that it has."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report.formatting import change, compact, length, shown
from deploy.report.names import name_of
from deploy.report.page import chart
from deploy.report.rankings import RANKINGS
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.deploy.report.conftest import NAME, SITE, Month
from tests.deploy.rollups import visits

PERIOD = ("--from", "2026-03-11", "--to", "2026-03-20")


def totals(rows: list[visits.Row]) -> dict[str, Any]:
    sessions: dict[str, list[visits.Row]] = defaultdict(list)
    for row in rows:
        sessions[row["session_id"]].append(row)
    times = [sorted(visits.at(row) for row in each) for each in sessions.values()]
    return {
        "pageviews": len(rows),
        "sessions": len(sessions),
        "pages_per_session": pytest.approx(len(rows) / len(sessions)),
        "bounce_rate": pytest.approx(sum(len(each) == 1 for each in sessions.values()) / len(sessions)),
        "seconds": pytest.approx(sum((each[-1] - each[0]).total_seconds() for each in times) / len(times)),
    }


def ranking(rows: list[visits.Row], name: str) -> list[dict[str, Any]]:
    views = Counter(row[name] for row in rows)
    sessions: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sessions[row[name]].add(row["session_id"])
    order = sorted(views, key=lambda value: (-views[value], value.encode()))
    return [{"value": v, "pageviews": views[v], "sessions": len(sessions[v])} for v in order if v or name == "path"]


def test_json_says_what_python_counts(hitline: Hitline, month: Month) -> None:
    found = json.loads(hitline("report", NAME, *PERIOD, "--json").stdout)
    rows = month.between("2026-03-11", "2026-03-20")
    assert found["totals"] == totals(rows)
    assert found["before"]["totals"] == totals(month.between("2026-03-01", "2026-03-10"))
    assert found["timezone"] == "Asia/Kolkata"
    days = Counter(month.day(row) for row in rows)
    assert {point["start"]: point["pageviews"] for point in found["series"] if point["pageviews"]} == dict(days)
    assert len(found["series"]) == 10
    assert found["top"]["countries"][0]["name"] == "Germany"
    for heading, column in (("pages", "path"), ("devices", "device"), ("systems", "os"), ("utm_sources", "utm_source")):
        for top in found["top"][heading]:
            top.pop("name", None)
        assert found["top"][heading] == ranking(rows, column)[:10], heading
    outside = [row for row in rows if row["referrer_host"] != row["hostname"]]
    assert found["top"]["referrers"] == ranking(outside, "referrer_host")[:10]


def test_a_day_is_drawn_by_the_hour_and_bots_are_counted_when_asked_for(hitline: Hitline, month: Month) -> None:
    found = json.loads(hitline("report", str(SITE), "--from", "2026-03-15", "--to", "2026-03-15", "--json").stdout)
    assert [point["start"] for point in found["series"]] == [f"2026-03-15 {hour:02}:00" for hour in range(24)]
    assert sum(point["pageviews"] for point in found["series"]) == len(month.between("2026-03-15", "2026-03-15"))
    every = json.loads(hitline("report", NAME, "--to", "2026-03-31", "--days", "40", "--bots", "--json").stdout)
    assert every["totals"]["pageviews"] == len(month.rows)


def test_an_id_that_a_bot_and_a_person_share_is_two_sessions_everywhere(
    hitline: Hitline, month: Month, tables: ClickHouseProcess
) -> None:
    shared = [{**row, "is_bot": not row["is_bot"], "page_id": str(uuid.uuid4())} for row in month.rows[:40]]
    visits.insert(tables, shared)
    day = month.day(month.rows[0])
    rows = [row for row in month.rows + shared if month.day(row) == day]
    found = json.loads(hitline("report", NAME, "--from", day, "--to", day, "--bots", "--json").stdout)
    sessions = len({(row["session_id"], row["is_bot"]) for row in rows})
    assert sessions > len({row["session_id"] for row in rows})
    assert found["totals"]["sessions"] == sessions
    by_day = json.loads(hitline("report", NAME, "--to", day, "--days", "3", "--bots", "--json").stdout)
    assert by_day["series"][-1]["sessions"] == sessions


def test_csv_has_the_same_numbers_and_no_formula(hitline: Hitline, month: Month) -> None:
    arguments = ("report", NAME, "--from", "2026-03-01", "--to", "2026-03-31", "--top", "50")
    rows = list(csv.DictReader(io.StringIO(hitline(*arguments, "--csv").stdout)))
    found = json.loads(hitline(*arguments, "--json").stdout)
    assert int(rows[0]["pageviews"]) == found["totals"]["pageviews"]
    assert {row["site"] for row in rows} == {NAME}
    assert {row["section"] for row in rows} >= {
        "series",
        "series_before",
        "total_before",
        "bots_total",
        "bots",
        "cities",
    }
    pages = [row for row in rows if row["section"] == "pages"]
    assert [(row["value"], int(row["pageviews"])) for row in pages] == [
        (shown(top["value"]), top["pageviews"]) for top in found["top"]["pages"]
    ]
    assert "'=cmd()" in [row["value"] for row in rows]


class Cells(HTMLParser):
    """Gathers the rows of rankings and of the series, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")


def test_html_has_the_same_numbers_and_fetches_nothing(hitline: Hitline, month: Month, tmp_path: Path) -> None:
    arguments = ("report", NAME, "--from", "2026-03-01", "--to", "2026-03-31", "--top", "50")
    hitline(*arguments, "--html", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    found = json.loads(hitline(*arguments, "--json").stdout)
    cells = Cells()
    cells.feed(text)
    assert not cells.links
    assert not cells.tags & {"script", "link", "img", "iframe", "object", "a"}
    assert not re.search(r"https?://|url\(|@import| style=", text)
    assert "<script" not in text
    assert "\x1b" not in text
    dimensions = {ranking.key: dimension for dimension, ranking in RANKINGS.items()}
    wanted = [
        [shown(name_of(dimensions[key], top["value"])), f"{top['pageviews']:,}", f"{top['sessions']:,}"]
        for key, tops in found["top"].items()
        if key != "hostnames"
        for top in tops
    ]
    assert [row for row in cells.rows if len(row) == 3 and row[1] != "Pageviews"] == wanted
    assert f"<dd>{found['totals']['pageviews']:,}</dd>" in text
    series = [row for row in cells.rows if len(row) == 4][1:]
    assert [int(row[1].replace(",", "")) for row in series] == [point["pageviews"] for point in found["series"]]
    assert len(series) == 31


def test_html_of_several_sites_has_contents(hitline: Hitline, month: Month, tmp_path: Path) -> None:
    other = next(f"{site.hex[-4:]}.example" for site in visits.FEW if site != SITE)
    hitline("report", NAME, other, *PERIOD, "--html", str(tmp_path / "both.html"))
    text = (tmp_path / "both.html").read_text()
    cells = Cells()
    cells.feed(text)
    assert cells.links == ["#site-1"], "the other has no pageviews, which the contents say"
    assert [row for row in cells.rows if row[0] == other] == [[other, "0", "0", "\u2013"]]
    assert text.count("<h1>") == 1
    assert 'id="site-1"' in text
    every = json.loads(hitline("report", "--all", *PERIOD, "--json").stdout)
    assert [site["site"] for site in every] == [NAME]
    both = list(csv.DictReader(io.StringIO(hitline("report", NAME, other, *PERIOD, "--csv").stdout)))
    assert {row["site"] for row in both} == {NAME, other}


def test_the_terminal_shows_it_and_no_escape_of_a_visitor(hitline: Hitline, month: Month) -> None:
    text = hitline("report", NAME, "--from", "2026-03-01", "--to", "2026-03-31", "--top", "50").stdout
    rows = month.between("2026-03-01", "2026-03-31")
    assert f"{len(rows):,}" in text
    assert "█" in text
    assert "\x1b[31m" not in text
    assert "Referrers" in text


def test_a_locale_without_the_characters(month: Month, tables: ClickHouseProcess, tmp_path: Path) -> None:
    """A path of a visitor's is still shown, the chart is drawn in ASCII, and CSV is UTF-8 in any case."""
    environment = {**parts.make_env(tmp_path, tables), "PYTHONIOENCODING": "ascii"}
    hitline = [sys.executable, "-c", "from deploy.cli import main; main()"]
    command = [*hitline, "report", NAME, "--from", "2026-03-01", "--to", "2026-03-31"]
    shown = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout.decode("ascii")
    assert "##" in shown
    assert "/b/?" in shown
    table = subprocess.run([*command, "--csv"], env=environment, capture_output=True, check=True, timeout=60).stdout
    assert "/b/ü" in table.decode("utf-8")


def test_an_empty_period_and_an_unknown_site(hitline: Hitline, month: Month, tmp_path: Path) -> None:
    assert "no pageviews" in hitline("report", NAME, "--from", "2020-01-01", "--to", "2020-01-31").stdout
    hitline("report", NAME, "--from", "2020-01-01", "--to", "2020-01-01", "--html", str(tmp_path / "empty.html"))
    assert "there is no site" in hitline("report", "none.example", expect=1).stderr
    assert "--from" in hitline("report", NAME, "--from", "2026-02-01", "--to", "2026-01-01", expect=1).stderr
    hitline("report", NAME, "--json", "--csv", expect=1)
    hitline("report", expect=1)
    hitline("report", NAME, "--all", expect=1)


def test_formatting() -> None:
    assert change(5, 0) == ""
    assert change(110, 100) == "+10.0 %"
    assert change(90, 100) == "\u221210.0 %"
    assert length(59.4) == "59 s"
    assert length(125) == "2 m 05 s"
    assert length(3599.6) == "1 h 00 m"
    assert length(90_300) == "25 h 05 m"
    assert shown("a\u202eb\u2028c\nd") == "a\ufffdb\ufffdc\ufffdd"
    assert shown("\u0645\u06cc\u200c\U0001f469\u200d\U0001f467") == "\u0645\u06cc\u200c\U0001f469\u200d\U0001f467"
    assert [compact(n) for n in (0, 12, 1200, 1500, 20_000_000)] == ["0", "12", "1.2k", "1.5k", "20M"]
    assert [chart.nice(n) for n in (1, 5, 13, 21, 33, 999, 1001)] == [4, 8, 20, 24, 40, 1200, 1200]


def test_the_active_site_is_reported_with_a_warning_about_removed_ones(hitline: Hitline, month: Month) -> None:
    assert "out of range" in hitline("report", NAME, "--from", "0001-01-01", "--to", "0001-01-02", expect=1).stderr
    hitline("rollup")
    hitline("site", "remove", NAME)
    hitline("site", "add", NAME)
    shown = hitline("report", NAME, *PERIOD, "--json")
    assert json.loads(shown.stdout)["totals"]["pageviews"] == 0
    assert str(SITE) in shown.stderr
