"""`hitline reconcile`: what it says of its figures; that they add up is proven in tests/delivery."""

from __future__ import annotations

import io
import urllib.request
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli import reconcile
from deploy.cli.reconcile import Gateways
from deploy.cli.support import CommandError
from deploy.outcomes.ledger import FIRST, LAST


def figures_of(stored: int) -> dict[str, Any]:
    counts = {"stored": stored, "dead_lettered": 0, "dropped": {}, "pageviews": stored, "queues": {}}
    return {"from": FIRST, "to": LAST, **counts}


def test_an_imbalance_is_reported() -> None:
    with pytest.raises(CommandError, match="103 more pageviews have an outcome than were accepted"):
        reconcile._require_balance({"repeats": 0, "missing": -103})
    with pytest.raises(CommandError, match="7 accepted pageviews have no outcome"):
        reconcile._require_balance({"repeats": 0, "missing": 7})


def test_a_gateways_address_alone_means_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, **_: Any) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"hitline_accepted_pageviews_total 3.0\n")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert [reconcile._scrape(f"http://h:1{path}") for path in ("", "/", "/metrics")] == [Gateways(3, 0)] * 3
    assert asked == ["http://h:1/metrics"] * 3


def test_gateways_are_queried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def figures(_: Any, **__: Any) -> dict[str, Any]:
        asked.append("ClickHouse")
        return figures_of(3)

    def scrape(_: str) -> Gateways:
        asked.append("gateway")
        return Gateways(3, 0)

    monkeypatch.setattr(reconcile, "_figures", figures)
    monkeypatch.setattr(reconcile, "_scrape", scrape)
    result = CliRunner().invoke(reconcile.reconcile, ["--gateway", "http://h:1"])
    assert result.exit_code == 0, result.output
    assert asked == ["ClickHouse", "gateway"]


def test_a_gateway_says_how_many_pageviews_are_of_unknown_fate(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        b"hitline_accepted_pageviews_total 90.0\n"
        b'hitline_published_pageviews_total{result="confirmed"} 92.0\n'
        b'hitline_published_pageviews_total{result="unknown_fate"} 7.0\n'
        b'hitline_published_pageviews_total{result="broker_refused"} 500.0\n'
    )
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(text))
    assert reconcile._scrape("http://h:1") == Gateways(accepted=90, unknown=9)


@pytest.mark.parametrize(
    ("accepted", "unknown", "ended", "error"),
    [
        (90, 9, 90, None),
        (90, 9, 99, None),
        (90, 9, 95, None),
        (90, 9, 100, "1 more pageviews have an outcome than were accepted"),
        (90, 9, 89, "1 accepted pageviews have no outcome"),
        (90, 0, 91, "1 more pageviews"),
    ],
)
def test_pageviews_of_unknown_fate_may_have_been_taken(
    monkeypatch: pytest.MonkeyPatch, accepted: int, unknown: int, ended: int, error: str | None
) -> None:
    async def figures(*_: Any, **__: Any) -> dict[str, Any]:
        return figures_of(ended)

    monkeypatch.setattr(reconcile, "_figures", figures)
    monkeypatch.setattr(reconcile, "_scrape", lambda _: Gateways(accepted, unknown))
    result = CliRunner().invoke(reconcile.reconcile, ["--gateway", "http://h:1"])
    assert result.exit_code == (1 if error else 0), result.output
    assert ("of unknown fate" in result.output) == bool(unknown)
    assert (error or "") in result.output
