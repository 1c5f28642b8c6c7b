"""What an erasure asks for: every condition that was given, never one less, and each spelling of a path."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.erasure.conditions import GIVEN, LAST_BITS, RECORDED, Erasure

SITE, SESSION = UUID(int=1), UUID("0191d6c2-7f65-4c0e-9c83-9a4d0c7b1f11")
#: Of version 8, with its last bits zero.
VISITOR = UUID("0191d6c2-7f65-8c0e-9c83-9a4d00000000")
FROM, TO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

#: What is given, and the condition that it makes.
CONDITIONS: dict[str, tuple[Any, str]] = {
    "sites": ((SITE,), "site_id IN (SELECT arrayJoin(sites) FROM asked)"),
    "session_id": (SESSION, "session_id IN (SELECT assumeNotNull(session_id) FROM asked)"),
    "path": ("/a", "path IN (SELECT arrayJoin(paths) FROM asked)"),
    "time_from": (FROM, "timestamp >= {from:DateTime64(3, 'UTC')}"),
    "time_to": (TO, "timestamp < {to:DateTime64(3, 'UTC')}"),
}


@given(st.sets(st.sampled_from(list(CONDITIONS)), min_size=1))
def test_every_condition_that_is_given_counts_and_no_other(names: set[str]) -> None:
    given_ = {name: CONDITIONS[name][0] for name in names}
    sql, parameters = Erasure(**given_).condition(GIVEN)
    assert set(sql.split(" AND ")) == {CONDITIONS[name][1] for name in names}
    assert parameters == {
        short: given_[name] for name, short in (("time_from", "from"), ("time_to", "to")) if name in names
    }


def test_a_prefix_is_looked_for_at_the_beginning() -> None:
    assert Erasure(path="/a*").condition(GIVEN)[0] == (
        "arrayExists(prefix -> startsWith(path, prefix), (SELECT any(prefixes) FROM asked))"
    )


def test_what_is_recorded_is_read_from_the_record() -> None:
    sql, parameters = Erasure(sites=(SITE,), erasure_id=SESSION).condition()
    assert sql == f"site_id IN (SELECT arrayJoin(sites) FROM {RECORDED})"
    assert parameters == {"erasure": str(SESSION)}


@pytest.mark.parametrize("wider", [{"sites": ()}, {"path": ""}, {"path": "*"}])
def test_nothing_is_erased_by_a_condition_that_is_empty(wider: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^an erasure of no site, or of an empty path, would erase more than inten"):
        Erasure(**{"session_id": SESSION, "time_from": FROM, **wider}).condition()


def test_nothing_is_erased_without_a_condition() -> None:
    with pytest.raises(ValueError, match=r"^an erasure needs a condition: a site, a session, a path or a time$"):
        Erasure(erasure_id=SESSION).condition()


@pytest.mark.parametrize(
    ("id", "column"),
    [
        (VISITOR, "visitor_id"),
        (UUID(int=VISITOR.int | 1), "session_id"),
        (UUID(int=VISITOR.int | LAST_BITS), "session_id"),
        (UUID(int=VISITOR.int | (LAST_BITS + 1)), "visitor_id"),
        (UUID(int=SESSION.int & ~LAST_BITS), "session_id"),
        (SESSION, "session_id"),
    ],
)
def test_a_visitor_s_id_is_looked_for_among_visitors(id: UUID, column: str) -> None:
    assert Erasure(session_id=id).condition(GIVEN)[0].startswith(f"{column} IN ")


@pytest.mark.parametrize(
    ("path", "paths", "prefixes"),
    [
        (None, [], []),
        ("/a", ["/a"], []),
        ("/a*", [], ["/a"]),
        ("/a b", ["/a b", "/a%20b"], []),
        ("/%61/./b", ["/%61/./b", "/a/b"], []),
        ("/%61/./b*", [], ["/%61/./b"]),
        ("/%61*", [], ["/%61", "/a"]),
    ],
)
def test_a_path_is_looked_for_in_each_of_its_spellings(path: str | None, paths: list[str], prefixes: list[str]) -> None:
    erasure = Erasure(path=path, session_id=SESSION)
    assert (erasure.paths, erasure.prefixes) == (paths, prefixes)


def test_the_values_go_with_the_statement_as_a_table() -> None:
    [file] = Erasure(sites=(SITE,), session_id=SESSION, path="/a*").external().files
    assert json.loads(file.data) == {
        "sites": [str(SITE)], "session_id": str(SESSION), "paths": [], "prefixes": ["/a"],
    }  # fmt: skip
    assert (file.name, file.fmt) == (GIVEN, "JSONEachRow")
    assert file.structure == "sites Array(UUID),session_id Nullable(UUID),paths Array(String),prefixes Array(String)"
    [empty] = Erasure().external().files
    assert json.loads(empty.data) == {"sites": [], "session_id": None, "paths": [], "prefixes": []}
