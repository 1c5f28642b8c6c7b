"""The address that failed tokens are charged to."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.authenticate import ClientAddress

TRUSTED = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.6, 198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.6", "198.51.100.9, 10.1.1.1"], "198.51.100.9"),
        ("10.0.0.1", ["made up, 10.1.1.1"], "10.1.1.1"),
        ("10.0.0.1", ["made up"], "10.0.0.1"),
        ("fd00::1", ["2001:db8::1:2:3:4"], "2001:db8::/64"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
        ("::ffff:192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
    ],
)
def test_the_nearest_address_that_is_not_a_trusted_proxy_counts(
    remote: str, forwarded: list[str], address: str
) -> None:
    headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded)
    request = make_mocked_request("POST", "/", headers=headers).clone(remote=remote)

    assert ClientAddress(TRUSTED).of(request) == address


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X-Forwarded-For": "198.51.100.9:4711"}, "198.51.100.9"),
        ({"X-Forwarded-For": "[2001:db8::1:2:3:4]:4711"}, "2001:db8::/64"),
        ({"X-Forwarded-For": "[2001:db8::1]"}, "2001:db8::/64"),
        ({"X-Forwarded-For": "198.51.100.9, "}, "198.51.100.9"),
        ({"X-Forwarded-For": "198.51.100.9,,10.1.1.1"}, "10.1.1.1"),
        ({"Forwarded": 'for=192.0.2.7, For="[2001:db8::1]:80";proto=https'}, "2001:db8::/64"),
        ({"Forwarded": "proto=https;for=198.51.100.9:4711;by=10.0.0.1"}, "198.51.100.9"),
        ({"Forwarded": "for=_hidden"}, "10.0.0.1"),
        ({"Forwarded": "for=198.51.100.9", "X-Forwarded-For": "198.51.100.9"}, "198.51.100.9"),
        ({"Forwarded": "for=203.0.113.6", "X-Forwarded-For": "198.51.100.9"}, "10.0.0.1"),  # one is made up
    ],
)
def test_addresses_are_found_in_every_form_that_proxies_write(headers: dict[str, str], address: str) -> None:
    request = make_mocked_request("POST", "/", headers=CIMultiDict(headers)).clone(remote="10.0.0.1")

    assert ClientAddress(TRUSTED).of(request) == address


def test_what_comes_through_a_unix_socket_comes_from_a_proxy() -> None:
    request = make_mocked_request("POST", "/", headers=CIMultiDict({"X-Forwarded-For": "198.51.100.9"}))

    assert ClientAddress(()).of(request.clone(remote="")) == "198.51.100.9"


def test_no_proxy_is_trusted_by_default() -> None:
    headers = CIMultiDict({"X-Forwarded-For": "198.51.100.9"})
    request = make_mocked_request("POST", "/", headers=headers).clone(remote="10.0.0.1")

    assert ClientAddress(()).of(request) == "10.0.0.1"
