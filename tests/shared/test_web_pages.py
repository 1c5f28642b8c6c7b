"""Which requests come from web pages."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from shared.web_pages import is_loopback, reason_to_refuse


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True), ("127.8.9.10:80", True), ("LOCALHOST:80", True), ("[::1]", True), ("[::1]:80", True),
        ("0.0.0.0:80", False), ("localhost.", False), ("localhost:80@evil", False), ("10.0.0.1", False),
        ("::1:80x", False), ("", False), ("[::1", True), ("2130706433", False), ("127.1", False),
    ],
)  # fmt: skip
def test_hosts_of_this_machine(host: str, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1", "Origin": "null"},
        {"Host": "127.0.0.1", "Sec-Fetch-Site": "same-site"},
        {"Host": "metrics.internal", "Origin": "http://metrics.internal"},
    ],
)
def test_a_pages_request_is_refused_on_any_address(headers: dict[str, str]) -> None:
    for only_loopback in (False, True):
        assert reason_to_refuse(CIMultiDict(headers), only_loopback=only_loopback)


def test_a_program_may_use_any_name_where_the_port_is_not_on_loopback() -> None:
    scraper = CIMultiDict({"Host": "10.1.2.3:9080", "User-Agent": "Prometheus"})
    assert reason_to_refuse(scraper, only_loopback=False) == ""
    assert reason_to_refuse(scraper, only_loopback=True)
