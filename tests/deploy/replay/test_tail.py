"""Following a log: each line is read once, through any rotation."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.replay.state import Position
from deploy.replay.survey import Log, Reading
from deploy.replay.tail import Tail

LINE = '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /{} HTTP/1.1" 200 5'


class Follower:
    """A tail with a controlled clock, which consumes lines as a run does."""

    def __init__(self, path: Path, known: Sequence[Position] = ()) -> None:
        self.now = 0.0
        self.logs: list[Log] = []
        reading = Reading(ZoneInfo("UTC"), False, "combined")
        self._tail = Tail(path, reading, bytes(32), lambda: [*known, *self.positions()], lambda: self.now)

    def positions(self) -> list[Position]:
        return [saved for log in self.logs if (saved := log.saved())]

    def poll(self, seconds: float = 0.5) -> list[int]:
        """Return the numbers of the lines that have come."""
        self.now += seconds
        found = []
        for log, line in self._tail.poll():
            if log not in self.logs:
                self.logs.append(log)
            if line.complete:
                log.position, log.lines = line.end, line.number
            found.append(int(line.text.split(b"GET /")[1].split()[0]))
        return found


def append(path: Path, *numbers: int, end: str = "\n") -> None:
    with path.open("a") as log:
        log.write("\n".join(LINE.format(number) for number in numbers) + end)


def test_lines_are_given_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    tail = Follower(path)
    assert tail.poll() == []
    append(path, 1, 2)
    assert tail.poll() == [1, 2]
    append(path, 3, end="")
    assert tail.poll() == []
    append(path, 4)  # the rest of line 3's line: one line now
    assert tail.poll() == [3]


def test_a_renamed_log_is_read_to_its_end_and_some_time_on(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    append(path, 1)
    tail = Follower(path)
    assert tail.poll() == [1]
    path.rename(old)
    append(old, 2)
    assert tail.poll(2) == [2]
    append(old, 3)
    append(path, 10)
    assert tail.poll() == [3]
    assert tail.poll(1) == [10]
    append(old, 4)  # an old process finishes its request
    append(path, 11)
    assert tail.poll() == [4, 11]
    assert tail.poll(601) == []
    append(path, 12)
    assert tail.poll() == [12]


def test_a_truncated_log_begins_again_and_the_copy_has_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    append(path, *range(100))
    tail = Follower(path)
    assert tail.poll() == [*range(100)]
    append(path, 100, 101)
    (tmp_path / "access.log.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)
    append(path, 200)
    assert tail.poll() == [100, 101, 200]
    os.truncate(path, 0)
    append(path, *range(300, 500))  # longer than before: only its beginning tells
    assert tail.poll() == [*range(300, 500)]


def test_what_was_rotated_while_nobody_followed_is_read_first(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    append(path, 1, 2)
    first = Follower(path)
    assert first.poll() == [1, 2]
    append(path, 3)
    (tmp_path / "access.log.2.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    append(tmp_path / "access.log.1", 4)
    os.utime(tmp_path / "access.log.2.gz", (1, 1))
    append(path, 5)

    again = Follower(path, first.positions())
    assert again.poll() == [3, 4, 5]
    fresh = Follower(path)
    assert fresh.poll() == [5]
