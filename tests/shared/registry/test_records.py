from __future__ import annotations

import dataclasses
import uuid

import pytest

from shared.pageview import MANAGE_DATA
from shared.registry.old_grants import with_old_grants
from shared.registry.records import TABLES, Client, Grant, Record


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_table_has_the_columns_of_its_record_in_the_same_order(kind: type[Record]) -> None:
    fields = [field.name.removeprefix("old_") for field in dataclasses.fields(kind)]
    assert fields == [*TABLES[kind].columns, "created_us"]
    assert set(TABLES[kind].key) <= set(fields)


def test_few_grants_are_kept_in_the_old_form_too_and_many_are_not_written_again() -> None:
    client = Client(b"c" * 16, "edge")
    every, one = Grant(client.client_id, MANAGE_DATA), Grant(client.client_id, MANAGE_DATA, b"\1" * 16)
    both = with_old_grants(client, [every, one, one])
    assert both.old_grants == (("*", MANAGE_DATA), (str(uuid.UUID(bytes=b"\1" * 16)), MANAGE_DATA))
    assert with_old_grants(both, [], [every]).old_grants == both.old_grants[1:]
    many = [Grant(client.client_id, MANAGE_DATA, number.to_bytes(16, "big")) for number in range(200)]
    assert with_old_grants(both, many) == both
