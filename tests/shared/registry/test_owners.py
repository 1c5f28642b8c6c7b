from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.registry.owners import candidates, find_owner


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("a.b.example", ["a.b.example", "*.b.example", "*.example"]),
        ("example", ["example"]),
        ("*.a.example", ["*.a.example", "*.example"]),
    ],
)
def test_candidates_are_the_hostname_and_then_wildcards_the_longest_first(hostname: str, names: list[str]) -> None:
    assert candidates(hostname) == names


@pytest.mark.parametrize(
    ("hostname", "owner"),
    [
        ("b.a.example", "exact"),
        ("c.a.example", "longest wildcard"),
        ("x.c.a.example", "longest wildcard"),
        ("a.example", "shorter wildcard"),
        ("example", None),
    ],
)
def test_the_owner_lists_the_hostname_or_has_the_longest_wildcard(hostname: str, owner: str | None) -> None:
    listed = {"b.a.example": "exact", "*.a.example": "longest wildcard", "*.example": "shorter wildcard"}
    assert find_owner(hostname, listed.get) == owner


def test_only_needed_candidates_are_looked_up() -> None:
    asked = []

    def find(name: str) -> str | None:
        asked.append(name)
        return "site" if name == "*.b.example" else None

    assert find_owner("a.b.example", find) == "site"
    assert asked == ["a.b.example", "*.b.example"]


labels = st.sampled_from(["a", "b", "c"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
listings = st.dictionaries(st.one_of(names, names.map("*.{}".format)), st.integers(), max_size=12)


def covers(listed: str, hostname: str) -> bool:
    return hostname.endswith(listed[1:]) if listed.startswith("*.") else hostname == listed


@given(names, listings)
def test_precedence_is_that_of_the_rule_for_any_lists(hostname: str, listed: dict[str, int]) -> None:
    """An exact listing, else the longest wildcard: found by looking at all of them."""
    matching = [name for name in listed if covers(name, hostname)]
    best = max(matching, key=lambda name: (not name.startswith("*."), len(name)), default=None)
    assert find_owner(hostname, listed.get) == (None if best is None else listed[best])


@given(names, listings)
def test_a_wildcard_is_covered_by_those_of_its_parents_only(domain: str, listed: dict[str, int]) -> None:
    wildcard = f"*.{domain}"
    matching = [name for name in listed if name.startswith("*.") and domain.endswith(f".{name[2:]}")]
    best = wildcard if wildcard in listed else max(matching, key=len, default=None)
    assert find_owner(wildcard, listed.get) == (None if best is None else listed[best])
