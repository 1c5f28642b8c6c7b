from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.addresses import parse_address
from worker.lookups.networks import Networks, parse_network


def found(rules, address):
    parsed = parse_address(address)
    assert parsed is not None
    return Networks((parse_network(rule), rule) for rule in rules).find(parsed)


@pytest.mark.parametrize(
    ("rule", "address", "covered"),
    [
        ("203.0.113.0/24", "203.0.113.0", True),
        ("203.0.113.0/24", "203.0.113.255", True),
        ("203.0.113.0/24", "203.0.114.0", False),
        ("203.0.113.0/24", "203.0.112.255", False),
        ("203.0.113.7/32", "203.0.113.7", True),
        ("203.0.113.7/32", "203.0.113.8", False),
        ("203.0.113.7", "203.0.113.7", True),
        ("0.0.0.0/0", "8.8.8.8", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", "::ffff:8.8.8.8", True),
        ("203.0.113.0/24", "::ffff:203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "203.0.114.9", False),
        ("::ffff:0:0/96", "8.8.8.8", True),
        ("::/0", "2001:db8::1", True),
        ("::/0", "8.8.8.8", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("2001:db8::1/128", "2001:db8::1", True),
        ("2001:db8::1/128", "2001:db8::2", False),
    ],
)
def test_covers_its_addresses_and_no_others(rule, address, covered):
    assert found([rule], address) == (rule if covered else None)


def test_the_narrowest_of_overlapping_networks_is_named():
    rules = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0"]
    assert [found(rules, a) for a in ("10.1.2.3", "10.1.2.4", "10.2.0.0", "11.0.0.0")] == [
        "10.1.2.3/32",
        "10.1.0.0/16",
        "10.0.0.0/8",
        "0.0.0.0/0",
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "not an IPv4"),
        ("nonsense", "not an IPv4"),
        ("203.0.113.0/33", "not an IPv4"),
        ("2001:db8::/129", "not an IPv4"),
        ("203.0.113.0/", "prefix length"),
        ("203.0.113.0/255.255.255.0", "prefix length"),
        ("203.0.113.0/-1", "prefix length"),
        ("203.0.113.0/٣", "prefix length"),
        ("203.0.113.7/24", "the network is 203.0.113.0/24"),
        ("fe80::1%eth0", "interface"),
        ("203.0.113", "not an IPv4"),
        ("0203.0.113.1", "not an IPv4"),
    ],
)
def test_says_what_is_wrong_with_a_network(text, wrong):
    with pytest.raises(ValueError, match=wrong):
        parse_network(text)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=30),
    st.lists(st.integers(0, 2**32 - 1), max_size=10),
)
def test_agrees_with_a_plain_scan(networks, addresses):
    rules = [str(ip_network((value >> (32 - length) << (32 - length), length))) for value, length in networks]
    for value in [*addresses, *(value for value, _ in networks)]:
        address = str(ip_address(value))
        covering = [rule for rule in rules if ip_address(address) in ip_network(rule)]
        assert found(rules, address) == max(covering, key=lambda rule: ip_network(rule).prefixlen, default=None)


@given(st.text(max_size=50))
def test_no_text_raises_anything_but_a_value_error(text):
    parse_address(text)
    try:
        network = parse_network(text)
    except ValueError:
        return
    assert parse_network(str(network)) == network
