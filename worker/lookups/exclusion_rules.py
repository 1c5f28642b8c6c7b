"""The rules that exclude pageviews, as an operator writes them and as the registry keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from worker.lengths import USER_AGENT
from worker.lookups.countries import COUNTRIES
from worker.lookups.networks import parse_network
from worker.lookups.paths import HASH_PATH, canonical, comparable, escaped

_LONGEST_PATH: Final = 1_024


def parse_rule(kind: str, value: str) -> str:
    """Return `value` in the form that the registry keeps; giving that form again changes nothing.

    `kind` is one of `KINDS`.  Raises `ValueError` with a text that says what is wrong (to be put behind the
    value) and how to say it right.
    """
    parse = _PARSERS.get(kind)
    if parse is None:
        raise ValueError(f"unknown rule kind {kind!r}; use one of {', '.join(KINDS)}")
    value = value.strip()
    if not value:
        raise ValueError("is empty")
    return parse(value)


def _parse_cidr(value: str) -> str:
    return str(parse_network(value))


def _parse_country(value: str) -> str:
    code = value.upper()
    if value.isascii() and code in COUNTRIES:  # of `ß` the upper case is SS, South Sudan
        return code
    hint = "; the United Kingdom is GB" if code == "UK" else "; use two letters, such as DE"
    raise ValueError(f"is not an ISO 3166-1 country code{hint}")


def _parse_user_agent(value: str) -> str:
    folded = value.casefold()  # which may be longer: of `ß` it is `ss`
    if len(folded) > USER_AGENT:
        raise ValueError(f"is longer than the {USER_AGENT} characters of a user agent that are looked at")
    return folded


def _parse_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("is not a path: it must start with /")
    if "?" in value or "#" in HASH_PATH.sub("", value, count=1):
        raise ValueError("has a query or a fragment; exclusions by path look at neither, but for #/ and #!/")
    path = escaped(comparable(canonical(value)))
    if len(path) > _LONGEST_PATH:
        raise ValueError(f"is longer than {_LONGEST_PATH} characters")
    return path


_PARSERS: Final[Mapping[str, Callable[[str], str]]] = {
    "cidr": _parse_cidr,
    "country": _parse_country,
    "user_agent": _parse_user_agent,
    "path": _parse_path,
}

#: In the order in which they are looked at.
KINDS: Final = tuple(_PARSERS)
