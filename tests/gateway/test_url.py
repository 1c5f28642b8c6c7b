from __future__ import annotations

import time
from contextlib import suppress

import pytest

from gateway.url import parse_url


@pytest.mark.parametrize(
    ("text", "hostname"),
    [
        ("https://example.com", "example.com"),
        ("HTTPS://WWW.Example.COM:443/a?b#c", "example.com"),
        (" https://example.com/ ", "example.com"),
        ("https://user:secret@example.com/", "example.com"),
        ("https://a@b@example.com/", "example.com"),
        ("https://example.com?a", "example.com"),
        ("https://example.com#a", "example.com"),
        ("https://example.com:/", "example.com"),
        ("https://example.com:00443/", "example.com"),
        ("https://[2001:DB8::0:1]:8443/", "[2001:db8::1]"),
        ("https://user@[::1]/", "[::1]"),
        ("https://bücher.example/ü", "xn--bcher-kva.example"),
        (f"https://{'u' * 2_000}@example.com/", "example.com"),
    ],
)
def test_finds_the_hostname(text: str, hostname: str) -> None:
    assert parse_url(text) == (text.strip(), hostname)


@pytest.mark.parametrize(
    "text",
    ["", "example.com", "//example.com/", "ftp://example.com/", "https:/example.com/", "https:example.com", "https://",
     "https:///a", "https://:80/", "https://@/", "https://example.com:0/", "https://example.com:65536/",
     "https://example.com:8a/", "https://example.com:80:80/", "https://example.com:８０/", "https://a b/", "https://[::1/",
     "https://::1]/", "https://[::1]a/", "https://[::1%25eth0]/", "https://a[@[::1]/", "https://evil.example\\@example.com/",
     "https://example.com/\n", "https://exam\tple.com/", "https://example.com/\x7f", "ⓗttps://example.com/",
     f"https://{'u' * 2_100}@example.com/"],
)  # fmt: skip
def test_refuses_without_quoting(text: str) -> None:
    text = f"{text}/" if text.endswith("\n") else text
    with pytest.raises(ValueError) as refused:
        parse_url(text)
    assert len(text) < 5 or text not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [" " * 60_000, "https://" + "ﷺ" * 20_000, "https://" + "ﷺ" * 20_000 + "@example.com/", "https://" + "中" * 20_000,
     "https://" + ":" * 60_000, "https://" + "[" * 60_000, "https://" + "@" * 60_000,
     "https://example.com/" + "\xa0" * 30_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_no_url_takes_long(text: str) -> None:
    def costs_us() -> float:
        began = time.process_time_ns()
        with suppress(ValueError):
            parse_url(text)
        return (time.process_time_ns() - began) / 1e3

    assert min(costs_us() for _ in range(5)) < 1_500
