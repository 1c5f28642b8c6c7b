"""Which requests are pageviews: by method, status, kind of file, and custom rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from deploy.replay.entry import Entry

#: The defaults: what a person sees.  304 is a page that the browser had already (as AWStats counts).
METHODS: Final = ("GET",)
STATUSES: Final = "200,304"
STATIC: Final = frozenset(
    """
    js mjs cjs map css less scss json jsonp webmanifest wasm xml xsl xslt rss atom txt
    png jpg jpeg jfif gif webp avif apng bmp ico cur tif tiff svg svgz heic heif jxl
    woff woff2 ttf otf eot mp3 m4a aac ogg oga opus wav flac mp4 m4v m4s mov avi mkv webm ogv flv swf ts m3u8 mpd vtt
    pdf doc docx xls xlsx ppt pptx odt ods odp rtf csv epub mobi ps eps
    zip gz tgz bz2 xz zst 7z rar tar jar war apk ipa exe msi dmg iso deb rpm pkg bin torrent asc sig sha256 md5
    """.split()  # noqa: SIM905 - a list of a hundred names reads better in lines
)
_RULE: Final = re.compile(r"(path|query|host|user_agent|referrer|visitor_ip)(=|~)(.+)", re.DOTALL)
_STATUS: Final = re.compile(r"(\d)xx|(\d{3})(?:-(\d{3}))?", re.IGNORECASE | re.ASCII)

#: Tells whether a request matches.
Rule = Callable[[Entry], bool]


class BadRule(ValueError):
    """A rule or a list of statuses can't be read; the text says what is allowed."""


class Filter:
    """All criteria; `reason` returns why a request is left out."""

    def __init__(
        self,
        methods: Iterable[str],
        statuses: str,
        static: frozenset[str],
        only: Iterable[str],
        leave_out: Iterable[str],
    ) -> None:
        self._methods = frozenset(method.upper() for method in methods)
        self._statuses = parse_statuses(statuses)
        self._static = static
        self._only = [(text, parse_rule(text)) for text in only]
        self._leave_out = [(text, parse_rule(text)) for text in leave_out]

    def reason(self, entry: Entry) -> str | None:
        """Return why a request is not a pageview, or None if it is one."""
        if entry.method not in self._methods:
            return f"method {entry.method if entry.method.isalpha() and len(entry.method) <= 12 else '(other)'}"
        if entry.status and entry.status not in self._statuses:
            return f"status {entry.status}"
        if entry.prefetch:
            return "prefetch"
        if extension(path_of(entry.target)) in self._static:
            return "static file"
        for text, rule in self._leave_out:
            if rule(entry):
                return f"--exclude {text}"
        for text, rule in self._only:
            if not rule(entry):
                return f"not --only {text}"
        return None


def path_of(target: str) -> str:
    """Return the path of a target, which may be an absolute URL."""
    if not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.partition("?")[0].partition("#")[0]


def extension(path: str) -> str:
    """Return what follows the last dot of the path's last segment, in lower case; empty if there is none."""
    name = path.rpartition("/")[2].partition(";")[0]
    return name.rpartition(".")[2].lower() if "." in name else ""


def parse_statuses(text: str) -> frozenset[int]:
    """Return the statuses of `200,304`, `2xx`, `200-206`; raises `BadRule`."""
    found: set[int] = set()
    for word in text.replace(",", " ").split():
        match = _STATUS.fullmatch(word)
        if match is None:
            raise BadRule(f"status {word!r}: write 200, 2xx or 200-206, separated by commas")
        if match[1]:
            found.update(range(int(match[1]) * 100, int(match[1]) * 100 + 100))
        else:
            found.update(range(int(match[2]), int(match[3] or match[2]) + 1))
    return frozenset(found)


def parse_rule(text: str) -> Rule:
    """Return the rule of `FIELD=GLOB` or `FIELD~REGEX` (`visitor_ip=NETWORK`); raises `BadRule`."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise BadRule(
            f"rule {text!r}: write FIELD=GLOB or FIELD~REGEX; fields are path, query, host, user_agent, referrer,"
            " visitor_ip"
        )
    name, kind, pattern = match.groups()
    if name == "visitor_ip" and kind == "=":
        return _network_rule(text, pattern)
    try:
        search = re.compile(translate(pattern) if kind == "=" else pattern).search
    except re.error as error:
        raise BadRule(f"rule {text!r}: not a regular expression ({error})") from None
    value = _VALUES[name]
    return lambda entry: search(value(entry)) is not None


def _network_rule(text: str, pattern: str) -> Rule:
    try:
        network = ip_network(pattern, strict=False)
    except ValueError:
        raise BadRule(f"rule {text!r}: not an address or a network such as 192.0.2.0/24") from None
    inside = lru_cache(maxsize=16_384)(lambda address: ip_address(address) in network)
    return lambda entry: inside(entry.address)


_VALUES: Final[dict[str, Callable[[Entry], str]]] = {
    "path": lambda entry: path_of(entry.target),
    "query": lambda entry: entry.target.partition("?")[2],
    "host": lambda entry: entry.host,
    "user_agent": lambda entry: entry.user_agent,
    "referrer": lambda entry: entry.referrer,
    "visitor_ip": lambda entry: entry.address,
}
