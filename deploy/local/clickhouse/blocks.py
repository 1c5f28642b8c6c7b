"""Which results can be sent while the query runs: those whose blocks, one after the other, are the whole.

chDB writes each block of a streamed result as if it were all of it: with a heading of its own, where the format
has one.
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
# Settings that put something before or behind all rows: brackets, or the rows of extremes.
_AROUND_ALL = ("output_format_json_array_of_rows", "extremes")


def are_the_whole(statement: Statement, fmt: str, settings: Mapping[str, str]) -> bool:
    """Whether the statement's result in this format can be sent block by block; `settings`: the request's."""
    if not statement.reads or b"TOTALS" in statement.words:
        return False
    if any(name in settings or name.encode() in statement.sql.lower() for name in _AROUND_ALL):
        return False
    return fmt.lower() in _WITHOUT_HEADING or fmt.lower() in _HEADINGS


def with_one_heading(blocks: Iterator[Result], fmt: str) -> Iterator[Result]:
    """The blocks, of which only the first keeps its heading."""
    heading = _HEADINGS.get(fmt.lower())
    for number, block in enumerate(blocks):
        found = heading.match(block.data) if heading and number else None
        yield replace(block, data=block.data[found.end() :]) if found else block
