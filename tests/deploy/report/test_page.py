"""The HTML file, from any figures: what visitors choose, nothing, one pageview, one day, years."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deploy.report import names
from deploy.report.figures import Counted, Period, Report, Top, Totals, points
from deploy.report.formatting import comparison_note, figures
from deploy.report.page import cells
from deploy.report.page.document import Document
from deploy.report.rankings import RANKINGS
from deploy.report.terminal import cut

MADE_AT = datetime(2027, 1, 1, tzinfo=UTC)
HOSTILE = (
    "/<script>alert(1)</script>", '/"onmouseover="alert(1)', "/\u202egpj.exe", "/a\x00b\x1b[31mred\x07\n",
    "/" + "x" * 2000, "</style><script>alert(2)</script>", "&lt;b&gt;", "\u2066\u2067/iso", "/e\u0301" * 60,
    "/\u0645\u0631\u062d\u0628\u0627/" * 30, "/\U0001f469\u200d\U0001f469\u200d\U0001f467" * 20,
)  # fmt: skip


def report(days: int, views: int, *, before: int = 0, tops: tuple[str, ...] = ()) -> Report:
    period = Period(date(2026, 11, 20) - timedelta(days - 1), date(2026, 11, 20), "Asia/Kolkata")

    def counted(period: Period, number: int) -> Counted:
        key = f"{period.last} 23" if period.hourly else str(period.last)
        totals = Totals(number, number, 1.0, 1.0, 0.0) if number else Totals()
        ranked = {dimension: tuple(Top(top, 9, 9) for top in tops) for dimension in RANKINGS}
        return Counted(totals, Totals(), points(period, {key: (number, number)} if number else {}), ranked)

    return Report("site.example", period, False, MADE_AT, counted(period, views), counted(period.before(), before))


def render(path: Path, *reports: Report) -> str:
    document = Document(is_single=len(reports) == 1)
    for each in reports:
        document.add(each)
    document.write(path / "report.html")
    assert [each.name for each in path.iterdir()] == ["report.html"]
    return (path / "report.html").read_text("utf-8")


class Structure(HTMLParser):
    """Checks that elements are closed in order, and gathers titles, ids and headings."""

    VOID = ("meta", "line", "path", "rect", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.scopes = 0
        self.unscoped = 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not [name for name in given if name.startswith("on")], "no handler of an event"
        if tag not in self.VOID:
            self.open.append(tag)
        self.titles += [given["title"] or ""] if "title" in given else []
        self.ids += [given["id"] or ""] if "id" in given else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag == "th":
            self.scopes += "scope" in given
            self.unscoped += "scope" not in given

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_what_visitors_choose_is_shown_and_does_nothing(tmp_path: Path) -> None:
    text = render(tmp_path, report(30, 5, tops=HOSTILE))
    structure = Structure(text)
    assert "<script" not in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    assert "/" + "x" * 2000 in structure.titles, "the whole of what is cut"
    assert '/"onmouseover="alert(1)' in structure.titles
    assert len(structure.ids) == len(set(structure.ids))
    assert structure.scopes
    assert not structure.unscoped
    assert text.count("<caption") == len(RANKINGS) + 1, "one a table"


def test_headings_follow_each_other(tmp_path: Path) -> None:
    one = Structure(render(tmp_path, report(30, 5, tops=("/",)))).headings
    assert one[0] == 1
    assert set(one[1:]) == {2}
    several = Structure(render(tmp_path, report(30, 5, tops=("/",)), report(30, 5, tops=("/",)))).headings
    assert several[0] == 1
    assert set(several[1:]) == {2, 3}


@pytest.mark.parametrize(("days", "views"), [(1, 0), (1, 1), (2, 7), (3, 1), (30, 0), (400, 12), (1200, 9)])
def test_any_length_and_any_number(tmp_path: Path, days: int, views: int) -> None:
    text = render(tmp_path, report(days, views, before=views // 2, tops=("/",) if views else ()))
    Structure(text)
    assert "NaN" not in text
    assert ("There were no pageviews" in text) == (not views)
    for svg in re.findall(r"<svg class=\"(\w+)\".*?</svg>", text, re.DOTALL):
        assert svg in ("wide", "narrow")
    labels = {
        name: len(re.findall(r'class="axis (?:middle|end)" x="[\d.]+" y="(?:292|222)"', drawn))
        for name, drawn in re.findall(r'<svg class="(\w+)"(.*?)</svg>', text, re.DOTALL)
    }
    if views:
        assert 1 <= labels["narrow"] <= 4
        assert 1 <= labels["wide"] <= 11


def test_a_comparison_says_when_there_is_little_to_compare_with() -> None:
    assert "Nothing is stored" in comparison_note(report(30, 5))
    assert "until 2026-10-21" in comparison_note(report(30, 500, before=500))
    few = report(1, 5, before=1)
    full = tuple(replace(point, pageviews=1) for point in few.before.series)
    assert "only 1 session:" in comparison_note(replace(few, before=replace(few.before, series=full)))
    assert {good for *_, good in figures(report(30, 500, before=400))} == {None}, "no colours then"


def test_the_policy_allows_this_style_and_nothing_else(tmp_path: Path) -> None:
    text = render(tmp_path, report(3, 4, tops=("/",)))
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    [policy] = re.findall(r'content="(default-src[^"]*)"', text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert " style=" not in text


def test_values_are_cut_in_the_middle() -> None:
    assert cells.value("/short") == '<bdi class="cut" title="/short">/short</bdi>'
    assert "<span>/a/long/path/that-has-</span><span>an-end-of.it</span>" in cells.value(
        "/a/long/path/that-has-an-end-of.it"
    )
    accents = cells.value("/" + "e\u0301" * 40)
    assert "<span>\u0301" not in accents, "no accent without its letter"
    assert "<span>" not in cells.value("/\u0645\u0631\u062d\u0628\u0627/" * 30)
    assert cut("/a/long/path/that-has-an-end", 20, "…") == "/a/long/path/…an-end"
    assert cut("/short", 20, "…") == "/short"


def test_names() -> None:
    assert names.country("CZ") == "Czechia"
    assert names.country("T1") == "T1"
    assert names.place("DE/Bavaria/Munich") == "Munich, Bavaria, Germany"
    assert names.place("DE/Berlin/Berlin") == "Berlin, Germany"
    assert names.place("IT/Trentino-Alto Adige/South Tyrol/Bolzano") == "Trentino-Alto Adige/South Tyrol/Bolzano, Italy"
    assert names.language("pt-BR") == "Portuguese (Brazil)"
    assert names.language("x-unknown") == "x-unknown"
    assert names.name_of("channel", "paid search") == "Paid search"
    assert names.name_of("bot_kind", "ai-training") == "AI training"
    assert names.name_of("path", "/DE") == "/DE"
