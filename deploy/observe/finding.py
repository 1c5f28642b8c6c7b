"""What a check has found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How much a finding matters."""

    #: Pageviews are refused, wait or could be lost until this is mended.
    ERROR = "error"
    #: It works, with less than what it could do, or not for long.
    WARNING = "warning"
    #: It could not be looked at.
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """One thing that is wrong, where, and what to do about it.  Quotes no secret and no visitor."""

    level: Level
    #: The part that was looked at, such as `broker`.
    part: str
    problem: str
    cure: str


def error(part: str, problem: str, cure: str) -> Finding:
    """Return a finding that has to be mended."""
    return Finding(Level.ERROR, part, problem, cure)


def warning(part: str, problem: str, cure: str) -> Finding:
    """Return a finding that should be looked at."""
    return Finding(Level.WARNING, part, problem, cure)


def unknown(part: str, problem: str, cure: str) -> Finding:
    """Return a finding that says what could not be looked at."""
    return Finding(Level.UNKNOWN, part, problem, cure)
