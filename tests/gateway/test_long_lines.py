"""Lines that are too long to be searched for objects one behind another are split like short ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.test_items import split

ITEM = b'{"a":1}'
LARGE = "item: is over the limit of 65536 bytes"


@pytest.mark.parametrize("number", [2, 20_000, 40_000])
@pytest.mark.parametrize("separator", [b",", b", ", b" x "])
def test_objects_with_something_else_behind_the_first_are_one_item_that_is_refused(
    number: int, separator: bytes
) -> None:
    found = split(separator.join([ITEM] * number) + b'\n{"b":2}')
    assert len(found) == 2
    assert found[0].startswith("item: ")
    assert found[1] == {"b": 2}


@pytest.mark.parametrize("separator", [b"", b" ", b"\xef\xbb\xbf"])
def test_objects_one_behind_another_are_items_each(separator: bytes) -> None:
    for number in (2, 20_000):
        found = split(separator.join([ITEM] * number) + b"\n" + ITEM)
        assert found == [{"a": 1}] * (number + 1)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b'{"a":"%s"}' % (b"x" * 200_000), [LARGE]),
        (b'{"a":1%s}' % (b" " * 140_000), [{"a": 1}]),
        (ITEM + b" " * 140_000, [{"a": 1}]),
        (ITEM * 20_000 + b"," + ITEM, [*[{"a": 1}] * 20_000, "item: is not valid JSON"]),
    ],
)
def test_other_long_lines(line: bytes, values: list[Any]) -> None:
    assert split(line) == values
    assert split(ITEM + b"\n" + line + b"\n" + ITEM) == [{"a": 1}, *values, {"a": 1}]
