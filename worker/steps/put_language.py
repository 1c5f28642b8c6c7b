"""A visitor's language as a BCP 47 tag in its usual case."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from shared.metrics import TRUNCATED
from shared.pageview import QueuedPageview
from worker.lengths import CACHED_LENGTH, LANGUAGE

#: RFC 5646 section 2.1, loosely: subtags of 1 to 8 letters or digits, the first of letters only.
#: Behind it comes the end, or what separates it from more.  For the empty alternative see `gateway.structure`.
_TAG: Final = re.compile(r"\s*((?:[A-Za-z]{2,8}|[IXix](?=[-_]))(?:[-_][A-Za-z0-9]{1,8}|)*+)\s*+(?:[,;.@]|\Z)")


class Language(NamedTuple):
    """A tag, and whether subtags were cut off it."""

    tag: str
    is_cut: bool


def put_language(pageview: QueuedPageview) -> str:
    """Return the pageview's language tag, empty if there is none."""
    text = pageview.language
    if not text:
        return ""
    tag, is_cut = _cached(text) if len(text) <= CACHED_LENGTH else parse_language(text)
    if is_cut:
        TRUNCATED.labels("language").inc()
    return tag


def parse_language(text: str) -> Language:
    """Normalise a tag, the first of an Accept-Language list, or a POSIX locale (`en_US.UTF-8`).

    Case by RFC 5646 section 2.1.1 (`zh-hant-tw` → `zh-Hant-TW`), cut by its section 4.4.2 (whole subtags, from the
    right).  Text that is not a tag gives an empty one.
    """
    found = _TAG.match(text)
    if found is None:
        return Language("", False)
    first = found[1].replace("_", "-")
    subtags = _in_usual_case(first.split("-"))
    is_cut = len(first) > LANGUAGE
    if is_cut:
        subtags = subtags[: LANGUAGE // 2]
        while subtags and (len("-".join(subtags)) > LANGUAGE or len(subtags[-1]) == 1):
            subtags.pop()
    return Language("-".join(subtags), is_cut)


_cached = lru_cache(maxsize=4_096)(parse_language)


def _in_usual_case(subtags: list[str]) -> list[str]:
    done = [subtags[0].lower()]
    extension = len(subtags[0]) == 1
    for subtag in subtags[1:]:
        extension = extension or len(subtag) == 1
        if len(subtag) == 2 and not extension:
            done.append(subtag.upper())
        elif len(subtag) == 4 and not extension:
            done.append(subtag.capitalize())
        else:
            done.append(subtag.lower())
    return done
