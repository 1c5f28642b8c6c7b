"""Shows the clients' query ids in `system.processes` and KILL QUERY.

chDB gives each query an id of its own and accepts none. So a client's id travels in the setting `log_comment`, as
`user/id`, which system.processes shows; statements that name that table or kill by `query_id` are rewritten to
read it from there.
"""

from __future__ import annotations

from deploy.local.clickhouse.lexer import Token

_COMMENT = b"Settings['log_comment']"
_QUERY_ID = b"if(position(" + _COMMENT + b", '/') = 0, query_id, extract(" + _COMMENT + b", '^[^/]*/((?s).*)'))"
_USER = b"if(position(" + _COMMENT + b", '/') = 0, user, extract(" + _COMMENT + b", '^([^/]*)/'))"
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


def tag(user: str, query_id: str) -> str:
    """Return the value of `log_comment` for a query."""
    return f"{user.replace('/', '_')}/{query_id}"


def with_query_ids(query: bytes, found: list[Token], kind: str) -> bytes:
    """Rewrite `system.processes` in any statement, and `query_id` in KILL QUERY."""
    edits: list[tuple[int, int, bytes]] = []
    if kind == "KILL":
        edits = [(t.start, t.end, _QUERY_ID) for t in found if _name(t) == b"query_id"]
    for first, dot, last in zip(found, found[1:], found[2:], strict=False):
        if (_name(first), dot.text, _name(last)) == (b"system", b".", b"processes"):
            edits.append((first.start, last.end, _PROCESSES))
    for start, end, text in sorted(edits, reverse=True):
        query = query[:start] + text + query[end:]
    return query


def _name(token: Token) -> bytes:
    if token.kind == "word":
        return token.text.lower()
    return token.text.strip(b'`"') if token.kind == "quoted" else b""
