from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.substrings import Substrings


@pytest.mark.parametrize(
    ("pattern", "text", "occurs"),
    [
        ("bot", "Googlebot/2.1", True),
        ("BOT", "googlebot", True),
        ("googlebot", "GoogleBot/2.1", True),
        ("googlebot", "googlebo", False),
        ("b", "abc", True),
        ("Straße", "STRASSE", True),
        ("a.c", "abc", False),
        ("🙂🙂🙂🙂", "x🙂🙂🙂🙂y", True),
    ],
)
def test_finds_a_pattern_in_any_case(pattern, text, occurs):
    assert Substrings([pattern]).find(text) == (pattern if occurs else None)


def test_nothing_is_found_by_no_or_empty_patterns():
    assert Substrings([]).find("anything") is None
    assert Substrings([""]).find("anything") is None


@given(st.lists(st.text("abc", min_size=1, max_size=6), max_size=20), st.text("abc", max_size=30))
def test_agrees_with_a_plain_scan(patterns, text):
    found = Substrings(patterns).find(text)
    assert (found in patterns and found in text) if found else not any(pattern in text for pattern in patterns)


@given(st.lists(st.text("abcé😀", max_size=7)), st.lists(st.text("abcé😀", max_size=7)), st.data())
def test_a_changed_set_is_as_one_made_anew(first: list[str], added: list[str], data: st.DataObject) -> None:
    removed = data.draw(st.lists(st.sampled_from(first), unique=True)) if first else []
    changed = Substrings(first).changed(added, removed)
    rebuilt = Substrings([*(each for each in first if each not in removed), *added])
    assert len(changed) == len(rebuilt)
    for text in (*first, *added, *(f"x{each}y" for each in (*first, *added))):
        assert (changed.find(text) is None) == (rebuilt.find(text) is None)
