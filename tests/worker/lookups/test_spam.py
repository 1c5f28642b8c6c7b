from __future__ import annotations

from pathlib import Path

import pytest

from shared.metrics import LOOKUP_STALE
from worker.lookups.spam import Spam


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    (tmp_path / "feeds").mkdir()
    return tmp_path / "feeds"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def test_works_before_the_first_update(feeds, tmp_path):
    spam = Spam([feeds, tmp_path / "not there"])
    assert spam.find_host("semalt.com") == "referrer semalt.com of the built-in list"
    assert spam.find_host("example.com") is None
    assert spam.find_network("192.0.2.1") is None


def test_a_list_takes_the_built_in_one_s_place(feeds):
    (feeds / "referrer_spam.txt").write_text("spam.example\n")
    spam = Spam([feeds])
    assert spam.find_host("semalt.com") is None
    assert spam.find_host("spam.example") == "referrer spam.example of referrer_spam.txt"


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("spam.example", True),
        ("www2.spam.example", True),
        ("a.b.spam.example", True),
        ("notspam.example", False),
        ("spam.example.com", False),
        ("example", False),
        ("xn--bcher-kva.example", True),
    ],
)
def test_a_host_and_what_is_below_it_is_listed(feeds, host, listed):
    (feeds / "list.txt").write_text("spam.example\nbücher.example\n")
    assert (Spam([feeds]).find_host(host) is not None) is listed


def test_a_listed_public_suffix_lists_itself_alone(feeds):
    (feeds / "list.txt").write_text("kharkov.ua\nblogspot.com\nspam.kiev.ua\n")
    spam = Spam([feeds])
    listed = ["kharkov.ua", "blogspot.com", "spam.kiev.ua", "a.spam.kiev.ua"]
    not_listed = ["university.kharkov.ua", "someone.blogspot.com", "kiev.ua"]
    assert [host for host in (*listed, *not_listed) if spam.find_host(host)] == listed


def test_takes_up_lists_of_both_directories_as_they_change(feeds, own):
    spam = Spam([feeds, own])
    (feeds / "drop_v4.json").write_text('{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"type":"metadata","records":1}\n')
    (own / "mine.txt").write_text("2001:db8::/32 ; mine\nspam.example\n")
    (own / ".hidden").write_text("hidden.example\n")
    spam.refresh()
    assert spam.find_network("192.0.2.77") == "192.0.2.0/24 (SBL1) of drop_v4.json"
    assert spam.find_network("::ffff:192.0.2.77") == spam.find_network("192.0.2.77")
    assert spam.find_network("2001:db8::1") == "2001:db8::/32 (mine) of mine.txt"
    assert spam.find_network("nonsense") is None
    assert spam.find_host("hidden.example") is None
    (own / "mine.txt").unlink()
    spam.refresh()
    assert spam.find_network("2001:db8::1") is None
    assert spam.find_host("spam.example") is None
    assert spam.find_network("192.0.2.77")


def test_a_damaged_list_keeps_what_it_listed_and_is_reported(feeds, own):
    (own / "mine.txt").write_text("spam.example\n")
    spam = Spam([feeds, own])
    (own / "mine.txt").write_text("<html>")
    spam.refresh()
    assert spam.find_host("spam.example")
    assert spam.problems == {str(own / "mine.txt"): "is a web page, not a list"}
    (own / "mine.txt").write_text("other.example\n")
    spam.refresh()
    assert spam.problems == {}
    assert spam.find_host("spam.example") is None
    assert spam.find_host("other.example")


def stale() -> float:
    return next(iter(LOOKUP_STALE.labels("spam").collect())).samples[0].value


def test_a_named_directory_that_is_missing_is_reported_once_and_taken_up_later(feeds, tmp_path, caplog):
    named = tmp_path / "nonexistent"
    spam = Spam([feeds, named], named=named)
    spam.refresh()
    assert spam.problems == {str(named): "can't be read: No such file or directory"}
    assert (stale(), caplog.text.count(str(named))) == (1, 1)
    named.mkdir()
    (named / "mine.txt").write_text("spam.example\n")
    spam.refresh()
    assert (spam.problems, stale()) == ({}, 0)
    assert spam.find_host("spam.example")
    (named / "mine.txt").unlink()
    named.rmdir()
    spam.refresh()
    assert str(named) in spam.problems
    assert spam.find_host("spam.example")  # what was listed stays in use


@pytest.mark.parametrize(
    ("name", "ignored"), [("README", True), ("README.txt", True), ("notes.md", True), ("mine", False)]
)
def test_what_is_no_list_by_name_and_contents_is_passed_over(own, name, ignored):
    (own / name).write_text("Our lists are kept here.\n")
    (own / "a.txt").write_text("spam.example\n")
    spam = Spam([own], named=own)
    assert (spam.problems == {}) is ignored
    assert stale() == (0 if ignored else 1)
    assert spam.find_host("spam.example")
