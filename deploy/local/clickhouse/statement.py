"""Reads a query text: its kind, its output format, where an insert's data begin; refuses what must not run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.lexer import Token, tokens, without_hints
from deploy.local.clickhouse.processes_view import with_query_ids
from deploy.local.clickhouse.refusals import refuse_client_clauses

# Around the data of an insert: blanks after the format's name, then at most one line break.
_BEFORE_DATA = re.compile(rb"[ \t\f]*(?:\r?\n)?")
_SOURCES = frozenset((b"SELECT", b"WITH", b"WATCH"))
_WITH_RESULT = frozenset(
    ("SHOW", "DESC", "DESCRIBE", "EXISTS", "EXPLAIN", "KILL", "CHECK", "BACKUP", "RESTORE", "WATCH", "VALUES")
)
_BEFORE_NAME = frozenset((b"INTO", b"TABLE", b"FUNCTION", b"."))
_AFTER_FORMAT = frozenset((b"SETTINGS", b"INTO"))


@dataclass(frozen=True)
class Statement:
    """One statement. For an insert with data, `sql` has `%INSERT_SOURCE%` in place of the memory file's path.

    `data_start` is where an insert's data begin in the text that was read (None: there are none),
    `insert_format` their format. `format` is the FORMAT clause of any other statement. `words` are the statement's
    words outside of brackets, upper-cased. With an `input_structure`, the insert selects from `INPUT_TABLE`, into
    which its data have to be put first: it called the table function input(). `unformatted` is a SELECT without its
    FORMAT clause.
    """

    kind: str
    sql: bytes
    format: str | None = None
    insert_format: str | None = None
    data_start: int | None = None
    words: tuple[bytes, ...] = ()
    input_structure: str | None = None
    unformatted: bytes = b""

    @property
    def urgent(self) -> bool:
        """Whether it must run even when every connection is busy."""
        return self.kind == "KILL" or b"system.processes" in self.sql

    @property
    def has_result(self) -> bool:
        """Whether it returns rows, be they none."""
        return self.reads or self.kind in _WITH_RESULT

    @property
    def reads(self) -> bool:
        """Whether it is a SELECT: it returns rows and changes nothing."""
        return self.kind in ("SELECT", "WITH", "FROM") and b"INSERT" not in self.words

    def sql_reading(self, path: str) -> bytes:
        """Return the insert, reading its data from a path."""
        return self.sql.replace(_SOURCE, path.encode(), 1)


#: A temporary table with the data that input() reads.
INPUT_TABLE = "_data_of_the_request"
_SOURCE = b"%INSERT_SOURCE%"


def read(query: bytes, default_insert_format: str = "Values") -> Statement:
    """Read one statement, possibly with an insert's data behind it.

    Raises ClickHouseError for several statements in one text (the server refuses them over HTTP as a syntax
    error) and for client clauses that read or write files, which chDB, being a client, would execute.
    """
    found: list[Token] = []
    insert: list[Token] = []  # the tokens from INSERT on, which WITH may precede
    selects = False
    for token in tokens(query):
        if insert or _begins_an_insert(token, found):
            insert.append(token)
        found.append(token)
        if not insert or token.kind != "word":
            continue
        selects = selects or (token.text in _SOURCES and _begins_a_select(insert))
        if token.depth or len(insert) < 3 or insert[-2].text in _BEFORE_NAME:
            continue
        if token.text == b"VALUES" and not selects:
            return _insert(query, insert[:-1], token.start, "Values", token.end)
        if token.text == b"FORMAT" and (not selects or _reads_input(insert)):
            return _insert_with_format(query, insert)
    if insert and not selects:
        return _insert(query, insert, len(_one_statement(query, insert)), default_insert_format, len(query))
    return _whole(query, found, "INSERT" if insert else "")


def _begins_an_insert(token: Token, found: list[Token]) -> bool:
    """Return whether the token is the word INSERT that begins the statement, or follows the expressions of a WITH."""
    if token.text != b"INSERT" or token.kind != "word" or token.depth:
        return False
    if not found:
        return True
    last = found[-1]
    is_operand = last.kind in ("quoted", "number", "string") or last.text in (b")", b"]", b"}") or bool(last.name)
    if found[0].text != b"WITH" or not is_operand or last.text in (b"AS", b"WITH"):
        return False
    return b"SELECT" not in _words(found)


def _begins_a_select(found: list[Token]) -> bool:
    """Return whether an insert's last token begins its SELECT: outside brackets, or with only brackets before it.

    `INSERT INTO t (SELECT 1)` and `INSERT INTO t (a) (SELECT 1)` do; `INSERT INTO FUNCTION f(view(SELECT 1))` does not.
    """
    at = len(found) - 1
    while found[at - 1].text == b"(":
        at -= 1
    before = found[at - 2].text if at > 1 else b""
    return found[at].depth == 0 and before != b"FUNCTION"


def _reads_input(found: list[Token]) -> bool:
    return any(a.text == b"INPUT" and b.text == b"(" for a, b in pairwise(found))


def _insert_with_format(query: bytes, found: list[Token]) -> Statement:
    """Read `INSERT ... FORMAT name` with its data; also `INSERT ... SELECT ... FROM input(...) FORMAT name`."""
    clause = found.pop()
    name = next(tokens(query[clause.end : clause.end + 200]), None)
    if name is None or name.kind not in ("word", "quoted"):
        raise ClickHouseError(62, "Syntax error: expected the name of a format after FORMAT")
    start, end = clause.end + name.start, clause.end + name.end
    before = _BEFORE_DATA.match(query, end)
    data_start = before.end() if before else end
    if query[data_start : data_start + 1] == b";":
        # The server's own words for a common mistake.
        raise ClickHouseError(36, "You have ';' symbol before data in INSERT query. It's not allowed")
    return _insert(query, found, clause.start, query[start:end].strip(b'`"').decode(), data_start)


def _insert(query: bytes, found: list[Token], end: int, fmt: str, data_start: int) -> Statement:
    """Return an insert whose data come with the request: it will read them from a memory file."""
    if not fmt.isidentifier():
        raise ClickHouseError(73, "Unknown format: its name is not an identifier")
    refuse_client_clauses(found)
    words = _words(found)
    for name, bracket in pairwise(found):
        if name.text == b"INPUT" and bracket.text == b"(":
            return _insert_from_input(query[:end], found[found.index(name) :], fmt, data_start, words)
    at = next((t.start for t in found if t.text == b"SETTINGS" and t.depth == 0), end)
    source = b"\nFROM INFILE '" + _SOURCE + b"' "
    sql = query[:at] + source + query[at:end] + b"\nFORMAT " + fmt.encode()
    return Statement("INSERT", without_hints(sql), None, fmt, data_start, words)


def _insert_from_input(
    query: bytes, found: list[Token], fmt: str, data_start: int, words: tuple[bytes, ...]
) -> Statement:
    """Return an insert that selects from the request's data; `found` begins with `input`, `(` and a structure."""
    name, bracket, structure = found[:3]
    close = next((token for token in found[2:] if token.text == b")" and token.depth == bracket.depth), None)
    if structure.kind != "string" or close is None:
        raise ClickHouseError(48, "input() is implemented here with a structure only: input('column Type, ...')")
    sql = query[: name.start] + INPUT_TABLE.encode() + query[close.end :]
    return Statement("INSERT", without_hints(sql), None, fmt, data_start, words, structure.value.decode())


def _whole(query: bytes, found: list[Token], kind: str) -> Statement:
    """Return a statement without data in its text; `kind`: INSERT, or empty for its first word."""
    query = _one_statement(query, found)
    if not found:
        raise ClickHouseError(62, "Syntax error: failed at position 1 (end of query): . Empty query")
    refuse_client_clauses(found)
    words = _words(found)
    kind = kind or next((token.text.decode() for token in found if token.kind == "word"), "")
    if not kind:  # the engine takes such a text for an empty one
        raise ClickHouseError(62, "Syntax error: failed at position 1")
    sql, clause = with_query_ids(query, found, kind), _format_clause(found)
    if clause is None:
        return Statement(kind, without_hints(sql), words=words, unformatted=without_hints(sql))
    word, name = clause
    # What is rewritten stands before a FORMAT clause, so both are as far from the end as before.
    unformatted = sql[: len(sql) - len(query) + word.start] + query[name.end :]
    fmt = query[name.start : name.end].strip(b'`"').decode()
    return Statement(kind, without_hints(sql), fmt, words=words, unformatted=without_hints(unformatted))


def _one_statement(query: bytes, found: list[Token]) -> bytes:
    """Return the query without semicolons at its end, which are taken off `found`, too."""
    while found and found[-1].text == b";":
        query = query[: found.pop().start]
    if any(token.text == b";" for token in found):
        raise ClickHouseError(62, "Syntax error: Multi-statements are not allowed")
    return query


def _words(found: list[Token]) -> tuple[bytes, ...]:
    return tuple(token.text for token in found if token.kind == "word" and token.depth == 0)


def _format_clause(found: list[Token]) -> tuple[Token, Token] | None:
    """Return the word FORMAT and the name in a closing `FORMAT name`, which only SETTINGS or INTO can follow."""
    for at in range(len(found) - 1, 0, -1):
        clause, name = found[at - 1], found[at]
        if clause.text != b"FORMAT" or clause.depth or name.kind not in ("word", "quoted"):
            continue
        if at + 1 == len(found) or found[at + 1].text in _AFTER_FORMAT:
            return clause, name
    return None
