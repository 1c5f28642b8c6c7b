"""Tokens of a ClickHouse query text, as its own lexer cuts them (src/Parsers/Lexer.cpp)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    rb"""
    (?P<space> [\s\x00\xa0]+ | --[^\n]* | \#[ !][^\n]* | //[^\n]* | /\*(?:.*?\*/|.*\Z) )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<number> [0-9][A-Za-z0-9_]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


_HINT = re.compile(rb"(?:--|/\*|#!?|//)[ \t]*\{")


class Token(NamedTuple):
    """A token of the query: kind, text and position. Words are upper-cased in `text`."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int


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
