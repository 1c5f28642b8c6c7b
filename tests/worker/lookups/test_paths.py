from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.paths import Prefixes, canonical, comparable, escaped


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
    assert Prefixes([rule, "/other/rule"]).find(comparable(canonical(path))) == (rule if covered else None)


def test_the_longest_rule_is_named():
    rules = Prefixes(["/", "/a", "/a/b"])
    assert [rules.find(comparable(canonical(path))) for path in ("/a/b/c", "/a/c", "/c")] == ["/a/b", "/a", "/"]


@given(st.text(st.sampled_from("/.a%2FeE5?#ü"), max_size=20))
def test_the_form_of_a_rule_is_stable(text):
    path = comparable(canonical("/" + text))
    assert comparable(canonical(escaped(path))) == path
    assert escaped(comparable(canonical(escaped(path)))) == escaped(path)


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/", "/"),
        ("/a-b_c.d~e/!$&'()*+,;=:@", "/a-b_c.d~e/!$&'()*+,;=:@"),
        ("/café", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%63af%C3%A9", "/caf%C3%A9"),
        ("/foo/../ton", "/ton"),
        ("/foo/%2e%2E/ton", "/ton"),
        ("/./ton/.", "/ton/"),
        ("/ton/..", "/"),
        ("/../../ton", "/ton"),
        ("/a//b/", "/a//b/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/%7Euser", "/~user"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%21", "/a%21"),
        ('/a b"<>^`{|}\\[]', "/a%20b%22%3C%3E%5E%60%7B%7C%7D%5C%5B%5D"),
        ("/100%", "/100%"),
        ("/%zz%4", "/%zz%4"),
        ("/%2541", "/%2541"),
        ("/%ff", "/%FF"),
        ("/\ud83d", "/%3F"),
    ],
)
def test_one_page_has_one_path(sent, path):
    assert canonical(sent) == path
    assert canonical(path) == path


@given(st.text(st.sampled_from("/.a%2fFeE5é []"), max_size=24))
def test_the_canonical_form_is_stable(text):
    path = canonical("/" + text)
    assert canonical(path) == path
    assert path.startswith("/")


def test_a_path_in_the_fragment_is_below_the_page_for_rules():
    rules = Prefixes(["/app", "/shop#/admin", "/#/secret"])

    def found(path: str) -> str | None:
        return rules.find(comparable(canonical(path)))

    assert found("/app#/users") == "/app"
    assert found("/shop#/admin/users") == found("/shop/#/x/../admin") == found("/shop#/%61dmin") == "/shop#/admin"
    assert found("/shop#/administration") is None
    assert found("/shop") is None
    assert found("/#/secret/5") == "/#/secret"
    assert found("/#!/secret/5") is None


@pytest.mark.parametrize("path", ["/app#/users", "/app#!/users", "/#/", "/a%23b#/c%23d", "/app#/caf%C3%A9/"])
def test_a_rule_with_a_path_in_the_fragment_stays_the_same_when_read_again(path):
    once = escaped(comparable(canonical(path)))
    assert escaped(comparable(canonical(once))) == once
    assert comparable(canonical(once)) == comparable(canonical(path))


@pytest.mark.parametrize("path", ["/%4%41", "/%%41", "/%%41%", "/%4%41%4"])
def test_an_escape_behind_a_percent_sign_that_begins_none_stays(path):
    assert canonical(path) == path


def test_escapes_in_a_row_behind_such_a_percent_sign_are_made_canonical():
    assert canonical("/%4%41%42%c3") == "/%4%41B%C3"
