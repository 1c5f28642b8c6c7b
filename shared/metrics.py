"""Every metric of gateway and worker, in one place.

No label holds an address, a token or anything else that a client sent.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500)

# ---- gateway -------------------------------------------------------------------------------------------------------

#: The route of answers to unknown paths and to malformed HTTP.
OTHER_ROUTE: Final = "other"
#: Answers by route and status: the rate of traffic, and of each kind of failure.
REQUESTS = Counter("hitline_requests_total", "HTTP answers", ["route", "status"])
#: From the request's head to its answer; at 202 this includes the broker's fsync.
REQUEST_SECONDS = Histogram("hitline_request_seconds", "Time to answer a request", ["route"], buckets=_LATENCY)
#: Single requests, batch items, and whole batches that were not accepted, by reason (gateway/replies.py).
REJECTED = Counter("hitline_rejected_total", "Requests or batch items not accepted", ["reason"])
#: Pageviews answered 202: the left side of the ledger.
ACCEPTED = Counter("hitline_accepted_pageviews_total", "Pageviews confirmed by the broker")
#: Pageviews that were refused, by the operator's name of the API client (a bounded number, then "other") and reason.
REFUSED = Counter("hitline_refused_pageviews_total", "Pageviews refused by client and reason", ["client", "reason"])
#: Values that were changed so as not to cost their pageview, by column: not_utf8 (U+FFFD), rounded, out_of_range (0).
ALTERED = Counter("hitline_altered_values_total", "Values stored differently from how they came", ["column", "change"])
#: Requests being worked on right now.
REQUESTS_IN_FLIGHT = Gauge("hitline_requests_in_flight", "Requests not yet answered")
#: Open connections of clients, which HITLINE_MAX_CONNECTIONS bounds.
CONNECTIONS = Gauge("hitline_connections", "Open connections of clients")
#: Connections turned away with 503, by the bound that was reached: of all, or of one address.
CONNECTIONS_REFUSED = Counter("hitline_connections_refused_total", "Connections turned away", ["bound"])
for _bound in ("all", "address"):
    CONNECTIONS_REFUSED.labels(_bound)  # at 0 from the start, as `increase` does not count what a series begins with
#: Connections ended since their client did not read its answers.
CONNECTIONS_UNREAD = Counter("hitline_connections_unread_total", "Connections of clients that did not read")
#: Pageviews per message: how well group commit works.
GROUP_PAGEVIEWS = Histogram("hitline_group_pageviews", "Pageviews per published message", buckets=_SIZES)
#: From publish to confirm: the broker's own latency (its disk).
CONFIRM_SECONDS = Histogram("hitline_confirm_seconds", "Time from publish to confirm", buckets=_LATENCY)
#: Published messages by result: `confirmed`, else the label of the reason in gateway/replies.py.
PUBLISHED = Counter("hitline_published_messages_total", "Published messages by result", ["result"])
PUBLISHED.labels("unknown_fate")  # as above
#: Pageviews of published messages, by the same results.  Those that are `confirmed` or of `unknown_fate` and were not
#: accepted (their client had gone, or was answered 503 "unknown") may be stored: `hitline reconcile` allows for them.
PUBLISHED_PAGEVIEWS = Counter("hitline_published_pageviews_total", "Pageviews of messages by result", ["result"])
#: Messages published and not yet confirmed; limited.
MESSAGES_IN_FLIGHT = Gauge("hitline_messages_in_flight", "Messages awaiting their confirm")
#: Pageviews waiting to be put into a message; limited.
PAGEVIEWS_WAITING = Gauge("hitline_pageviews_waiting", "Pageviews waiting to be published")
#: 1 while rate limits can't reach their shared storage and each process counts for itself.
RATE_LIMIT_FALLBACK = Gauge("hitline_rate_limit_fallback", "1 while the shared rate limit storage can't be reached")

#: 1 while requests are answered 503 because the copy of the registry is too old (HITLINE_REGISTRY_MAX_AGE_SECONDS).
REGISTRY_TOO_OLD = Gauge("hitline_registry_too_old", "1 while the copy of the registry is too old to decide by")

# ---- both ----------------------------------------------------------------------------------------------------------

#: 1, by what this process is: `gateway`, `worker` or `rollup`.
PROCESS = Gauge("hitline_process_info", "1, by what this process is", ["kind"])
#: By how much timers are late: above a second, one request or message holds up everything else of the process.
LOOP_LAG = Histogram("hitline_loop_lag_seconds", "Lateness of the event loop", buckets=_LATENCY)
#: asyncio's tasks: as many as connections and a dozen; a number that only grows is a leak.
TASKS = Gauge("hitline_tasks", "Tasks of the event loop")
#: 1 while connected to the broker with a usable channel.
BROKER_UP = Gauge("hitline_broker_up", "1 while the broker connection is usable")
#: 1 while a policy may delete what is in a queue (shared/queue_policies.py); absent while policies can't be seen.
QUEUE_UNSAFE = Gauge("hitline_queue_unsafe", "1 while a policy may delete accepted pageviews", ["queue"])
#: Seconds since the registry was last compared with ClickHouse, also before a restart; grows while ClickHouse is down.
REGISTRY_AGE = Gauge("hitline_registry_age_seconds", "Age of the registry copy")
#: By how many seconds this machine's clock is ahead of another: ClickHouse's, the broker's, a gateway's (as a worker
#: sees it in messages of the future; 0 otherwise).  Beyond 300 nothing is dropped as too old by one of them alone.
CLOCK_AHEAD = Gauge("hitline_clock_ahead_seconds", "How far this machine's clock is ahead of another", ["clock"])
#: Version of the newest change in the registry copy.
REGISTRY_VERSION = Gauge("hitline_registry_version", "Newest version in the registry copy")

# ---- worker --------------------------------------------------------------------------------------------------------

#: Pageviews by outcome (shared/outcomes.py); by site and client see the view `outcomes`.
OUTCOMES = Counter("hitline_outcomes_total", "Pageviews by outcome", ["outcome"])
#: Messages taken from the queue, by whether the broker redelivered them, which costs a look-up.
MESSAGES = Counter("hitline_messages_total", "Messages taken from the queue", ["redelivered"])
#: From a gateway's clock at a pageview's request to its message being stored, counted and acknowledged, a message.
STORED_AFTER = Histogram(
    "hitline_stored_after_seconds",
    "Time from request to stored",
    buckets=(*_LATENCY, 30, 60, 300, 1_800, 7_200, 86_400),
)
#: When a message was last stored, in seconds since the epoch; 0 before the first.
STORED_AT = Gauge("hitline_stored_timestamp_seconds", "Time at which a message was last stored")
#: Rows per successful insert.
INSERT_ROWS = Histogram(
    "hitline_insert_rows",
    "Rows per insert",
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000),
)
#: Duration of a successful insert.
INSERT_SECONDS = Histogram("hitline_insert_seconds", "Duration of an insert", buckets=(*_LATENCY, 30, 60, 120))
#: Failed writes to ClickHouse, by kind of failure; each is retried.
INSERT_RETRIES = Counter("hitline_insert_retries_total", "Failed writes to ClickHouse that are retried", ["kind"])
#: Rows of messages delivered or published again that the look-up found stored.
ROWS_FOUND = Counter("hitline_rows_found_stored_total", "Rows of repeated messages that were already stored")
#: Dead letters (a pageview, or a whole message that can't be opened), by reason.
DEAD_LETTERS = Counter("hitline_dead_letters_total", "Dead letters written", ["reason"])
#: Rows collected for the next insert.
ROWS_WAITING = Gauge("hitline_rows_waiting", "Rows collected for the next insert")
#: 1 while the worker takes nothing from the queue, by reason: registry, salts, dead_letters, poison.  With newer_schema
#: it takes what it can read, and holds messages of a newer version for newer workers.  The way out of each
#: is in docs/operations/runbooks.md.
PAUSED = Gauge("hitline_paused", "1 while the worker takes nothing from the queue", ["reason"])
for _reason in ("registry", "salts", "dead_letters", "poison", "newer_schema"):
    PAUSED.labels(_reason)
#: 1 while a geo database, a spam list or an exclusion rule was refused or is missing, by name.
LOOKUP_STALE = Gauge("hitline_lookup_stale", "1 while look-up data is refused or missing", ["name"])
#: How new look-up data in use is, in seconds since the epoch: when a geo database was built (geo_city, geo_asn,
#: geo_isp), when the oldest spam list was last changed or found unchanged (spam).  Its age is time() minus this.
LOOKUP_UPDATED = Gauge("hitline_lookup_updated_timestamp_seconds", "Time of the look-up data in use", ["name"])
#: 1 while the worker's own last update of a feed left the old list in use: `shrunk` to less than half, or `failed`.
#: A worker updates as it starts, before anybody can have seen a counter at 0.
FEED_FAILED = Gauge("hitline_feed_failed", "1 while the last update of a feed kept the old list", ["feed", "reason"])
#: Strings cut to their documented length, by column.
TRUNCATED = Counter("hitline_truncated_total", "Strings cut to their documented length", ["column"])

# ---- hitline rollup --every ----------------------------------------------------------------------------------------

#: Up to when the rollups are complete, in seconds since the epoch.
ROLLUPS_COMPLETE = Gauge("hitline_rollups_complete_timestamp_seconds", "Up to when the rollups are complete")
#: 1 while the daily work is due and not done: retention (clocks differ, say), or taking what was erased off the disk.
RETENTION_REFUSED = Gauge("hitline_retention_refused", "1 while retention is due and is not applied")
#: How long the oldest erasure has been waiting to be off the disk; 0 if none is.
ERASURE_WAITING = Gauge("hitline_erasure_waiting_seconds", "Age of the oldest erasure that is not off the disk")

#: All that `hitline rollup --every` keeps.
OF_ROLLUP: Final = frozenset(
    family.name
    for each in (PROCESS, TASKS, ROLLUPS_COMPLETE, RETENTION_REFUSED, ERASURE_WAITING)
    for family in each.describe()
)
