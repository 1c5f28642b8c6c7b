from __future__ import annotations

import pytest

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
