from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import metrics
from tests.file_server import DROP, DROP6, HOSTS, FileServer
from worker.lookups.sources import Sources
from worker.lookups.spam import Spam
from worker.lookups.updates.feed_timer import FeedTimer
from worker.lookups.updates.feeds import FEEDS, BusyError, update_feeds


@pytest.fixture
def update(file_server: FileServer, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Update from the file_server; returns what became of each feed, failures with `!` before them."""

    def run(**options: bool) -> dict[str, str]:
        results = update_feeds(tmp_path, file_server.feeds(), **options)
        return {result.feed.file: ("" if result.ok else "!") + result.text for result in results}

    return run


def test_fetches_all_and_asks_for_no_more_than_changes(update, file_server, tmp_path):
    assert update() == {
        "drop_v4.json": "2 networks",
        "drop_v6.json": "1 networks",
        "referrer_spam.txt": "4 hosts",
        "sources/AIAssistants.yml": "1 sources",
        "sources/SearchEngines.yml": "1 sources",
        "sources/Socials.yml": "2 sources",
    }
    assert (tmp_path / "drop_v4.json").read_bytes() == DROP
    assert set(update().values()) == {"unchanged"}
    file_server.put("drop_v6.json", DROP6.replace(b"db8", b"db9"))
    output = update()
    assert output.pop("drop_v6.json") == "1 networks"
    assert set(output.values()) == {"unchanged"}
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize(
    ("body", "status", "wrong"),
    [
        (b"", 200, "lists nothing"),
        (b"<html>busy</html>", 200, "is a web page"),
        (DROP[:60], 200, "line 2 is not JSON"),
        (b"".join(DROP.splitlines(True)[:2]), 200, "cut short"),
        (HOSTS, 200, "is not a list of networks"),
        (b"error", 500, "answered 500"),
        (b"gone", 404, "answered 404"),
        (DROP, 206, "answered 206"),
        (b"/drop_v4.json", 302, "infinite loop"),
        (b"file:///etc/hostname", 302, "not allowed"),
        (b"http://[malformed", 302, "malformed"),
        (b"http://a..example/", 302, "malformed"),
    ],
)
def test_a_failing_feed_leaves_its_old_list_and_all_others_alone(update, file_server, tmp_path, body, status, wrong):
    update()
    file_server.put("drop_v4.json", body, status)
    file_server.put("referrer_spam.txt", HOSTS + b"fifth.example\n")
    output = update()
    assert output["drop_v4.json"].startswith("!")
    assert wrong in output["drop_v4.json"]
    assert output["drop_v4.json"].endswith("the old list stays")
    assert (tmp_path / "drop_v4.json").read_bytes() == DROP
    assert output["referrer_spam.txt"] == "5 hosts"
    file_server.put("drop_v4.json", DROP)
    assert update()["drop_v4.json"] == "unchanged"


def test_a_list_of_sources_that_is_not_one_leaves_the_old_one_alone(update, file_server, tmp_path):
    update()
    file_server.put("sources/Socials.yml", b"<html>busy</html>")
    output = update()
    assert output.pop("sources/Socials.yml") == "!is not a list of sources by name; the old list stays"
    assert set(output.values()) == {"unchanged"}
    assert Sources(tmp_path / "sources").problems == {}


def test_a_list_that_shrank_to_less_than_half_is_taken_only_by_force(update, file_server, tmp_path):
    update()
    file_server.put("referrer_spam.txt", b"spam.example\n")
    result = next(each for each in update_feeds(tmp_path, file_server.feeds()) if not each.ok)
    assert result.shrunk
    assert "less than half of the 4 in use" in result.text
    assert "`hitline feeds update --force`" in result.text
    assert update(force=True)["referrer_spam.txt"] == "1 hosts"


def test_asks_anew_for_what_is_missing_damaged_or_from_elsewhere(update, file_server, tmp_path):
    update()
    (tmp_path / "drop_v4.json").write_bytes(b"damaged")
    (tmp_path / "drop_v6.json").unlink()
    notes = tmp_path / ".referrer_spam.txt.notes"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"url": "http://elsewhere.example/"}))
    file_server.asked.clear()
    assert sorted(file for file, text in update().items() if text != "unchanged") == [
        "drop_v4.json", "drop_v6.json", "referrer_spam.txt",
    ]  # fmt: skip
    assert {given for path, given in file_server.asked if "sources" not in path} == {None}


def test_a_server_out_of_reach_is_told(tmp_path, file_server):
    feeds = file_server.feeds()
    file_server.close()
    results = update_feeds(tmp_path, feeds)
    assert not any(result.ok for result in results)
    assert not any((tmp_path / feed.file).exists() for feed in feeds)


def test_nothing_changed_is_no_answer_where_nothing_is_there(update, file_server, tmp_path):
    file_server.put("drop_v4.json", b"", 304)
    assert "304" in update()["drop_v4.json"]
    assert not (tmp_path / "drop_v4.json").exists()


def test_one_update_at_a_time(update, tmp_path):
    with (tmp_path / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            update()
    update()


def test_a_timer_updates_at_once_and_then_by_the_clock(file_server, tmp_path):
    now = 0.0
    timer = FeedTimer(tmp_path / "feeds", 2, file_server.feeds(), lambda: now)
    timer.tick()
    timer.wait()
    assert len(file_server.asked) == len(FEEDS)
    timer.tick()
    timer.wait()
    assert len(file_server.asked) == len(FEEDS)
    now = 7200.0
    timer.tick()
    timer.wait()
    assert len(file_server.asked) == 2 * len(FEEDS)
    for at, times in ((7200.0 + 7 * 86_400, 3), (7300.0 + 7 * 86_400, 3), (0.0, 4), (1.0, 4)):
        now = at
        timer.tick()
        timer.wait()
        assert len(file_server.asked) == times * len(FEEDS), "once after a week's sleep, once after a step back"
    never = FeedTimer(tmp_path / "feeds", 0, file_server.feeds(), lambda: now)
    never.tick()
    never.wait()
    assert len(file_server.asked) == 4 * len(FEEDS)


def test_files_are_readable_by_other_users(update, tmp_path):
    update()
    assert os.stat(tmp_path / "drop_v4.json").st_mode & 0o777 == 0o644


def test_the_worker_tells_what_it_refuses_until_an_update_succeeds(update, file_server, tmp_path):
    def failed(reason: str) -> float:
        return metrics.FEED_FAILED.labels("referrer_spam.txt", reason)._value.get()

    update()
    timer = FeedTimer(tmp_path, 1, file_server.feeds(), clock=lambda: 0.0)
    told = []
    for answer in ((b"spam.example\n", 200), (b"error", 500), (HOSTS, 200)):
        file_server.put("referrer_spam.txt", *answer)
        timer._update()
        told.append((failed("shrunk"), failed("failed")))
    assert told == [(1, 0), (0, 1), (0, 0)]


def test_a_list_that_is_found_unchanged_is_as_new_as_one_that_was_fetched(update, tmp_path):
    update()
    path = tmp_path / "drop_v4.json"
    os.utime(path, (1_000_000_000, 1_000_000_000))
    Spam([tmp_path])
    assert metrics.LOOKUP_UPDATED.labels("spam")._value.get() == 1_000_000_000
    assert update()["drop_v4.json"] == "unchanged"
    Spam([tmp_path])
    assert metrics.LOOKUP_UPDATED.labels("spam")._value.get() > 1_700_000_000
