"""Custom formats, written as nginx's `log_format` (`$remote_addr …`) or Apache's `LogFormat` (`%h …`)."""

from __future__ import annotations

import re
from typing import Final

from deploy.replay import fields
from deploy.replay.entry import Entry, Malformed
from deploy.replay.formats.json_lines import ALIASES
from deploy.replay.text import decode, unescape
from deploy.replay.times import LocalClock

_NGINX: Final = {theirs: ours for ours, names in ALIASES.items() for theirs in names}
_APACHE: Final = {
    "h": "address", "a": "address", "{c}a": "address", "t": "time", "r": "request", "m": "method", "U": "path",
    "q": "query", "s": "status", "v": "host", "V": "host", "p": "port", "{host}i": "host", "{referer}i": "referrer",
    "{referrer}i": "referrer", "{user-agent}i": "user_agent", "{x-forwarded-for}i": "forwarded",
    "{accept-language}i": "language", "{dnt}i": "dnt", "{sec-gpc}i": "gpc", "{sec-purpose}i": "purpose",
    "{sec}t": "time", "{msec}t": "time", "{usec}t": "time", "{request_scheme}e": "scheme",
}  # fmt: skip
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
#: mod_log_config: `%`, conditions on the status, `<` or `>`, a name in braces, letters.
_DIRECTIVE: Final = re.compile(r"%(%)|%!?[\d,]*[<>]?((?:\{[^}]*\})?(?:\^t[io]|[A-Za-z]))")
_REQUIRED: Final = ("time", "address")


class BadTemplate(ValueError):
    """A custom format can't be used; the message says why."""


class TemplateLog:
    """A template as a regular expression with a group for each value that we know."""

    name = "your --format"

    def __init__(self, template: str, clock: LocalClock, forwarded: bool) -> None:
        self.clock = clock
        self._forwarded = forwarded
        self._line = _compile(template)

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request; raises `Malformed`."""
        match = self._line.fullmatch(decode(line).rstrip())
        if match is None:
            raise Malformed("does not match --format")
        values = {name: unescape(value) for name, value in match.groupdict().items() if value}
        return fields.entry_of(values, self.clock, self._forwarded)

    def kind(self, line: bytes) -> str:  # noqa: ARG002
        """Return the name of the format."""
        return self.name


def _compile(template: str) -> re.Pattern[str]:
    pieces = _pieces(template.replace('\\"', '"').strip())
    known = {name for name, _ in pieces if name}
    missing = [name for name in _REQUIRED if name not in known]
    if not known & {"request", "target", "path"}:
        missing.append("request")
    if missing:
        raise BadTemplate(f"has no {', '.join(missing)}: write it as in nginx's log_format or Apache's LogFormat")
    pattern = ""
    used: set[str] = set()
    for index, (name, literal) in enumerate(pieces):
        if name is None:
            pattern += re.escape(literal)
            continue
        following = _following(pieces, index)
        group = f"(?P<{name}>" if name and name not in used else "(?:"
        used.add(name)
        pattern += f"{group}{_value(name, following)})"
    return re.compile(pattern, re.DOTALL)


def _following(pieces: list[tuple[str | None, str]], index: int) -> str:
    """Return the characters one of which ends the value at `index`; empty at the template's end."""
    behind = pieces[index + 1 : index + 3]
    ends = behind[0][1][:1] if behind and behind[0][0] is None else ""
    if behind and behind[0][0] == "query":  # Apache's %q brings its own question mark
        ends = "?" + (behind[1][1][:1] if len(behind) > 1 and behind[1][0] is None else "")
    return ends


def _value(name: str, ends: str) -> str:
    """Return what a value is made of: everything but what follows it, so that no line takes long to match."""
    if name == "forwarded" and ends == " ":
        return r"[^ ,]+(?:, ?[^ ,]+)*"
    if name == "request" and ends == " ":
        return r"[^ ]+ [^ ]+ HTTP/[0-9.]+|[^ ]*"
    if not ends:
        return ".*"
    return rf"(?:[^{re.escape(ends)}\\]|\\.)*"


def _pieces(template: str) -> list[tuple[str | None, str]]:
    """Return the template as (name, "") for values, the name empty where it is not ours, and (None, text) between."""
    nginx = _VARIABLE.search(template) is not None
    if not nginx and _DIRECTIVE.search(template) is None:
        raise BadTemplate("is neither a known format's name nor a template such as '$remote_addr …' or '%h …'")
    pieces: list[tuple[str | None, str]] = []
    at = 0
    for match in (_VARIABLE if nginx else _DIRECTIVE).finditer(template):
        pieces.append((None, template[at : match.start()]))
        at = match.end()
        pieces += _value_pieces(match, nginx)
    pieces.append((None, template[at:]))
    return _joined(pieces)


def _value_pieces(match: re.Match[str], nginx: bool) -> list[tuple[str | None, str]]:
    if nginx:
        return [(_NGINX.get(match[1] or match[2], ""), "")]
    if match[1]:
        return [(None, "%")]
    directive = match[2]
    name = _APACHE.get(directive.lower() if directive.startswith("{") else directive, "")
    return [(None, "["), (name, ""), (None, "]")] if directive == "t" else [(name, "")]


def _joined(pieces: list[tuple[str | None, str]]) -> list[tuple[str | None, str]]:
    """Join neighbouring texts, and refuse two values with nothing between them."""
    joined: list[tuple[str | None, str]] = []
    for name, literal in pieces:
        if name is None and not literal:
            continue
        if name is None and joined and joined[-1][0] is None:
            joined[-1] = (None, joined[-1][1] + literal)
            continue
        if name is not None and joined and joined[-1][0] is not None and not (name == "query"):
            raise BadTemplate("has two values with nothing between them: no telling where one ends")
        joined.append((name, literal))
    return joined
