"""Which sites' rollups have to move, as ClickHouse answers: the registry read again, and rules of zones."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.rollups import zone_rules, zones

MINUTE = 60_000_000
#: Years of which something may be counted.
PAST = datetime.now(UTC).year - 1990 + 1


class Answering:
    """Answers each query by what it reads, and notes the commands."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.commands: list[tuple[str, Any]] = []

    async def query(self, sql: str, parameters: Any = None) -> Any:
        self.asked.append((sql, parameters))
        if "cityHash64" in sql:
            return SimpleNamespace(result_rows=[(self.answers["rules"][parameters["zone"]],)])
        if "GROUP BY timezone" in sql:
            return SimpleNamespace(result_rows=self.answers["in_use"])
        return SimpleNamespace(result_rows=[(self.answers["value"],)])

    async def command(self, sql: str, parameters: Any = None) -> None:
        self.commands.append((" ".join(sql.split()), parameters))


def answering(**answers: Any) -> Any:
    return Answering(**answers)


@pytest.mark.parametrize(
    ("seen", "since"), [(0, 0), (MINUTE - 1, 0), (MINUTE, 0), (MINUTE + 1, 1), (10**16, 10**16 - MINUTE)]
)
def test_the_registry_is_read_again_from_a_minute_before(seen: int, since: int) -> None:
    assert zones.since(seen) == since


@pytest.mark.parametrize(
    ("seen", "there", "newest"), [(10**9, 0, 10**9), (10**9, 10**9 - 5, 10**9), (10**9, 10**9 + 5, 10**9 + 5)]
)
async def test_what_is_seen_of_the_registry_never_goes_back(seen: int, there: int, newest: int) -> None:
    clickhouse = answering(value=there)
    assert await zones.newest(clickhouse, seen) == newest
    assert clickhouse.asked[0][1] == {"since": seen - MINUTE}


async def test_moves_are_noted_of_what_is_new_in_the_registry() -> None:
    clickhouse = answering()
    await zones.begin_moves(clickhouse, 10**9, 10**9)
    await zones.begin_moves(clickhouse, 0, 0)
    await zones.begin_moves(clickhouse, 10**9, 10**9 - MINUTE)
    await zones.copy_sites(clickhouse, 10**9, 10**9 + 5)
    await zones.end_moves(clickhouse)
    into_zones = "INSERT INTO hitline_control.rollup_zones "
    assert [(sql.startswith(into_zones), given) for sql, given in clickhouse.commands] == [
        (True, {"since": 10**9 - MINUTE, "up_to": 10**9}),
        (False, {"since": 10**9 - MINUTE, "up_to": 10**9 + 5}),
        (True, None),
    ]


@pytest.mark.parametrize(("number", "moving"), [(0, False), (1, True), (7, True)])
async def test_sites_of_a_run_that_was_cut_off_are_still_moving(number: int, moving: bool) -> None:
    assert await zones.any_moving(answering(value=number)) is moving


class Lease:
    number = 41

    def next_number(self) -> int:
        self.number += 1
        return self.number


BEFORE = list(range(60))
CHANGED = [*BEFORE[:PAST], *[7] * (60 - PAST)]
CORRECTED = [99, *BEFORE[1:]]
LAST_YEAR_CORRECTED = [*BEFORE[: PAST - 1], 99, *BEFORE[PAST:]]


@pytest.mark.parametrize("only_new", [False, True])
async def test_sites_move_when_the_rules_of_their_zone_s_past_change_and_not_for_its_future(only_new: bool) -> None:
    rules = {
        "Same": BEFORE, "Future": CHANGED, "Past": CORRECTED, "This/Year": LAST_YEAR_CORRECTED, "New": BEFORE,
    }  # fmt: skip
    in_use = [("Same", BEFORE), ("Future", BEFORE), ("Past", BEFORE), ("This/Year", BEFORE), ("New", [])]
    clickhouse, lease = answering(rules=rules, in_use=in_use), Lease()
    some: Any = lease
    moved = await zone_rules.follow(clickhouse, some, only_new=only_new)
    noted = [given for sql, given in clickhouse.commands if "rollup_zone_rules" in sql]
    moves = [given["zone"] for sql, given in clickhouse.commands if "rollup_zone_rules" not in sql]
    names = ["New"] if only_new else ["Future", "Past", "This/Year", "New"]
    assert [(each["zone"], each["years"], each["number"]) for each in noted] == [
        (name, rules[name], number) for number, name in enumerate(names, 42)
    ]
    assert tuple(moves) == moved == (() if only_new else ("Past", "This/Year"))
    hours = [given for sql, given in clickhouse.asked if "cityHash64" in sql]
    assert hours[0] == {
        "zone": "New" if only_new else "Same", "first": int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()),
        "hours": 60 * 366 * 24,
    }  # fmt: skip


async def test_the_database_of_zones_is_named_as_the_server_does() -> None:
    assert await zone_rules.version(answering(value="2026c")) == "2026c"
