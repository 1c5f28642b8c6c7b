"""From files to lines: compression, line ends, odd bytes; and telling files apart."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from deploy.replay.decompress import DamagedError
from deploy.replay.files import Identity, LogFile, read_head
from deploy.replay.lines import MAX_LINE, LineCutter

PLAIN = b"".join(b"line %d of some log\n" % number for number in range(50_000))
KEY = bytes(range(32))


def cut(*pieces: bytes, position: int = 0) -> list[tuple[bytes, int, int, bool]]:
    cutter = LineCutter(position)
    found = [tuple(line) for piece in pieces for line in cutter.feed(piece)]
    return found + [tuple(line) for line in cutter.finish()]  # type: ignore[return-value]


def test_lines_and_their_positions() -> None:
    assert cut(b"\xef\xbb\xbfa\r\nb", b"b\n\n", b"c") == [
        (b"a", 6, 1, True), (b"bb", 9, 2, True), (b"", 10, 3, True), (b"c", 11, 4, False),
    ]  # fmt: skip
    assert cut(b"a\n", position=100) == [(b"a", 102, 1, True)]
    assert cut(b"\0\0\0", b"\0\0a\nb\n") == [(b"a", 7, 1, True), (b"b", 9, 2, True)]
    assert cut() == []


def test_a_line_without_end_costs_no_memory() -> None:
    cutter = LineCutter()
    tracemalloc.start()
    for _ in range(200):
        assert not list(cutter.feed(b"x" * 500_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    [line] = cutter.feed(b"\n")
    assert (len(line.text), line.end) == (MAX_LINE + 1, 100_000_001)
    assert peak < 5_000_000


def _in_two(compress: Callable[[bytes], bytes], at: int) -> bytes:
    return compress(PLAIN[:at]) + compress(PLAIN[at:])


COMPRESSED: dict[str, Callable[[], bytes]] = {
    "plain": lambda: PLAIN,
    "gzip": lambda: gzip.compress(PLAIN),
    "gzip members": lambda: _in_two(gzip.compress, 9) + b"\0" * 1000,
    "zstd": lambda: zstandard.compress(PLAIN),
    "zstd frames": lambda: _in_two(zstandard.compress, 70_000),
    "xz": lambda: lzma.compress(PLAIN),
    "bzip2": lambda: bz2.compress(PLAIN),
}


@pytest.mark.parametrize("compressed", COMPRESSED.values(), ids=COMPRESSED)
def test_every_compression_holds_the_same_log(compressed: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(compressed())
    log = LogFile(path)
    assert b"".join(log.pieces()) == PLAIN
    log.finish()
    later = LogFile(path)
    later.skip(500_000)
    assert b"".join(later.pieces()) == PLAIN[500_000:]
    assert Identity.of(PLAIN[:3000], KEY).matches(read_head(path), KEY)
    assert not Identity.of(b"x" + PLAIN, KEY).matches(read_head(path), KEY)


def read_whole(log: LogFile) -> None:
    list(log.pieces())
    log.finish()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, lzma.compress, bz2.compress])
def test_damage_is_reported(compress: object, tmp_path: Path) -> None:
    whole = compress(PLAIN)  # type: ignore[operator]
    path = tmp_path / "log"
    path.write_bytes(whole[: len(whole) // 2])
    log = LogFile(path)
    with pytest.raises(DamagedError, match="end early"):
        read_whole(log)
    path.write_bytes(whole[:60] + bytes(byte ^ 0x55 for byte in whole[60:]))
    log = LogFile(path)
    with pytest.raises(DamagedError, match=r"are damaged|end early"):
        read_whole(log)


def test_a_bomb_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\n" * 200_000_000, 9))
    tracemalloc.start()
    assert sum(map(len, LogFile(path).pieces())) == 200_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
