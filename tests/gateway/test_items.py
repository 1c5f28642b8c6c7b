"""Finding a batch's items without parsing them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import items
from gateway.replies import Rejected
from gateway.slices import Slices

MIB = 2**20


def split(body: bytes) -> list[Any]:
    """Return the values of a batch's items; the message of one that is wrong."""
    found = asyncio.run(items.split(bytearray(body), Slices()))  # as the gateway reads it
    return [value_of(found, index) for index in range(len(found))]


def value_of(found: items.Items, index: int) -> Any:
    try:
        return found.parse(index).value
    except Rejected as rejected:
        return rejected.text


def rejection(body: bytes) -> tuple[int, str]:
    with pytest.raises(Rejected) as rejected:
        asyncio.run(items.split(bytearray(body), Slices()))
    return rejected.value.reason.status, rejected.value.text


MARK = b"\xef\xbb\xbf"
NOT_JSON = "item: is not valid JSON"


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"", []),
        (b" [ ] ", []),
        (b"[1,{}, [] ,null]", [1, {}, [], None]),
        (b"{}{}{}", [{}, {}, {}]),
        (b'{"a":1} {"b":{"c":[{}]}}\r\n{"d":"}{"}\n\n', [{"a": 1}, {"b": {"c": [{}]}}, {"d": "}{"}]),
        (b'{"a":"\\"}{"}\n{"b":"\\\\"}{"c":1}', [{"a": '"}{'}, {"b": "\\"}, {"c": 1}]),
        (b'{"a":\n1}\n{"b":\n2}{}', [{"a": 1}, {"b": 2}, {}]),
        (b"{broken\n\r\n{}", [NOT_JSON, {}]),
        (b'{"a":1\n{"b":2}\n', [NOT_JSON, {"b": 2}]),
        (b'{"a":1}{"b":\n{}', [{"a": 1}, NOT_JSON, {}]),
        (b'{"a":\n1}\n{"b":\n2}\n{]', [{"a": 1}, {"b": 2}, NOT_JSON]),
        (b"{\n}]", [{}, NOT_JSON]),
        (b"{\n]", [NOT_JSON, NOT_JSON]),
        (b"{} x\n5\n", [NOT_JSON, 5]),
        (b'[01, NaN, {"a":1,}, "\x01", tru, {}]', [*[NOT_JSON] * 5, {}]),
        (MARK + b'[{"a":1},{}]', [{"a": 1}, {}]),
        (MARK + b'{"a":1}\n{}', [{"a": 1}, {}]),
        (b" " + MARK + b'\r\n{"a":\n1}\n' + MARK + b"{}", [{"a": 1}, {}]),
        (MARK + b'{"a":1}\n' + MARK + b"{}\n" + MARK + MARK + b'{"b":2}\n' + MARK, [{"a": 1}, {}, {"b": 2}]),
        (MARK + b'{"a":1}' + MARK + b"{}" + MARK, [{"a": 1}, {}]),
        (b'{"a":"' + MARK + b'"}', [{"a": "\ufeff"}]),
        (b'["\xff", "\\ud83d", "\\ud83d\\ude00", "\\\\ud83d"]', ["\ufffd", "\ufffd", "😀", "\\ud83d"]),
    ],
)
def test_each_item_is_parsed_separately(body: bytes, values: list[Any]) -> None:
    assert split(body) == values


@pytest.mark.parametrize(
    "body", [b"[", b"[{}, {]", b"[{},]", b"[,]", b"[1 2]", b"[1]x", b"[[}]", b'["]', b"[" * MIB, b" \n"]
)
def test_a_body_whose_structure_is_broken_is_rejected_as_a_whole(body: bytes) -> None:
    status, text = rejection(body)
    assert (status, text.partition(":")[0]) in {(400, "body"), (413, "item")}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=4), max_size=6)


@given(values=st.lists(json_values, max_size=6), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_an_array_is_split_as_a_parser_does(values: list[Any], indent: int | None, ascii_only: bool) -> None:
    assert split(json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()) == values


@given(values=objects, separator=st.sampled_from(["", " ", "\n", "\r\n\n"]), ascii_only=st.booleans())
def test_objects_are_split_as_a_parser_does(values: list[Any], separator: str, ascii_only: bool) -> None:
    assert split(separator.join(json.dumps(value, ensure_ascii=ascii_only) for value in values).encode()) == values


WIDE = b'{"x":[[[' + b"[]," * 21_000 + b"1]]]}"

#: Made when they are needed: all of them are 375 MiB.
#: A pageview as forwarders send it.
USUAL = (
    b'{"url":"https://example.com/articles/1?utm_source=news","timestamp":"2026-05-28T20:00:00.000Z",'
    b'"visitor_ip":"198.51.100.23","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",'
    b'"referrer":"https://example.org/","language":"en-us"}\n'
)

HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing but brackets": lambda: b"[" * 16 * MIB,
    "an open string": lambda: b'["' + b"a" * 15 * MIB,
    "spaces": lambda: b"[NaN," + b" " * 15 * MIB + b"{}]",
    "braces within strings": lambda: (b'{"url":"' + b"}{" * 30_000 + b'"}\n') * 250,
    "empty lines": lambda: b"{}" + b"\n" * 15 * MIB,
    "byte order marks": lambda: MARK * 5 * MIB,
    "closing braces": lambda: b"{" + b"}" * 15 * MIB,
    "objects that are not joined": lambda: b"{}," * 5 * MIB,
    "spaces within an item": lambda: b"{" + b" " * 15 * MIB + b"}",
    "spaces within items": lambda: (b'{"a":' + b" " * 200_000 + b"1}\n") * 75,
    "a long first line": lambda: b'{"a":"' + b"x" * 15 * MIB + b"\n{}",
}

#: Those that take a second and more when they are whole: the short form has a quarter of each.
DEAR: dict[str, Callable[[int], bytes]] = {
    "many elements": lambda share: b"[" + b"[]," * (5 * MIB // share) + b"1]",
    "many elements of one": lambda share: b"[[" + b"[]," * (5 * MIB // share) + b"1]]",
    "many strings of one": lambda share: b'[{"a":[' + b'"",' * (5 * MIB // share) + b"1]}]",
    "escapes": lambda share: b'["' + b'\\"' * (7 * MIB // share) + b'"]',
    "braces within open strings": lambda share: (b'{"url":"' + b"}{" * 30_000 + b"\n") * (250 // share),
    "a string of backslashes": lambda share: b'["' + b"\\" * (15 * MIB // share) + b'"]',
    "many elements of many": lambda share: b"[" + b",".join([WIDE] * (250 // share)) + b"]",
    "many elements of many, joined": lambda share: WIDE * (250 // share),
    "byte order marks behind an item": lambda share: b"{}" + MARK * (5 * MIB // share),
    "spaces between tokens": lambda share: (b'{"a":[' + b"1 ," * 60_000 + b"1]}\n") * (80 // share),
    "many strings on a line": lambda share: b"{" + b'"",' * (5 * MIB // share) + b"\n",
    "escaped quotes in strings without an end": lambda share: (b'{"' + b'\\"' * 127_000 + b"\n") * (60 // share),
    "much within each other": lambda share: b"[" + b",".join([b"[" * 1000 + b"]" * 1000] * (8000 // share)) + b"]",
    "much within each other, and text": lambda share: (
        b"[" + b",".join([b"[1," * 300 + b"1" + b"]" * 300] * (4000 // share)) + b"]"
    ),
}


async def parsed_s(body: bytes) -> float:
    """Return the CPU seconds that it takes to find a body's items and to parse the first."""
    began = time.process_time()
    with contextlib.suppress(Rejected):
        found = await items.split(body, Slices())
        for index in range(min(len(found), 5)):
            await asyncio.sleep(0)
            value_of(found, index)
    return time.process_time() - began


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
async def test_every_body_is_parsed_quickly_without_blocking_the_loop(make: Callable[[], bytes]) -> None:
    await prove(make())


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("make", DEAR.values(), ids=DEAR)
async def test_every_dear_body_is_parsed_quickly_without_blocking_the_loop(
    make: Callable[[int], bytes], share: int
) -> None:
    await prove(make(share), share)


async def prove(body: bytes, share: int = 1) -> None:
    """At most 70 times the CPU of so much of usual pageviews (14 to 22 were measured), and never 0.1 s in one go."""
    gc.freeze()  # a collection of what all tests have made would take longer than a step may
    usual_s = await parsed_s(USUAL * 12_500) * 16 * MIB / share / len(USUAL * 12_500)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)  # it has begun to watch, and sees one that never pauses, too
    try:
        took_s = await parsed_s(body)
    finally:
        await asyncio.sleep(0)
        watching.cancel()
        gc.unfreeze()
    assert took_s < 70 * usual_s
    assert longest < 0.1


@pytest.mark.parametrize("before", range(5))
def test_white_space_goes_on_where_a_window_of_it_cuts_a_byte_order_mark(before: int) -> None:
    space = b" " * (64 * 1024 - before) + MARK

    assert split(b"[" + space + b'{"a":1},' + space + b"{}" + space + b"," + space + b"5]" + space) == [{"a": 1}, {}, 5]
    assert split(space + b'{"a":1}' + space + b"{}\n" + space + b'{"b":2}{}\n' + space) == [{"a": 1}, {}, {"b": 2}, {}]
    assert split(space + b'{"a":\n1}' + space + b"{}" + space) == [{"a": 1}, {}]
    assert rejection(space) == (400, "body: is neither NDJSON nor a JSON array")


@pytest.mark.parametrize("depth", range(1, 12))
def test_values_that_are_nested_deeply_end_where_a_parser_says(depth: int) -> None:
    value: Any = {"s": '"]}[{'}
    for level in range(depth):
        value = [value, "]", level, []] if level % 3 else {"a": value, "b": [[[]]], "}": {}}
    values = [value, [], value, {"a": value}, 1]

    assert split(json.dumps(values).encode()) == values
    assert split(b"".join(json.dumps({"v": each}).encode() for each in values)) == [{"v": each} for each in values]


def test_looking_for_the_end_of_deeply_nested_items_is_counted() -> None:
    deep = asyncio.run(items.split(b"[" + b",".join([b"[1," * 300 + b"1" + b"]" * 300] * 100) + b"]", Slices()))

    assert deep.effort >= 100 * 290 * 512
    assert asyncio.run(items.split(b'[{"a":{"b":[]}},[1]]', Slices())).effort <= 2 * 512


@pytest.mark.parametrize(
    ("body", "kib"),
    [
        (b'{"a":1}\n' * 10_000, 78),
        (b'{"a":1}' + b" " * 640 * 1024 + b"{}", 40_960),
        (b"{}\n" + b'{"a":"' + b"x" * 640 * 1024 + b'"}\n{}', 40_960),
        (b"[{}," + b'{"a":"' + b"x" * 60_000 + b'"}]', 58),
    ],
)
def test_what_is_no_item_costs_64_times_what_an_item_costs(body: bytes, kib: int) -> None:
    """Usual batches cost a pageview for each 64 KiB of them, where that is more than their items."""
    cost = asyncio.run(items.split(body, Slices())).cost
    newlines = body.count(b"\n") * 63
    assert kib * 1024 <= cost - newlines <= kib * 1024 * 1.02


def test_an_item_of_many_tokens_with_white_space_between_them_has_too_many_values() -> None:
    spaced = b'{"a":[' + b"1 , " * 5_000 + b'1], "b": "' + b"x" * 60_000 + b'"}'

    assert split(spaced) == ["item: has over 1000 values"]


def test_an_item_on_a_line_that_is_too_large_leaves_the_others_alone() -> None:
    for large in (b'{"a":"' + b"x" * 300_000 + b'"}', b"{" + b" " * 300_000 + b"}", b'{"a":' + b"[" * 300_000):
        assert split(b"{}\n" + large + b"\n{}") == [{}, "item: is over the limit of 65536 bytes", {}]


@pytest.mark.parametrize("text", [b"x" * 300_000, b"x" * 65_528 + b'\\"' * 100_000, b"\\\\" * 150_000, b"}{" * 150_000])
@pytest.mark.parametrize("form", [b"[{},%b,{}]", b"{}%b{}", b'{"b":\n1}%b{}', b'[{},["x",[%b]],{}]', b"[{},%b ,{}]"])
def test_an_item_with_a_long_string_leaves_the_others_alone(form: bytes, text: bytes) -> None:
    large = b'{"a":"' + text + b'"}'
    first, *others, last = split(form % large)

    assert (first, last) == ({} if form[:2] != b'{"' else {"b": 1}, {})
    assert others == ["item: is over the limit of 65536 bytes"]


def test_a_string_is_an_item_of_an_array_however_long_it_is() -> None:
    assert split(b'["' + b"x" * 300_000 + b'",{}]') == ["item: is over the limit of 65536 bytes", {}]


def test_an_array_is_broken_however_much_follows() -> None:
    assert rejection(b"[{},," + b"{}," * 100_000 + b"{}]") == (400, "body: is not a valid JSON array (after 1 items)")


def test_an_item_is_measured_without_white_space_between_its_tokens() -> None:
    spaced = b'{"a":' + b" " * 70_000 + b'"x"}'
    large = b'{"a":"' + b"x" * 65_529 + b'"}'

    assert split(b"[" + spaced + b"]") == [{"a": "x"}]
    assert split(spaced) == [{"a": "x"}]
    assert split(large) == ["item: is over the limit of 65536 bytes"]
    assert split(large.replace(b"xx", b"x", 1)) == [{"a": "\ufffd"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (WIDE, "item: has over 1000 values"),
        (b'{"x":[' + b"1," * 20_000 + b"1]}", "item: has over 1000 values"),
        (b'{"x":[' + b'"",' * 10_000 + b"1]}", "item: has over 250 strings"),
        (b'{"x":{' + b",".join(b'"%d":1' % n for n in range(2_000)) + b"}}", "item: has over 250 strings"),
        (b'{"x":["' + b"\\\\" * 2_000 + b'"' + b",1" * 1_001 + b"]}", "item: has over 1000 values"),
        (b'{"x":"' + b"[{," * 20_000 + b'"}', {"x": "\ufffd"}),
        (b'{"x":"' + b'\\",' * 4_000 + b"," * 20_000 + b'"}', {"x": "\ufffd"}),
        (b'{"x":["\\\\",' + b'"",' * 110 + b'"' + b"a," * 20_000 + b'"]}', {"x": ["\\", *[""] * 110, "\ufffd"]}),
    ],
)
def test_an_item_has_a_thousand_values_at_most_however_much_is_in_its_strings(text: bytes, problem: Any) -> None:
    assert split(text) == [problem]


def test_short_items_are_parsed_whatever_they_hold() -> None:
    assert split(b'{"x":[' + b"1," * 1_500 + b"1]}") == [{"x": [1] * 1_501}]
