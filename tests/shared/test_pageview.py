"""The wire form of queued pageviews."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pageview import FIELD_TYPES, QueuedPageview, Unparseable, join, pack, pack_item, parse, to_item, unpack

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
ID = st.binary(min_size=16, max_size=16)
MILLISECONDS = st.integers(0, 2**53)
PIXELS = st.integers(0, 65535)
PAGEVIEWS = st.builds(
    QueuedPageview, ID, MILLISECONDS, TEXT, TEXT, MILLISECONDS, TEXT, TEXT, st.booleans(), ID, ID, TEXT, TEXT, PIXELS,
    PIXELS, PIXELS, PIXELS, st.booleans(),
)  # fmt: skip
SOME = QueuedPageview(
    bytes(16), 1, "example.com", "https://example.com/", 2, "192.0.2.1", "agent", False, bytes(16), bytes(16), "", "",
    0, 0, 0, 0,
)  # fmt: skip


@given(st.lists(PAGEVIEWS, max_size=20))
def test_packed_and_joined_pageviews_are_unpacked_unchanged(pageviews: list[QueuedPageview]) -> None:
    assert [parse(item) for item in unpack(join([pack(pageview) for pageview in pageviews]))] == pageviews


@given(st.binary(max_size=200))
def test_any_bytes_are_either_an_array_or_refused(body: bytes) -> None:
    try:
        items = unpack(body)
    except Unparseable:
        return
    for item in items:
        try:
            parse(item)
        except Unparseable:
            continue


@given(st.data())
def test_a_field_of_another_type_is_named(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(FIELD_TYPES) - 1))
    wrong = data.draw(
        st.sampled_from([b"x" * 16, 1, "x", True, None, 1.5]).filter(lambda v: type(v) is not FIELD_TYPES[place])
    )
    with pytest.raises(Unparseable, match=QueuedPageview._fields[place]):
        parse((*SOME[:place], wrong, *SOME[place + 1 :]))


def test_a_pageview_with_a_field_more_or_less_is_refused() -> None:
    for item in (SOME[:-1], (*SOME, 0), (), None, "text", {"url": 1}):
        with pytest.raises(Unparseable, match=r"^pageview does not have the fields of this schema version$"):
            parse(item if item is None or not isinstance(item, tuple) else tuple(item))


def test_a_pageview_of_the_version_before_is_read_and_written_in_its_form() -> None:
    item = to_item(SOME, 1)
    assert len(item) == 16
    (read,) = unpack(join([pack_item(item)]))
    assert parse(read, 1) == SOME, "it did not say whether its client sent the session"
    assert to_item(parse(item, 1), 1) == item
    for other in (tuple(SOME), item[:-1]):
        with pytest.raises(Unparseable, match=r"^pageview does not have the fields of this schema version$"):
            parse(other, 1)
    with pytest.raises(Unparseable, match=r"^pageview does not have the fields of this schema version$"):
        parse(item)
    with pytest.raises(Unparseable, match="user_agent"):
        parse((*item[:6], 7, *item[7:]), 1)


def test_an_id_of_another_length_is_refused() -> None:
    for name in ("client_id", "session_id", "page_id"):
        short: dict[str, Any] = {name: bytes(15)}
        with pytest.raises(Unparseable, match=r"^an id does not have 16 bytes$"):
            parse(tuple(SOME._replace(**short)))


def test_a_body_that_is_not_an_array_is_refused() -> None:
    for body in (msgpack.packb({"a": 1}), msgpack.packb(1), msgpack.packb("text")):
        with pytest.raises(Unparseable, match=r"^body is not an array of pageviews$"):
            unpack(body)
    for body, name in ((b"", "ValueError"), (join([pack(SOME)]) + b"\x00", "ExtraData"), (b"\xc1", "FormatError")):
        with pytest.raises(Unparseable, match=f"^body is not msgpack: {name}$"):
            unpack(body)
    with pytest.raises(Unparseable):
        unpack(b"\x91" * 5000)


def test_an_error_quotes_nothing_of_the_pageview() -> None:
    with pytest.raises(Unparseable) as refused:
        parse(tuple(SOME._replace(user_agent=b"192.0.2.1")))  # type: ignore[arg-type]
    assert "192.0.2.1" not in str(refused.value)
