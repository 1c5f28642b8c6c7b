"""The possible outcomes of an accepted pageview: a closed set, counted by site and client."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a pageview; every accepted one has exactly one outcome."""

    STORED = "stored"
    DEAD_LETTERED = "dead_lettered"

    # Reasons to drop a pageview.
    DNT = "dnt"
    EXCLUDED_CIDR = "excluded_cidr"
    EXCLUDED_COUNTRY = "excluded_country"
    EXCLUDED_USER_AGENT = "excluded_user_agent"
    EXCLUDED_PATH = "excluded_path"
    SPAM_NETWORK = "spam_network"
    SPAM_REFERRER = "spam_referrer"
    UNKNOWN_SITE = "unknown_site"
    TOO_OLD = "too_old"


DROP_REASONS = frozenset(Outcome) - {Outcome.STORED, Outcome.DEAD_LETTERED}
