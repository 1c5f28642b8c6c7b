"""Finding a log's format: the one that reads most of its first lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from deploy.replay import formats
from deploy.replay.entry import Malformed

#: Lines that are looked at.
SAMPLE: Final = 100


class Detected(NamedTuple):
    """What was found: a name for `formats.make`, what to call it, and how many of the lines it read."""

    wanted: str
    title: str
    read: int
    lines: int


def detect(lines: Sequence[bytes], zone: tzinfo, forwarded: bool) -> Detected | None:
    """Return the format that reads most of `lines`; None where none reads any."""
    best: Detected | None = None
    for wanted in dict.fromkeys({kind: name for name, kind in reversed(formats.BUILT_IN.items())}.values()):
        found = judge(wanted, lines, zone, forwarded)
        if found.read and (best is None or found.read > best.read):
            best = found
    return best


def judge(wanted: str, lines: Sequence[bytes], zone: tzinfo, forwarded: bool) -> Detected:
    """Return how many of `lines` a format reads, and what its own name for them is."""
    log = formats.make(wanted, zone, forwarded)
    titles: Counter[str] = Counter()
    total = read = 0
    for line in lines:
        try:
            entry = log.parse(line)
        except Malformed:
            total += 1
            continue
        if entry is not None:
            total += 1
            read += 1
            titles[log.kind(line)] += 1
    title = " and ".join(name for name, _ in titles.most_common(2) if name) or log.name
    return Detected(wanted, title, read, total)
