"""Look-ups share a read transaction for a turn of the event loop, and no longer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.registry.reader import Reader
from shared.registry.replica_file import connect

VERSION = "SELECT version FROM state WHERE only = ?"


@pytest.fixture
def writer(tmp_path: Path, reader: Reader) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path / "copy.sqlite")
    yield connection
    connection.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path / "copy.sqlite")
    yield made
    made.close()


def write(writer: sqlite3.Connection, version: int) -> None:
    writer.execute("UPDATE state SET version = ?", (version,))


def version(reader: Reader) -> int:
    return int(reader.find(VERSION, (1,))[0])


async def test_a_turn_sees_one_state_and_the_next_turn_the_newest(reader: Reader, writer: sqlite3.Connection) -> None:
    seen = [version(reader)]
    write(writer, 1)
    seen.append(version(reader))
    await asyncio.sleep(0)
    seen.append(version(reader))
    assert seen == [0, 0, 1]


async def test_asking_for_the_newest_state_ends_what_the_turn_has_seen(
    reader: Reader, writer: sqlite3.Connection
) -> None:
    assert version(reader) == 0
    write(writer, 1)
    assert reader.newest("SELECT version FROM state") == (1,)
    assert version(reader) == 1


def test_without_a_loop_each_look_up_sees_the_newest_state(reader: Reader, writer: sqlite3.Connection) -> None:
    assert version(reader) == 0
    write(writer, 1)
    assert version(reader) == 1


async def test_after_a_turn_the_writer_s_log_can_be_emptied(reader: Reader, writer: sqlite3.Connection) -> None:
    version(reader)
    write(writer, 1)
    writer.execute("PRAGMA busy_timeout = 0")
    busy = []
    for _ in range(2):
        busy.append(writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        await asyncio.sleep(0)
    assert busy == [1, 0]


async def test_it_can_be_closed_within_a_turn(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "other.sqlite")
    version(reader)
    reader.close()
    await asyncio.sleep(0)
