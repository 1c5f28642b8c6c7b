"""What to do about an error from ClickHouse: the one table from cause to kind.

Poison is a closed list of causes in a row itself, and applies only once the insert is down to that single row.
Everything else is retried for as long as it takes: a forgotten migration, a full disk or a wrong password must not
send a whole stream to the dead letters.
"""

from __future__ import annotations

from typing import Final

from clickhouse_connect.driver.exceptions import DataError

from shared.clickhouse_errors import failure_of

#: ClickHouse's codes (src/Common/ErrorCodes.cpp) for a value that a column can't hold or a constraint forbids.
POISON_CODES: Final = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
    691: "UNKNOWN_ELEMENT_OF_ENUM",
}

_MEMORY_LIMIT_EXCEEDED: Final = 241


def poison_cause(error: Exception) -> str | None:
    """Return the name of a cause that is in the rows, or None for an error to retry."""
    if isinstance(error, (DataError, OverflowError, UnicodeError)):  # the client could not even serialise a value
        return f"client: {type(error).__name__}"
    failure = failure_of(error)
    if failure is None or failure.code is None:
        return None
    return POISON_CODES.get(failure.code)


def is_too_large(error: Exception) -> bool:
    """Return whether an insert may have failed for its size: ClickHouse's memory limit, or a proxy's body limit."""
    failure = failure_of(error)
    if failure is None:
        return False
    return failure.code == _MEMORY_LIMIT_EXCEEDED or (failure.code is None and "HTTP status 413" in str(error))


def kind_of(error: Exception) -> str:
    """Return a short name of an error for metrics and logs, without its text."""
    failure = failure_of(error)
    if failure is None:
        return type(error).__name__
    return failure.name or "unreachable"
