from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.countries import COUNTRIES
from worker.lookups.exclusion_rules import KINDS, parse_rule


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("cidr", "203.0.113.0/24", "203.0.113.0/24"),
        ("cidr", " 203.0.113.7 ", "203.0.113.7/32"),
        ("cidr", "2001:DB8:0:0::/32", "2001:db8::/32"),
        ("cidr", "::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("country", "de", "DE"),
        ("country", "XK", "XK"),
        ("user_agent", " HeadlessChrome ", "headlesschrome"),
        ("path", "/admin", "/admin"),
        ("path", "/admin/", "/admin"),
        ("path", "/", "/"),
        ("path", "/%61/./b/../c", "/a/c"),
        ("path", "/100%25", "/100%25"),
        ("path", "/a%20", "/a%20"),
        ("path", "/a%3Fb%23", "/a%3Fb%23"),
        ("path", "/caf%C3%A9", "/café"),
    ],
)
def test_returns_the_form_that_the_registry_keeps(kind, value, kept):
    assert parse_rule(kind, value) == kept
    assert parse_rule(kind, kept) == kept


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        ("colour", "red", "use one of cidr, country, user_agent, path"),
        ("cidr", "", "empty"),
        ("cidr", "203.0.113.0/33", "not an IPv4 or IPv6 network"),
        ("cidr", "203.0.113.7/24", "host bits"),
        ("country", "UK", "United Kingdom is GB"),
        ("country", "ZZ", "ISO 3166-1"),
        ("country", "Germany", "ISO 3166-1"),
        ("country", "ß", "ISO 3166-1"),
        ("user_agent", "ß" * 1_024, "longer than"),
        ("user_agent", "   ", "empty"),
        ("user_agent", "x" * 2_000, "longer than"),
        ("path", "admin", "start with /"),
        ("path", "https://example.com/a", "start with /"),
        ("path", "/a?b=1", "query"),
        ("path", "/a#b", "fragment"),
        ("path", "/" + "a" * 2_000, "longer than"),
    ],
)
def test_says_what_is_wrong(kind, value, wrong):
    with pytest.raises(ValueError, match=wrong):
        parse_rule(kind, value)


@given(st.sampled_from(KINDS), st.text(max_size=40))
def test_is_idempotent_and_raises_only_value_errors(kind, value):
    try:
        kept = parse_rule(kind, value)
    except ValueError:
        return
    assert parse_rule(kind, kept) == kept


def test_knows_the_countries_of_iso_3166_1():
    assert len(COUNTRIES) == 249 + 1
