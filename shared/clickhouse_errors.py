"""What an error of ClickHouse, of its client or of the network on the way means, and what to do about it."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from shared import cluster as clusters
from shared.clickhouse_address import ClickHouseAddress
from shared.clickhouse_cures import CURES

#: Codes (src/Common/ErrorCodes.cpp) that mean that `hitline migrate` has not been run.
UNKNOWN_TABLE: Final = 60
UNKNOWN_DATABASE: Final = 81
#: Codes that mean that user, password or grants are not sufficient.
_DENIED: Final = frozenset({192, 193, 194, 497, 516})


class ReplicaBehind(ConnectionError):
    """The message says which, and is for operators."""


class Failure(NamedTuple):
    """What went wrong, as far as the error says."""

    #: ClickHouse's error code and name; None if the answer is not from ClickHouse (such as a proxy's 502).
    code: int | None
    name: str | None

    @property
    def reachable(self) -> bool:
        """False: ClickHouse did not answer, so it may or may not have executed the statement."""
        return self.code is not None

    @property
    def no_schema(self) -> bool:
        """The tables do not exist."""
        return self.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE)

    @property
    def denied(self) -> bool:
        """User, password or grants are not sufficient."""
        return self.code in _DENIED


def failure_of(error: BaseException) -> Failure | None:
    """Classify an error raised by `shared/clickhouse.py` or by clickhouse-connect.

    None: neither ClickHouse nor the network failed; values don't fit a column's type (`DataError`), for example.
    """
    from clickhouse_connect.driver.exceptions import DatabaseError, DataError, ProgrammingError

    if isinstance(error, (OSError, asyncio.TimeoutError)):
        return Failure(None, None)
    if isinstance(error, DatabaseError) and not isinstance(error, (DataError, ProgrammingError)):
        return Failure(error.code, error.name)
    return None


def explain(error: BaseException, address: ClickHouseAddress) -> str:
    """Return one line on what an operator should do about an error; it never quotes a password or inserted values."""
    failure = failure_of(error)
    if failure is None:
        return f"ClickHouse at {address}: {type(error).__name__}"
    if isinstance(error, (clusters.TooFewReplicas, ReplicaBehind)):
        return str(error)
    if not failure.reachable:
        return f"ClickHouse at {address} does not answer: is it running, and is HITLINE_CLICKHOUSE_URL correct?"
    if failure.no_schema:
        return f"ClickHouse at {address} has no Hitline tables, or lacks one: run `hitline migrate`"
    if failure.denied:
        return (
            f"ClickHouse at {address} refuses the user or password, or the user lacks a grant ({failure.name}, code"
            f" {failure.code}): check HITLINE_CLICKHOUSE_URL and the user's grants"
        )
    answer = f"ClickHouse at {address} answers with error {failure.code} ({failure.name})"
    cure = CURES.get(failure.code or 0)
    return f"{answer}: {cure}" if cure else answer
