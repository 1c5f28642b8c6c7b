"""Hostile texts and the fields that they are put into, for `tests.bench.hostile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

#: A body's limit; longer hostile text is no input.
BODY_BYTES: Final = 64 * 1024

#: Kinds of hostile text, each a pattern that is repeated to the wanted length; `{}` is made different every time.
KINDS: Final = {
    "one letter": "a", "one digit": "7", "spaces": " ", "tabs": "\t", "NUL": "\0", "line breaks": "\r\n",
    "dots": ".", "letters and dots": "a.", "hyphens": "-", "slashes": "/", "backslashes": "\\", "dot segments": "/..",
    "single dots": "/.", "encoded dots": "/%2e%2e", "segments": "/a", "percent signs": "%", "broken escapes": "%2",
    "escapes": "%C3%BC", "escaped escapes": "%25", "escaped letters": "%61", "invalid UTF-8": "%FF",
    "parameters": "&a=1", "empty parameters": "&", "campaigns": "&utm_source=a", "escaped names": "&%75tm_source=%61",
    "escaped ampersands": "&amp;", "doubly escaped ampersands": "%26amp%3B", "numeric references": "&#038;",
    "equals signs": "=", "pluses": "+", "semicolons": ";", "questions": "?", "fragments": "#", "at signs": "@",
    "colons": ":", "brackets": "[", "closing brackets": "]", "parentheses": "(", "quotes": '"', "commas": ",",
    "quotes and commas": '",', "backslashes and quotes": '\\"', "backslashes and commas": "\\,",
    "line breaks and braces": "\n{",
    "CJK": "中", "CJK labels": "中.", "umlauts": "ü", "umlaut labels": "ü.", "emoji": "🙂", "emoji labels": "🙂.",
    "Arabic": "ا", "Hebrew and digits": "א1",
    "joiners": "a\u200d", "combining marks": "e\u0301", "soft hyphens": "\u00ad",
    "ligatures": "ﷺ", "sharp s": "ß", "dotted I": "İ", "punycode": "xn--", "punycode labels": "xn--bcher-kva.",
    "full-width dots": "a。", "language subtags": "-ab", "language list": "en;q=0.9,", "private subtags": "-x-y",
    "schemes": "http://", "escaped schemes": "http%3A%2F%2F", "view-source": "view-source:", "Mozilla": "Mozilla/5.0 (",
    "browsers": " Chrome/1.0 Safari/1", "compatible": "(compatible; ", "Android": "Android ; ", "bots": "bot ",
    "Windows": "Windows NT 10.0; ", "Mobile": "Mobile ", "almost a bot": "bo crawle spide ", "Linux": "Linux; U; ",
    "versions": "1.", "app links": "android-app://", "zeros": "0", "hex digits": "f0", "every character": "",
}  # fmt: skip

#: Fields, and the text that they hold around the hostile one.
FIELDS: Final[dict[str, Callable[[str], dict[str, str]]]] = {
    "url": lambda text: {"url": text},
    "url: host": lambda text: {"url": f"https://{text}/"},
    "url: host below the site": lambda text: {"url": f"https://{text}.example.net/"},
    "url: user info": lambda text: {"url": f"https://{text}@example.com/"},
    "url: path": lambda text: {"url": f"https://example.com/{text}"},
    "url: query": lambda text: {"url": f"https://example.com/?{text}"},
    "url: parameter": lambda text: {"url": f"https://example.com/?utm_source={text}"},
    "url: fragment": lambda text: {"url": f"https://example.com/#{text}"},
    "referrer": lambda text: {"referrer": text},
    "referrer: host": lambda text: {"referrer": f"https://{text}/"},
    "referrer: path": lambda text: {"referrer": f"https://example.org/{text}"},
    "user_agent": lambda text: {"user_agent": text},
    "user_agent: in a browser's": lambda text: {"user_agent": f"Mozilla/5.0 (Linux; Android 14; {text}) Chrome/138.0"},
    "language": lambda text: {"language": text},
    "language: behind a tag": lambda text: {"language": f"en{text}"},
    "timestamp": lambda text: {"timestamp": text},
    "visitor_ip": lambda text: {"visitor_ip": text},
    "session_id": lambda text: {"session_id": text},
    "unknown field": lambda text: {"x": text},
    "all fields at once": lambda text: {
        "url": f"https://example.com/{text}?{text}", "referrer": text, "language": text,
        "user_agent": f"Mozilla/5.0 (Linux; Android 14; {text}) Chrome/138.0",
    },
}  # fmt: skip


def hostile(kind: str, length: int, salt: int) -> str:
    """Return text of a kind; `salt` makes it new to every cache."""
    pattern = KINDS[kind]
    if not pattern:  # a run of different characters, the worst case of punycode
        return f"s{salt}" + "".join(chr(0x4E00 + (7 * n + salt) % 20_000) for n in range(length))
    return f"s{salt}" + (pattern * (length // len(pattern) + 1))[:length]


def body(fields: dict[str, str]) -> bytes:
    """Return a request's body with some fields replaced."""
    sent: dict[str, Any] = {
        "url": "https://example.com/",
        "timestamp": "2026-05-28T20:00:00Z",
        "visitor_ip": "81.2.69.142",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    }
    return orjson.dumps(sent | fields)
