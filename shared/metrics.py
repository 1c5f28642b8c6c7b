"""Every metric of gateway and worker, in one place.

No label ever holds an address, a token or anything else a client sent.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500)

# ---- gateway -------------------------------------------------------------------------------------------------------

#: The route of answers to unknown paths, and to requests that are no HTTP.
OTHER_ROUTE: Final = "other"
#: Answers by route and status: the rate of traffic, and of each kind of failure.
REQUESTS = Counter("hitline_requests_total", "HTTP answers", ["route", "status"])
#: From the request's head to its answer; at 202 this includes the broker's fsync.
REQUEST_SECONDS = Histogram("hitline_request_seconds", "Time to answer a request", ["route"], buckets=_LATENCY)
#: Pageviews (of requests and of batches) that were not taken, by reason of gateway/replies.py.
REJECTED = Counter("hitline_rejected_total", "Requests or batch items not taken", ["reason"])
#: Pageviews that were answered 202: the left side of the ledger.
ACCEPTED = Counter("hitline_accepted_pageviews_total", "Pageviews confirmed by the broker")
#: Requests being worked on right now.
REQUESTS_IN_FLIGHT = Gauge("hitline_requests_in_flight", "Requests not yet answered")
#: Pageviews a message: how well group commit works.
GROUP_PAGEVIEWS = Histogram("hitline_group_pageviews", "Pageviews a published message", buckets=_SIZES)
#: From publish to confirm: the broker's own latency (its disk).
CONFIRM_SECONDS = Histogram("hitline_confirm_seconds", "Time from publish to confirm", buckets=_LATENCY)
#: Published messages by result: confirmed, refused, returned, unknown.
PUBLISHED = Counter("hitline_published_messages_total", "Published messages by result", ["result"])
#: Messages published and not yet confirmed; bounded.
MESSAGES_IN_FLIGHT = Gauge("hitline_messages_in_flight", "Messages awaiting their confirm")
#: Pageviews that wait for a place in a message; bounded.
PAGEVIEWS_WAITING = Gauge("hitline_pageviews_waiting", "Pageviews waiting to be published")
#: 1 while rate limits can't reach their shared storage and each process counts for itself.
RATE_LIMIT_FALLBACK = Gauge("hitline_rate_limit_fallback", "1 while shared rate limits are out of reach")

# ---- both ----------------------------------------------------------------------------------------------------------

#: 1 while connected to the broker with a usable channel.
BROKER_UP = Gauge("hitline_broker_up", "1 while the broker connection is usable")
#: Seconds since the registry was last compared with ClickHouse; grows while ClickHouse is away.
REGISTRY_AGE = Gauge("hitline_registry_age_seconds", "Age of the registry copy")
#: Newest change in the registry copy.
REGISTRY_VERSION = Gauge("hitline_registry_version", "Newest version in the registry copy")

# ---- worker --------------------------------------------------------------------------------------------------------

#: Pageviews by what became of them (shared/outcomes.py); per site and client see the table `outcomes`.
OUTCOMES = Counter("hitline_outcomes_total", "Pageviews by outcome", ["outcome"])
#: Messages taken from the queue; redelivered ones apart, since they cost a look-up.
MESSAGES = Counter("hitline_messages_total", "Messages taken from the queue", ["redelivered"])
#: Rows a successful insert.
INSERT_ROWS = Histogram(
    "hitline_insert_rows",
    "Rows an insert",
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000),
)
#: Time of a successful insert.
INSERT_SECONDS = Histogram("hitline_insert_seconds", "Time an insert takes", buckets=(*_LATENCY, 30, 60, 120))
#: Failed attempts to write to ClickHouse, by kind; each is retried.
INSERT_RETRIES = Counter("hitline_insert_retries_total", "Attempts to write that will be repeated", ["kind"])
#: Rows that a redelivered message brought again and that were found stored.
ROWS_FOUND = Counter("hitline_rows_found_stored_total", "Rows of redelivered messages that were stored already")
#: Pageviews or messages set aside, by reason.
DEAD_LETTERS = Counter("hitline_dead_letters_total", "Dead letters written", ["reason"])
#: Rows gathered for the next insert.
ROWS_WAITING = Gauge("hitline_rows_waiting", "Rows gathered for the next insert")
#: 1 while the worker takes nothing from the queue because it could not do anything right with it.
PAUSED = Gauge("hitline_paused", "1 while the worker takes nothing", ["reason"])
#: Geo databases and spam lists that were refused or are missing, by name: 1 is bad.
LOOKUP_STALE = Gauge("hitline_lookup_stale", "1 while a look-up file is refused or missing", ["name"])
#: Strings cut to their documented length, by column.
TRUNCATED = Counter("hitline_truncated_total", "Strings cut to their documented length", ["column"])
