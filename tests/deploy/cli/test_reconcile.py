"""`hitline reconcile`: what it says of its figures; that they add up is proven in tests/delivery."""

from __future__ import annotations

import io
import urllib.request
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli import reconcile
from deploy.cli.support import CommandError


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
    assert [reconcile._scrape(f"http://h:1{path}") for path in ("", "/", "/metrics")] == [3, 3, 3]
    assert asked == ["http://h:1/metrics"] * 3


def test_gateways_are_queried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def figures(_: Any) -> dict[str, Any]:
        asked.append("ClickHouse")
        return {"stored": 3, "dead_lettered": 0, "dropped": {}, "pageviews": 3, "queues": {}}

    def scrape(_: str) -> int:
        asked.append("gateway")
        return 3

    monkeypatch.setattr(reconcile, "_figures", figures)
    monkeypatch.setattr(reconcile, "_scrape", scrape)
    result = CliRunner().invoke(reconcile.reconcile, ["--gateway", "http://h:1"])
    assert result.exit_code == 0, result.output
    assert asked == ["ClickHouse", "gateway"]
