from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.paths import Prefixes, comparable, escaped


@pytest.mark.parametrize(
    ("rule", "path", "covered"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a", "/b/a", False),
        ("/a", "/", False),
        ("/a", "/A", False),
        ("/a/", "/a", True),
        ("/a/b", "/a", False),
        ("/", "/", True),
        ("/", "/anything/at/all", True),
        ("/a", "/%61", True),
        ("/%61", "/a/b", True),
        ("/a", "/a%2Fb", True),
        ("/a", "/x/../a", True),
        ("/a", "/x/%2e%2E/a", True),
        ("/a", "/./a", True),
        ("/a", "/a/..", False),
        ("/a", "/a/../b", False),
        ("/a", "/../../a", True),
        ("/a", "/a/.hidden", True),
        ("/a", "//a", False),
        ("/a/x/../b", "/a/b", True),
        ("/ü", "/%C3%BC/x", True),
        ("/%25", "/%25/a", True),
        ("/%25", "/%2525", False),
        ("/%FF", "/%FF/a", True),
        ("/a", "/a" + "/b" * 30_000, True),
    ],
)
def test_a_rule_covers_its_path_and_what_is_below(rule, path, covered):
    assert Prefixes([rule, "/other/rule"]).find(comparable(path)) == (rule if covered else None)


def test_the_longest_rule_is_named():
    rules = Prefixes(["/", "/a", "/a/b"])
    assert [rules.find(comparable(path)) for path in ("/a/b/c", "/a/c", "/c")] == ["/a/b", "/a", "/"]


@given(st.text(st.sampled_from("/.a%2FeE5?#ü"), max_size=20))
def test_the_form_of_a_rule_is_stable(text):
    path = comparable("/" + text)
    assert comparable(escaped(path)) == path
    assert escaped(comparable(escaped(path))) == escaped(path)
