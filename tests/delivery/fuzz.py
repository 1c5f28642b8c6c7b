"""Pageviews of a seeded fuzzer: a mix of valid values, hostile text, and types that a field does not have."""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: What parsers of URLs, hostnames, JSON, headers and terminals trip over.
_PIECES: Final = [
    "%00", "%ff", "%", "=", "&", "#", "?", "/", "//", "..", ";", "\\", "\x1b]52;c;", "[::1]", "xn--", "@", ":0",
    "utm_source=", "hk_qr=", "日本", "\ud800", "\udfff", "a" * 300, "%e2%80%ae", "google.", "Mozilla/5.0 (",
    ") Chrome/99999999999", "\0", "\r\n", "\t", " ", "🙂", "\u202e", "İ", "ß", "e\u0301", "%C3%BC", "%2", "&amp;",
    "gclid=", "http://", "android-app://", "view-source:", "compatible; ", "bot", "en-US,en;q=0.9", "-", "*", "'",
    '"', "{", "}", "[", "]", "<script>", "--", "../../etc/passwd", "\ufeff", "\ufffd", "1e999", "NaN", "null",
]  # fmt: skip
_EARLIEST: Final = datetime(1989, 6, 1, tzinfo=UTC)
_DAYS: Final = 365 * 36
#: What makes a URL invalid; left out of most.
_CONTROLS: Final = dict.fromkeys((*range(0x20), 0x7F))


class Fuzzer:
    """Makes pageviews; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pageviews(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield so many pageviews; most required fields are valid, so that many pageviews are accepted."""
        for _ in range(number):
            yield self._pageview()

    def _pageview(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "url": self._mostly(self._url, self._anything),
            "timestamp": self._mostly(self._time, self._anything),
            "visitor_ip": self._mostly(self._address, self._anything),
            "user_agent": self._mostly(lambda: "x" + self._text(), self._anything),
        }
        optional: dict[str, Callable[[], Any]] = {
            "referrer": self._url, "language": self._text, "dnt": self._anything, "session_id": self._id,
            "page_id": self._id, "screen_width": self._number, "screen_height": self._number,
            "viewport_width": self._number, "viewport_height": self._number, self._text()[:40]: self._anything,
        }  # fmt: skip
        for name, make in optional.items():
            if self._random.random() < 0.4:
                made[name] = self._mostly(make, self._anything)
        if self._random.random() < 0.02:
            made.pop(self._random.choice(list(made)))
        return made

    def _mostly(self, usual: Callable[[], Any], other: Callable[[], Any]) -> Any:
        return usual() if self._random.random() < 0.97 else other()

    def _text(self) -> str:
        parts = []
        for _ in range(self._random.randrange(9)):
            if self._random.random() < 0.5:
                parts.append(self._random.choice(_PIECES) * self._random.choice((1, 1, 1, 2, 50)))
            else:
                codes = (
                    self._random.choice((0x80, 0x800, 0xD810, 0x10FFFF)) for _ in range(self._random.randrange(20))
                )
                parts.append("".join(chr(self._random.randrange(code)) for code in codes))
        return "".join(parts)

    def _url(self) -> str:
        start = ["https://example.com/", "https://example.com/?", "http://EXAMPLE.com:80/#", "https://example.com/a?b="]
        if self._random.random() < 0.1:
            return self._random.choice(("https://example.com", "https://", "")) + self._text()
        return self._random.choice(start) + self._text().translate(_CONTROLS)

    def _time(self) -> str:
        moment = _EARLIEST + timedelta(
            days=self._random.randrange(_DAYS), milliseconds=self._random.randrange(86_400_000)
        )
        return moment.isoformat() if self._random.random() < 0.3 else moment.isoformat().replace("+00:00", "Z")

    def _address(self) -> str:
        if self._random.random() < 0.5:
            return str(ipaddress.IPv4Address(self._random.getrandbits(32)))
        return str(ipaddress.IPv6Address(self._random.getrandbits(128)))

    def _id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128)))

    def _number(self) -> Any:
        kinds = (self._random.randrange(5000), self._random.getrandbits(70), -1, 0.5, -1e300, 65_536, None)
        return self._random.choice(kinds)

    def _anything(self) -> Any:
        made = (self._text(), self._number(), True, [self._text()], {self._text(): self._number()}, None, "", 2**63)
        return self._random.choice(made)
