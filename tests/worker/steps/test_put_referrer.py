from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.hostnames import normalise
from tests.worker.factories import SITE, FakeRegistry, pageview
from worker.lengths import REFERRER
from worker.lookups.own_hosts import OwnHosts
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
        ("\ufeffhttp://google.com/", "google.com"),
        ("\u200bgoogle.com", "google.com"),
        ("https://https://google.com/x", "google.com"),
        ("http://https:\\\\google.com/x", "google.com"),
        ("http://https/", "https"),
        ("-", ""),
        ("about:blank", ""),
        ("mailto:someone@example.com", ""),
        ("javascript:alert(1.5)", ""),
        ("https://", ""),
        ("https:///path", ""),
        ("https://exa mple.com/", "example.com"),
        ("http%3A%2F%2Fgoogle.com%2Fsearch", "google.com"),
        ("http%3a%2f%2fgoogle.com%2fsearch", "google.com"),
        ("http:%2F%2Fgoogle.com%2F", "google.com"),
        ("http:/%2Fgoogle.com/", "google.com"),
        ("http%253A%252F%252Fgoogle.com%252F", "google.com"),
        ("%68ttp://google.com/", "google.com"),
        ("%2F%2Fgoogle.com%2F", "google.com"),
        ("http://google%2Ecom/", "google.com"),
        ("google%2Ecom/x", "google.com"),
        ("http://%67oogle.com/", "google.com"),
        ("http:google.com/", "google.com"),
        ("http:/google.com/", "google.com"),
        ("http:///google.com/", "google.com"),
        ("http:\\\\google.com\\x", "google.com"),
        ("http:/\\google.com", "google.com"),
        ("\\\\google.com\\x", "google.com"),
        ("http://evil.example\\@google.com/", "evil.example"),
        ("http://goo\tgle.com/", "google.com"),
        ("http://goo\r\ngle.com/", "google.com"),
        ("ht\ntp://google.com/", "google.com"),
        ("http:// google.com/", "google.com"),
        ("http://google.com%20/", "google.com"),
        ("http://google.com%09/", "google.com"),
        ('"http://google.com/"', "google.com"),
        ("'http://google.com/'", "google.com"),
        ("<http://google.com/>", "google.com"),
        ('http://"google.com"/', "google.com"),
        ("view-source:http://google.com/", "google.com"),
        ("view-source:view-source:https://google.com/", "google.com"),
        ("http://google。com/", "google.com"),
        ("http://ｇｏｏｇｌｅ.com/", "google.com"),
        ("http://goo\u00adgle.com/", "google.com"),
        ("http://user:p%40ss@google.com/", "google.com"),
        ("http://3405803783/", "203.0.113.7"),
        ("index.html", ""),
        ("v2.0", ""),
        ("page.php?id=1", ""),
        ("1.5", ""),
        ("chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb/page.html", ""),
        ("moz-extension://aap.example/", ""),
        ("ios-app://429047995", ""),
        ("ios-app://429047995/http/google.com/x", "google.com"),
        ("android-app://com.google.android.googlequicksearchbox/https/www.google.com", "google.com"),
        ("file:///home/someone/google.com.html", ""),
        ("kharkov.ua/x", "kharkov.ua"),
        ("\ud83d", ""),
        ("https://a..b/", ""),
        ("a." * 5_000 + "b", ""),
        ("\x00\x01", ""),
    ],
)
def test_finds_the_host_of_a_referrer(text, host):
    found = put_referrer(OwnHosts(FakeRegistry()), pageview(referrer=text), SITE)
    assert found.referrer_host == host
    assert found.referrer == text.strip()[:REFERRER]


def test_a_referrer_that_holds_a_line_break_is_still_stored_as_sent():
    assert (
        put_referrer(OwnHosts(FakeRegistry()), pageview(referrer="http://goo\ngle.com/"), SITE).referrer
        == "http://goo\ngle.com/"
    )


def test_a_self_referral_has_the_hostname_of_its_pageview():
    assert (
        put_referrer(OwnHosts(FakeRegistry()), pageview(referrer="https://www.Example.com/a"), SITE).referrer_host
        == pageview().hostname
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_referrer_raises_and_hosts_are_in_normal_form(text):
    for referrer in (text, f"https://{text}", f"//{text}/"):
        host = parse_referrer(referrer).referrer_host
        assert not host or normalise(f"www.{host}") == host or normalise(host) == host
        assert parse_referrer(parse_referrer(referrer).referrer) == parse_referrer(referrer)


def test_what_a_site_does_not_store_of_its_queries_is_not_in_its_own_referrers():
    site = replace(SITE, query_drop=("token",))
    own = OwnHosts(FakeRegistry())

    def stored(text: str) -> str:
        return put_referrer(own, pageview(referrer=text), site).referrer

    assert stored("https://www.example.com/a?token=x&b=1#c") == "https://www.example.com/a?b=1"
    assert stored("https://sub.example.net/a?token=x") == "https://sub.example.net/a"
    assert stored("https://elsewhere.example/a?token=x") == "https://elsewhere.example/a?token=x"
    assert put_referrer(own, pageview(referrer="https://example.com/?token=x"), SITE).referrer.endswith("token=x")
