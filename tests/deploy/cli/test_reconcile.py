"""`hitline reconcile`: what it says of its figures; that they add up is proven in tests/delivery."""

from __future__ import annotations

import io
import urllib.request
from typing import Any

import pytest

from deploy.cli import reconcile
from deploy.cli.support import CommandError


def test_more_ended_than_accepted_is_said_so() -> None:
    with pytest.raises(CommandError, match="103 pageviews more have ended than were accepted"):
        reconcile._judge({"repeats": 0, "missing": -103})
    with pytest.raises(CommandError, match="7 accepted pageviews have no end"):
        reconcile._judge({"repeats": 0, "missing": 7})


def test_a_gateways_address_alone_means_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, **_: Any) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"hitline_accepted_pageviews_total 3.0\n")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert [reconcile._scrape(f"http://h:1{path}") for path in ("", "/", "/metrics")] == [3, 3, 3]
    assert asked == ["http://h:1/metrics"] * 3
