"""Queries out of a document: what it shows is what is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent.parent / "docs"
ANALYSTS = DOCS / "analysts.md"
QUERIES = DOCS / "queries.md"
_QUERY = re.compile(r"^## (\d+)\. (.+?)$(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"```sql([^\n]*)\n(.*?)```", re.DOTALL)


class Query(NamedTuple):
    """A numbered query, and the one over rollups where there is one; `equal`: both give the same.

    Where they don't, the rollup counts a session on each of its days.
    """

    number: int
    title: str
    sql: str
    rollup: str | None
    equal: bool


def queries(document: Path = QUERIES) -> list[Query]:
    """Return the document's numbered queries."""
    found = []
    for number, title, text in _QUERY.findall(document.read_text("utf-8")):
        blocks = [(kind.strip(), sql) for kind, sql in _BLOCK.findall(text)]
        kind, rollup = blocks[1] if len(blocks) > 1 else ("", None)
        found.append(Query(int(number), title, blocks[0][1], rollup, kind == "rollup"))
    return found


def named(kind: str, document: Path = QUERIES) -> str:
    """Return the query that the document marks with this word."""
    return next(sql for found, sql in _BLOCK.findall(document.read_text("utf-8")) if found.strip() == kind)
