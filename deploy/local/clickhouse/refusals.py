"""What may not run: clauses that only a client executes, and ways out of the engine that grants do not close."""

from __future__ import annotations

import re
from itertools import pairwise

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.lexer import Token, tokens

# Engines that keep to the data directory. chDB asks for no grant on some others, as EmbeddedRocksDB with a path.
_ENGINE = re.compile(
    rb"\w*mergetree|memory|null|log|tinylog|stripelog|set|join|buffer|merge|alias|view|materializedview|generaterandom"
    rb"|atomic|replicated"
)
# A name after these is not a clause of CREATE.
_BEFORE_OTHER_NAMES = frozenset((b"by", b",", b".", b"table", b"view", b"database", b"exists"))
# A text is not cut into tokens unless one of these is in it.
_SUSPECT = re.compile(rb"file|disk|engine|dictionary|\\", re.IGNORECASE)


def refuse_client_clauses(found: list[Token]) -> None:
    """Refuse what a server never runs but chDB, being a client too, would; and what affects other processes."""
    if len(found) > 1 and (found[0].text, found[1].text) == (b"EXECUTE", b"AS"):
        raise ClickHouseError(344, "IMPERSONATE feature is disabled")
    if len(found) > 1 and found[0].text == b"SYSTEM" and found[1].text in (b"SHUTDOWN", b"KILL"):
        # The engine would signal its whole process group, including the process that started this server.
        raise ClickHouseError(48, f"SYSTEM {found[1].text.decode()} is not implemented here: end the process")
    for token, following in pairwise(found):
        if token.kind == "word" and token.text == b"INTO" and following.text == b"OUTFILE":
            raise ClickHouseError(309, "INTO OUTFILE is not allowed")
        if token.kind == "word" and token.text == b"FROM" and following.text == b"INFILE":
            raise ClickHouseError(63, "Query has infile and was send directly to server")
        if token.name == b"python" and following.text == b"(":
            raise ClickHouseError(46, "Unknown table function Python")


def refuse_sources(text: bytes) -> None:
    """Refuse the ways to files and addresses that chDB allows to users without grants on sources (26.9, all tried).

    They are the scalar function `file`, also as `arrayMap(file, ...)`; tables whose engine or disk lies elsewhere; and
    dictionaries, which may run commands. `text`: a statement, an insert's values, or the structure of a table.
    Raises ClickHouseError 497.
    """
    if not _SUSPECT.search(text):
        return
    found = list(tokens(text))
    names = [token.name or token.text for token in found] + [b"", b""]
    creates = names[0] in (b"create", b"attach", b"replace")
    for at, token in enumerate(found):
        name, following = names[at], names[at + 1]
        # A column of this name has to be written with its table's name.
        if name == b"file" and (following == b"(" or names[at - 1] not in (b"as", b".")):
            raise _denied("READ ON FILE")
        if name == b"disk" and following == b"(":
            raise _denied("READ ON DISK")
        if not creates or token.depth:
            continue
        if name == b"dictionary":
            raise _denied("CREATE DICTIONARY")
        if names[at - 1] in _BEFORE_OTHER_NAMES:
            continue
        if name == b"engine" and not _ENGINE.fullmatch(engine := names[at + 2] if following == b"=" else following):
            raise _denied(f"TABLE ENGINE ON {engine.decode(errors='replace')}")
        creates = name not in (b"select", b"with")  # an engine stands before them


def _denied(grant: str) -> ClickHouseError:
    message = f"Not enough privileges. To execute this query, it's necessary to have the grant {grant}"
    return ClickHouseError(497, message)
