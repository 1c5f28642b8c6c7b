"""Tokens of a ClickHouse query text, as its own lexer cuts them (src/Parsers/Lexer.cpp)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    rb"""
    (?P<space> (?:[\s\x00\xa0] | \xc2[\x85\xa0] | \xe1\x9a\x80 | \xe1\xa0\x8e | \xe2\x80[\x80-\x8f\xa8\xa9\xaf]
        | \xe2\x81[\x9f\xa0] | \xe3\x80\x80 | \xef\xbb\xbf)+
      | --[^\n]* | \#[ !][^\n]* | //[^\n]* | /\*(?:.*?\*/|.*\Z) )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ | \xe2\x80\x98 .*? \xe2\x80\x99 )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" | \xe2\x80\x9c .*? \xe2\x80\x9d )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<number> [0-9][A-Za-z0-9_]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


_CURLY = (b"\xe2\x80\x98", b"\xe2\x80\x9c")
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_HINT = re.compile(rb"(?:--|/\*|#!?|//)[ \t]*\{")


class Token(NamedTuple):
    """A token of the query: kind, text and position. Words are upper-cased in `text`."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def name(self) -> bytes:
        """The identifier that this is, in lower case and without quotes and escapes; empty for other tokens."""
        if self.kind == "word":
            return self.text.lower()
        if self.kind != "quoted":
            return b""
        return self.value.lower()

    @property
    def value(self) -> bytes:
        """The content of a string or a quoted name."""
        width = len(_CURLY[0]) if self.text.startswith(_CURLY) else 1
        return _ESCAPE.sub(_unescaped, self.text[width:-width])


def _unescaped(match: re.Match[bytes]) -> bytes:
    escaped = match.group(1)
    return bytes([int(escaped[1:], 16)]) if len(escaped) == 3 else escaped


def without_hints(query: bytes) -> bytes:
    """Return the query without comments that begin with a brace.

    chDB, being a client, reads `-- { serverError 60 }` as a hint of ClickHouse's own tests: it would turn an error into
    an empty success and print the query.
    """
    if not _HINT.search(query):
        return query
    return b"".join(
        b" " if match.lastgroup == "space" and _HINT.match(match.group()) else match.group()
        for match in _TOKEN.finditer(query)
    )


def tokens(query: bytes) -> Iterator[Token]:
    """Yield all tokens except white space and comments, lazily, so that an insert's data are never scanned.

    `depth` counts the brackets around a token; a bracket itself has the depth outside of it.
    """
    depth = 0
    for match in _TOKEN.finditer(query):
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "string"
        if kind == "space":
            continue
        text = match.group()
        if text in (b")", b"]", b"}"):
            depth -= 1
        yield Token(kind, text.upper() if kind == "word" else text, match.start(), match.end(), depth)
        if text in (b"(", b"[", b"{"):
            depth += 1
