"""The identity of a pageview: which ids are sent, which are generated, and which a repeated request derives again."""

from __future__ import annotations

import itertools
import uuid
from typing import NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import Ids, random_id
from gateway.intake import IdempotencyKey
from gateway.validate import PageviewRequest

ALICE, BOB = b"a" * 16, b"b" * 16
PAGE, SESSION = uuid.UUID(int=1, version=4).bytes, uuid.UUID(int=2, version=4).bytes
IDS = Ids("secret")


class Sent(NamedTuple):
    """The ids of a request, as far as they were sent."""

    session_id: bytes | None
    page_id: bytes | None


def of(sent: Sent, client: bytes = ALICE, ids: Ids = IDS) -> tuple[bytes, bytes]:
    return ids.of(cast("PageviewRequest", sent), client)


def derived(
    sent: Sent, client: bytes = ALICE, key: bytes = b"key", content: bytes = b"item", number: int = 1, ids: Ids = IDS
) -> tuple[bytes, bytes]:
    return ids.derived(cast("PageviewRequest", sent), client, key, content, number)


sent_ids = st.builds(Sent, st.sampled_from([None, SESSION]), st.sampled_from([None, PAGE]))


@given(sent=sent_ids, keyed=st.booleans())
def test_an_id_that_was_sent_is_kept_and_every_other_is_a_uuid(sent: Sent, keyed: bool) -> None:
    found = Sent(*(derived(sent) if keyed else of(sent)))

    for was_sent, now in zip(sent, found, strict=True):
        assert now == (was_sent or now)
        assert uuid.UUID(bytes=now).variant == uuid.RFC_4122
        assert uuid.UUID(bytes=now).version in (4, 8)
    assert found.session_id != found.page_id


def test_what_is_random_is_version_4_and_never_the_same() -> None:
    made = {random_id() for _ in range(2_000)}
    assert len(made) == 2_000
    assert {(uuid.UUID(bytes=each).version, uuid.UUID(bytes=each).variant) for each in made} == {(4, uuid.RFC_4122)}
    # All other bits are drawn.
    assert [set(each) for each in zip(*(f"{int.from_bytes(each):0128b}" for each in made), strict=True)].count(
        {"0", "1"}
    ) == 122


def test_without_a_key_missing_ids_are_random_but_for_the_session_of_a_page() -> None:
    nothing, page, session = Sent(None, None), Sent(None, PAGE), Sent(SESSION, None)
    assert len({*of(nothing), *of(nothing)}) == 4, "a session of its own for each pageview"
    assert of(session)[1] != of(session)[1]
    assert of(page) == of(page)
    assert of(page)[0] != of(page, BOB)[0], "two clients may use the same page ids"
    assert of(page)[0] != of(page, ids=Ids("another"))[0]
    assert of(page)[0] != of(Sent(None, uuid.UUID(int=9).bytes))[0]


#: One of each thing that derived ids depend on, and another of it.
CHANGES = {"client": (ALICE, BOB), "key": (b"key", b"yek"), "content": (b"item", b"meti"), "number": (1, 2)}


@pytest.mark.parametrize("sent", [Sent(None, None), Sent(SESSION, None)], ids=["neither", "session"])
def test_a_repeated_request_derives_the_same_ids_and_any_other_request_others(sent: Sent) -> None:
    requests = [dict(zip(CHANGES, values, strict=True)) for values in itertools.product(*CHANGES.values())]
    pages = [derived(sent, **request)[1] for request in requests]  # type: ignore[arg-type]
    assert pages == [derived(sent, **request)[1] for request in requests]  # type: ignore[arg-type]
    assert len(set(pages)) == len(requests)
    assert derived(sent, ids=Ids("another"))[1] not in pages
    sessions = {derived(sent, **request)[0] for request in requests}  # type: ignore[arg-type]
    assert len(sessions) == (1 if sent.session_id else len(requests))
    assert not sessions & set(pages)


def test_the_session_of_a_given_page_is_the_same_with_and_without_a_key() -> None:
    """So that a client that begins to send keys, or repeats without, splits no session."""
    assert derived(Sent(None, PAGE)) == of(Sent(None, PAGE))
    assert derived(Sent(None, PAGE), key=b"other", content=b"other", number=7) == of(Sent(None, PAGE))


class Request(NamedTuple):
    """An item of a request with a key, by one of two clients."""

    client: bytes
    key: bytes
    content: bytes
    number: int
    sent: Sent

    def ids(self) -> tuple[bytes, bytes]:
        return derived(self.sent, self.client, self.key, self.content, self.number)

    def names(self) -> tuple[object, object]:
        """What its session and its page depend on."""
        page = self.sent.page_id or self[:4]
        return self.sent.session_id or ((self.client, page) if self.sent.page_id else self[:4]), page


#: Of few of each, so that two requests often differ in one thing only, or read the same one part behind the other.
requests = st.builds(
    Request,
    st.sampled_from([ALICE, BOB]),
    st.sampled_from([b"a", b"ab", b"b"]),
    st.sampled_from([b"b", b"c", b"bc"]),
    st.sampled_from([1, 2, 256]),
    sent_ids,
)


@given(st.lists(requests, min_size=2, max_size=20))
def test_two_requests_get_the_same_ids_only_if_they_are_the_same_of_the_same_client(items: list[Request]) -> None:
    for part in (0, 1):
        names = {item.names()[part]: item.ids()[part] for item in items}
        assert all(item.ids()[part] == names[item.names()[part]] for item in items)
        assert len(set(names.values())) == len(names)


def test_a_key_that_ends_where_the_content_begins_is_another() -> None:
    assert derived(Sent(None, None), key=b"ab", content=b"c") != derived(Sent(None, None), key=b"a", content=b"bc")


def test_derived_ids_are_those_that_every_gateway_of_every_version_derives() -> None:
    """Gateways of two versions run side by side during an upgrade, and a retry may reach either."""
    assert [each.hex() for each in of(Sent(None, PAGE))] == ["76d3a55e95658d1895ca7be457a35f0a", PAGE.hex()]
    assert [each.hex() for each in derived(Sent(None, None))] == [
        "572afc0adbcb8793a9456bebc5d373f6",
        "cddc4550ac5083ab8360c2b17f980ac8",
    ]
    assert derived(Sent(None, None), number=300)[1].hex() == "64c6f93dd14a86c9a13f4c46edd3fcd7"


@given(st.lists(st.sampled_from([b"one", b"two", b"three"]), max_size=12), st.data())
def test_equal_items_are_numbered_so_that_a_retry_without_some_others_numbers_them_alike(
    contents: list[bytes], data: st.DataObject
) -> None:
    first = IdempotencyKey(b"key")
    numbers = [(content, first.occurrence(content)) for content in contents]
    assert sorted(numbers) == sorted(
        (content, number) for content in set(contents) for number in range(1, contents.count(content) + 1)
    )
    rejected = data.draw(st.sampled_from([b"one", b"two", b"three"]))
    again = IdempotencyKey(b"key")
    assert [(content, again.occurrence(content)) for content in contents if content != rejected] == [
        (content, number) for content, number in numbers if content != rejected
    ]
