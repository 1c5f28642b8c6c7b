"""Regular expressions mean the same to every Python that Hitline runs on."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = [path for part in ("gateway", "worker", "shared", "deploy") for path in (ROOT / part).rglob("*.py")]
#: The end of a group that is repeated possessively, and where its last alternative is not empty.
POSSESSIVE = re.compile(r"""[^|]\)(?:[*?]\+|\+\+)(?=["'\\()\[|])""")
#: Such characters in texts that are no patterns.
ALLOWED = {"$&'()*+,;=:@"}


def test_groups_that_are_repeated_possessively_never_fail() -> None:
    """Their last alternative is empty, which ends the repetition, too.

    Before Python 3.11.5 the match goes on behind what such a group has matched before it failed (CPython's gh-106052).
    """
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if POSSESSIVE.search(line) and not any(each in line for each in ALLOWED)
    ]
    assert found == []
