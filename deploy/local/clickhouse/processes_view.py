"""Shows the clients' query ids in `system.processes` and KILL QUERY.

chDB gives each query an id of its own and accepts none. So a client's id travels in the setting `log_comment`, as
`user/id`, which system.processes shows; statements that name that table, kill by id or user, or select `queryID()`,
are rewritten to read them from there.
"""

from __future__ import annotations

from deploy.local.clickhouse.lexer import Token

_COMMENT = b"Settings['log_comment']"
_QUERY_ID = b"if(position(" + _COMMENT + b", '/') = 0, query_id, extract(" + _COMMENT + b", '^[^/]*/((?s).*)'))"
_USER = b"if(position(" + _COMMENT + b", '/') = 0, user, extract(" + _COMMENT + b", '^([^/]*)/'))"
# Under these names a client means what it gave; `user` is always the engine's only one.
_OF_CLIENT = {b"query_id": _QUERY_ID, b"initial_query_id": _QUERY_ID, b"user": _USER, b"initial_user": _USER}
_PROCESSES = (
    b"(SELECT * REPLACE ("
    + _QUERY_ID
    + b" AS query_id, "
    + _QUERY_ID
    + b" AS initial_query_id, "
    + _USER
    + b" AS user, "
    + _USER
    + b" AS initial_user) FROM system.processes)"
)


# What functions return a query's own id.
_OWN_ID = (b"queryid", b"query_id", b"initialqueryid", b"initial_query_id")


def tag(user: str, query_id: str) -> str:
    """Return the value of `log_comment` for a query."""
    return f"{user.replace('/', '_')}/{query_id}"


def with_query_ids(query: bytes, found: list[Token], kind: str) -> bytes:
    """Rewrite `system.processes` in any statement, `query_id` in KILL QUERY, and `queryID()` in SELECT."""
    edits: list[tuple[int, int, bytes]] = []
    if kind == "KILL":
        edits = [
            (token.start, token.end, _OF_CLIENT[token.name])
            for before, token, following in zip([None, *found], found, [*found[1:], None], strict=False)
            if token.name in _OF_CLIENT and _is_column(before, following)
        ]
    for first, dot, last in zip(found, found[1:], found[2:], strict=False):
        if (first.name, dot.text, last.name) == (b"system", b".", b"processes"):
            edits.append((first.start, last.end, _PROCESSES))
        if kind in ("SELECT", "WITH") and first.name in _OWN_ID and (dot.text, last.text) == (b"(", b")"):
            edits.append((first.start, last.end, _own_id(query[first.start : last.end])))
    for start, end, text in sorted(edits, reverse=True):
        query = query[:start] + text + query[end:]
    return query


def _own_id(call: bytes) -> bytes:
    """Return an expression for the id that the client gave, with the name that the call would have."""
    return b"(extract(getSetting('log_comment'), '^[^/]*/((?s).*)') AS `" + call + b"`)"


def _is_column(before: Token | None, following: Token | None) -> bool:
    """Return whether a name between two tokens is a column: no parameter `{name:Type}`, no function `name(...)`."""
    is_parameter = before is not None and before.text == b"{" and following is not None and following.text == b":"
    return not is_parameter and not (following is not None and following.text == b"(")
