from __future__ import annotations

import dataclasses
import uuid

import pytest

from shared.pageview import MANAGE_DATA
from shared.registry.records import TABLES, Client, Grant, Record, Site

SITE = Site(b"\1" * 16, "example.com", ("example.com",))
OTHER = Site(b"\2" * 16, "example.org", ("example.org",))


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_table_has_the_columns_of_its_record_in_the_same_order(kind: type[Record]) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    assert fields == [*TABLES[kind].columns, "created_us"]
    assert TABLES[kind].key == fields[0]


def test_a_grant_is_for_one_site_or_for_every_site() -> None:
    one = Client(b"c" * 16, "one", frozenset({Grant(SITE.site_id, MANAGE_DATA)}))
    every = Client(b"c" * 16, "every", frozenset({Grant(None, MANAGE_DATA)}))
    assert one.may(MANAGE_DATA, SITE)
    assert not one.may(MANAGE_DATA, OTHER)
    assert not one.may("site.read", SITE)
    assert every.may(MANAGE_DATA, OTHER)
    assert not every.may("site.read", OTHER)


def test_a_stored_grant_is_read_in_any_form_and_a_malformed_one_grants_nothing() -> None:
    site_id = uuid.uuid4()
    assert Grant.read(str(site_id), "x") == Grant.read(site_id.hex, "x") == Grant(site_id.bytes, "x")
    assert Grant.read("*", "x") == Grant(None, "x")
    assert Grant.read("example.com", "x") is None
    assert Grant.read("", "x") is None
