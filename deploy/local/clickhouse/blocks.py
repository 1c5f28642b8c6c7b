"""Decides which results can be streamed: those whose concatenated blocks are the whole result.

chDB writes each block of a streamed result as if it were a whole one: with a heading, where the format has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from deploy.local.clickhouse.engine import Result
from deploy.local.clickhouse.statement import Statement

_LINE = rb"[^\n]*\n"
_CSV_LINE = rb'(?:"[^"]*"|[^"\n])*\n'  # a name may hold a line break
_HEADINGS = {
    "csvwithnames": re.compile(_CSV_LINE),
    "csvwithnamesandtypes": re.compile(_CSV_LINE * 2),
    "tabseparatedwithnames": re.compile(_LINE),
    "tsvwithnames": re.compile(_LINE),
    "tabseparatedwithnamesandtypes": re.compile(_LINE * 2),
    "tsvwithnamesandtypes": re.compile(_LINE * 2),
    "jsoncompacteachrowwithnames": re.compile(_LINE),
    "jsoncompacteachrowwithnamesandtypes": re.compile(_LINE * 2),
}
_WITHOUT_HEADING = frozenset(
    (
        "native",
        "rowbinary",
        "csv",
        "tabseparated",
        "tsv",
        "tabseparatedraw",
        "tsvraw",
        "jsoneachrow",
        "jsonlines",
        "ndjson",
        "jsonstringseachrow",
        "jsoncompacteachrow",
        "jsoncompactstringseachrow",
    )
)
# Settings that add something before or after all rows: brackets, or the rows of extremes.
_AROUND_ALL = ("output_format_json_array_of_rows", "extremes")


def can_stream(statement: Statement, fmt: str, settings: Mapping[str, str]) -> bool:
    """Return whether the statement's result in this format can be streamed; `settings`: the request's."""
    if not statement.reads or b"TOTALS" in statement.words:
        return False
    if any(name in settings or name.encode() in statement.sql.lower() for name in _AROUND_ALL):
        return False
    return fmt.lower() in _WITHOUT_HEADING or fmt.lower() in _HEADINGS


def with_one_heading(blocks: Iterator[Result], fmt: str) -> Iterator[Result]:
    """Yield the blocks, of which only the first keeps its heading."""
    heading = _HEADINGS.get(fmt.lower())
    for number, block in enumerate(blocks):
        found = heading.match(block.data) if heading and number else None
        yield replace(block, data=block.data[found.end() :]) if found else block
