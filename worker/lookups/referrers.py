"""The host in a referrer, however it is spelt.

Spammers spell hosts so that lists don't find them and browsers still follow: the host is read by ada, a parser of the
WHATWG URL standard, as browsers use it, from a referrer that was first rid of what servers, forwarders and spammers put
around it.
"""

from __future__ import annotations

import re
from typing import Final

from ada_url import URL

from shared.hostnames import LONGEST, normalise
from worker.lookups.domains import has_known_suffix
from worker.lookups.escapes import decoded

#: Characters that are looked at: with user info before it, a host ends long before.
_LONGEST_TEXT: Final = 1_024
_QUOTES: Final = "\"'`<>“”„«»\u2018\u2019"
#: Byte order marks and characters of no width come from copying.
_AROUND: Final = _QUOTES + " \t\r\n\f\v\0\ufeff\u200b\u2060\xa0"
#: White space and quotes inside an authority; browsers remove or refuse them, and no host has any.
_JUNK: Final = re.compile(rf"[\s\0{_QUOTES}]+")
#: A browser removes these wherever they are.
_REMOVED: Final = dict.fromkeys(map(ord, "\t\r\n"))
_IGNORED_PREFIX: Final = re.compile(r"(?:view-source:|url=|referr?er:)\s*", re.IGNORECASE)
#: A scheme, slashes, and a host that begins with an ordinary character: no more decoding is needed.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]{1,3}[^%/\\]")
#: Where the `%3A%2F%2F` of an encoded `://` is.
_BEGINNING: Final = 24
#: The last of several, of links that were glued together (`https://https://host/`).
_WEB: Final = re.compile(r"(?:https?:[/\\]+(?=https?:[/\\]))*https?:([/\\]*)", re.IGNORECASE)
#: `android-app://PACKAGE/SCHEME/HOST/PATH` and `ios-app://NUMBER/SCHEME/HOST/PATH` (Google's App Indexing); most apps
#: name no page.
_APP: Final = re.compile(r"(android|ios)-app://([A-Za-z0-9._]+)(?:/https?/([^/?#]+))?", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]*(?:[/?#]|\Z))")
_NO_SCHEME: Final = re.compile(r"[/\\]{2,}")
_AUTHORITY_END: Final = re.compile(r"[/\\?#]")
#: How often a referrer may be percent-encoded as a whole.
_DECODED: Final = 3


def host_of(referrer: str) -> str:
    """Return the normalised host of a web page or Android app, empty where the referrer names none.

    Of `http://host/`, `//host/`, and of `host/path` without a scheme where the host is below a public suffix.
    """
    text = _unwrapped(referrer[:_LONGEST_TEXT])
    if app := _APP.match(text):
        package = app[2].lower() if app[1].lower() == "android" else ""
        return _parsed(app[3]) if app[3] else package
    web = _WEB.match(text)
    if web:
        host = _parsed(text[web.end() :])
        # `https:host` and `https:///host` are followed as well, but are names only where they look like one.
        return host if len(web[1]) == 2 or "." in host else ""
    slashes = _NO_SCHEME.match(text)
    if slashes:
        return _parsed(text[slashes.end() :])
    if _SCHEME.match(text):
        return ""  # `chrome-extension://…`, `mailto:…`, `about:blank`
    return _bare(text)


def _unwrapped(text: str) -> str:
    """Remove what surrounds the address, and decode one that is encoded as a whole."""
    text = _rid(text)
    while prefix := _IGNORED_PREFIX.match(text):
        text = text[prefix.end() :].lstrip(_AROUND)
    for _ in range(_DECODED):
        if "%" not in text[:_BEGINNING] or _PLAIN.match(text):
            break
        once = decoded(text)
        if once == text:  # percent signs that begin no escape
            break
        text = _rid(once)
    return text


def _rid(text: str) -> str:
    """Remove what browsers remove, and what is around the address."""
    if "\t" in text or "\r" in text or "\n" in text:  # `translate` takes long for what is not ASCII
        text = text.translate(_REMOVED)
    return text.strip(_AROUND)


def _bare(text: str) -> str:
    """Return the host of `host.example/path`: words, file names and version numbers are not hosts."""
    authority = _AUTHORITY_END.split(text, maxsplit=1)[0]
    if "@" in authority:
        return ""
    host = _parsed(authority)
    return host if has_known_suffix(host) else ""


def _parsed(text: str) -> str:
    """Return the normalised host at the start of what follows the slashes of a URL."""
    authority = _AUTHORITY_END.split(text, maxsplit=1)[0]
    host = _JUNK.sub("", decoded(authority.rpartition("@")[2]))
    if not host or len(host) > LONGEST + len(":65535"):  # bounded before it is converted
        return ""
    try:
        return normalise(URL(f"http://{host}/").hostname)
    except ValueError:  # ada's, for what is not a URL; a `BadHostname`; half of a surrogate pair
        return ""
