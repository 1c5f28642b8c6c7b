"""One page, one path: the canonical form that is stored, erased by, and compared by exclusions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from worker.lengths import PATH
from worker.lookups.escapes import decoded, with_runs

#: RFC 3986 section 2.3.
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: What a path may hold unescaped beside unreserved characters (section 3.3), and the percent sign of its escapes.
_SAFE: Final = "/%!$&'()*+,;=:@"
#: A path with none of these, nor a dot behind a slash, is in canonical form already.
_NOT_CANONICAL: Final = re.compile(r"[^A-Za-z0-9._~/!$&'()*+,;=:@-]")
_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9._~/%!$&'()*+,;=:@-]")
#: A path in the fragment; in a canonical path nothing else has a `#`.
HASH_PATH: Final = re.compile("(#!?)/")
_BELOW: Final = re.compile("(?<!/)/(#!?)(?=/|\\Z)")
_HEX: Final = "[0-9A-Fa-f]"
#: Escapes in a row, but not behind a percent sign that begins none: `%4%41` must not become `%4A`, another one.  The
#: group makes `split` return them, too.  For the empty alternative see `gateway.structure`.
_ESCAPES: Final = re.compile(f"(%(?<!%%)(?<!%{_HEX}%){_HEX}{{2}}(?:%{_HEX}{{2}}|)*+)")
#: The canonical form of each byte that is escaped.
_FORMS: Final = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
#: U+FFFD, for bytes that were not UTF-8, as an escape.  It stays a character, so that readers see the damage.
_REPLACEMENT: Final = quote("\ufffd")
#: Characters that are escaped at a time.
_CHUNK: Final = 256
#: Characters that a rule keeps escaped, so that reading it once more gives the same path.
_ESCAPED: Final = re.compile(r"[%?#\s]")


def canonical(path: str) -> str:
    """Return the path in the canonical form of RFC 3986 section 6.2.2.

    Escapes in upper case, and only where they are needed; whatever a path can't hold as it is (`é`, a space) escaped;
    dot segments removed.  `/café`, `/caf%c3%a9` and `/x/../%63afé` are all `/caf%C3%A9`.  Escapes that mean something
    else than their character (`%2F`, `%21`) stay, and so does a percent sign that begins no escape.  U+FFFD stays too.
    A path in the fragment, behind `#` or `#!`, is one of its own: `/app#/x/../y` is `/app#/y`.
    """
    if "/." not in path and not _NOT_CANONICAL.search(path):
        return path
    if hash_path := HASH_PATH.search(path):
        return canonical(path[: hash_path.start()]) + hash_path[1] + canonical(path[hash_path.end() - 1 :])
    if "%" in path:
        path = with_runs(path, _ESCAPES, _canonical_run)
    if _NOT_ALLOWED.search(path):
        path = _quoted(path)
    if "/." in path:
        path = _without_dot_segments(path)
    return path.replace(_REPLACEMENT, "\ufffd")


def _canonical_run(escapes: str) -> str:
    """Write escapes in upper case, or as the character where it needs none."""
    return "".join(map(_FORMS.__getitem__, bytes.fromhex(escapes.replace("%", ""))))


def _quoted(path: str) -> str:
    """Escape what a path can't hold, of as much as the column holds: text only grows by it."""
    quoted = ""
    for start in range(0, len(path), _CHUNK):
        quoted += quote(path[start : start + _CHUNK], safe=_SAFE, errors="replace")
        if len(quoted) > PATH:
            break
    return quoted


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4; a path that ends in a dot segment ends in `/`."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "".join(f"/{segment}" for segment in kept) or "/"


def comparable(path: str) -> str:
    """Return a canonical path as exclusions compare it: decoded, without trailing `/`.

    Decoded once, as servers do it, so that `%2F` separates like `/`, and dot segments that this uncovers count.  Case
    counts, empty segments too (`//a` is not `/a`).  The root is an empty string.  A path in the fragment is below the
    one before it: `/app#/x` gives `/app/#/x`.
    """
    if hash_path := HASH_PATH.search(path):
        behind = comparable(path[hash_path.end() - 1 :])
        return f"{comparable(path[: hash_path.start()])}/{hash_path[1]}{behind}"
    if "%" in path:
        path = decoded(path)
        if "/." in path:
            path = _without_dot_segments(path)
    return path.rstrip("/")


def escaped(path: str) -> str:
    """Return a rule's text for a comparable path: readable, and `comparable` makes the same path of it again."""
    if hash_path := _BELOW.search(path):
        before, behind = path[: hash_path.start()], path[hash_path.end() :]
        return f"{escaped(before)}{hash_path[1]}{escaped(behind)}"
    return _ESCAPED.sub(lambda found: quote(found[0]), path) or "/"


class Prefixes:
    """A set of paths that each cover what is below them; a look-up costs a step a segment, however many there are."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules: Mapping[str, str] = {comparable(canonical(rule)): rule for rule in rules}
        self._depth = max((path.count("/") for path in self._rules), default=0)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Prefixes:
        """Return these paths with some added and others removed; no path is looked at but those."""
        new, more = Prefixes(()), Prefixes(added)
        rules = dict(self._rules)
        for rule in removed:
            rules.pop(comparable(canonical(rule)), None)
        new._rules = {**rules, **more._rules}
        new._depth = max(self._depth, more._depth)  # as deep as ever: looking too far costs little
        return new

    def find(self, path: str) -> str | None:
        """Return the longest rule that covers `path`, which is in the form that `comparable` returns."""
        segments = path.split("/", self._depth + 1)[: self._depth + 1]
        for count in range(len(segments), 0, -1):
            rule = self._rules.get("/".join(segments[:count]))
            if rule is not None:
                return rule
        return None
