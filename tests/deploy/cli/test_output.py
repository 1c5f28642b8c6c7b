"""Output whose reader waits, or is gone."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TextIO

import click
import pytest

from deploy.cli import output as module
from deploy.cli.output import Output

#: More than a pipe holds.
LINES = [f"{number:06d} {'x' * 100}\n" for number in range(5_000)]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """Yield the end that reads what goes to standard output."""
    reads, writes = os.pipe()
    with open(reads) as reader, open(writes, "w") as writer:
        monkeypatch.setattr(click, "echo", partial(click.echo, file=writer))
        yield reader
        with suppress(OSError):
            writer.close()


def read_all(pipe: TextIO, into: list[str]) -> None:
    while len(into) < len(LINES):
        into.append(pipe.readline())


def test_a_reader_who_waits_holds_up_nobody_and_gets_everything_in_order(pipe: TextIO) -> None:
    read: list[str] = []
    reader = threading.Thread(target=read_all, args=(pipe, read))
    with Output() as output:
        for line in LINES:  # would never end if it waited: nobody reads yet
            output.add(line)
        reader.start()
    reader.join()
    assert read == LINES


async def test_a_command_waits_for_its_reader_once_much_is_unread(
    pipe: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING", 100_000)
    read: list[str] = []
    with Output() as output:
        for line in LINES:
            output.add(line)
        with pytest.raises(TimeoutError):  # and its loop goes on meanwhile
            await asyncio.wait_for(output.room(), 0.5)
        threading.Thread(target=read_all, args=(pipe, read)).start()
        await asyncio.wait_for(output.room(), 60)
    assert read == LINES


def test_a_reader_that_is_gone_ends_the_command(pipe: TextIO) -> None:
    pipe.close()
    with pytest.raises(BrokenPipeError):
        print_all()


def test_an_interrupt_does_not_wait_for_the_reader(pipe: TextIO) -> None:
    with pytest.raises(KeyboardInterrupt):
        print_all(interrupted=True)
    pipe.close()  # which ends the thread; one that goes on would print into the next test
    for thread in threading.enumerate():
        if thread.name == "output":
            thread.join(60)
            assert not thread.is_alive()


def print_all(*, interrupted: bool = False) -> None:
    with Output() as output:
        for line in LINES:
            output.add(line)
        if interrupted:
            raise KeyboardInterrupt
