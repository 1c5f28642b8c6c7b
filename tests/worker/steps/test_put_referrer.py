from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.hostnames import normalise
from tests.worker.factories import pageview
from worker.lengths import REFERRER
from worker.steps.put_referrer import parse_referrer, put_referrer


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", ""),
        ("https://google.com/search?q=x", "google.com"),
        ("http://WWW.Google.COM./", "google.com"),
        ("google.com/x", "google.com"),
        ("google.com", "google.com"),
        ("google.com:8080/x", "google.com"),
        ("//google.com/x", "google.com"),
        ("https://user:secret@google.com:443/", "google.com"),
        ("https://google.com:/", "google.com"),
        ("https://google.com:99999/", ""),
        ("https://google.com:80x/", ""),
        ("https://bücher.example/a", "xn--bcher-kva.example"),
        ("https://www2.bücher.example", "www2.xn--bcher-kva.example"),
        ("https://[2001:db8::1]:8443/a", "[2001:db8::1]"),
        ("https://203.0.113.7/a", "203.0.113.7"),
        ("android-app://com.google.android.gm/", "com.google.android.gm"),
        ("https://google.com?q=1", "google.com"),
        ("https://google.com#top", "google.com"),
        ("  https://google.com/  ", "google.com"),
        ("https://localhost/", "localhost"),
        ("localhost", ""),
        ("-", ""),
        ("about:blank", ""),
        ("mailto:someone@example.com", ""),
        ("javascript:alert(1.5)", ""),
        ("https://", ""),
        ("https:///path", ""),
        ("https://exa mple.com/", ""),
        ("https://a..b/", ""),
        ("a." * 5_000 + "b", ""),
        ("\x00\x01", ""),
    ],
)
def test_finds_the_host_of_a_referrer(text, host):
    found = put_referrer(pageview(referrer=text))
    assert found.referrer_host == host
    assert found.referrer == text.strip()[:REFERRER]


def test_a_self_referral_has_the_hostname_of_its_pageview():
    assert put_referrer(pageview(referrer="https://www.Example.com/a")).referrer_host == pageview().hostname


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_referrer_raises_and_hosts_are_in_normal_form(text):
    for referrer in (text, f"https://{text}", f"//{text}/"):
        host = parse_referrer(referrer).referrer_host
        assert not host or normalise(f"www.{host}") == host or normalise(host) == host
        assert parse_referrer(parse_referrer(referrer).referrer) == parse_referrer(referrer)
