"""Retrying without pauses, and only what ClickHouse fails with: another error ends the test, which would never end."""

from __future__ import annotations

from clickhouse_connect.driver.exceptions import ClickHouseError

from shared.backoff import Backoff
from shared.clickhouse_address import parse_address
from worker.store.retry import Retry


class Impatient(Retry):
    """Repeats at once what ClickHouse or the network failed at; anything else is a mistake, and raised."""

    def __init__(self) -> None:
        super().__init__(parse_address("http://127.0.0.1"))

    @staticmethod
    def backoff() -> Backoff:
        return Backoff(0, 0)

    async def pause(self, error: Exception, backoff: Backoff, name: str) -> None:
        if not isinstance(error, (ClickHouseError, OSError)):
            raise error
        await super().pause(error, backoff, name)
