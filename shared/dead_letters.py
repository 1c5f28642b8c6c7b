"""The AMQP headers of dead letters; they are neither sealed nor authenticated, so nothing relies on them.

A dead letter is either one pageview, sealed again as a separate message (`Headers.repeated`, with its position in
the message that it was accepted with as `first_position`), or a whole message that could not be opened, unchanged.
"""

from __future__ import annotations

from typing import Final

#: Why it could not be processed, without quoting any of it.
REASON: Final = "reason"
#: When, RFC 3339 in UTC.
DIED_AT: Final = "died_at"
#: Host name of the worker that dead-lettered it.
WORKER: Final = "worker"
#: Id of the dead letter: several may come from one message.
LETTER_ID: Final = "letter_id"
#: Set when it is published again: the worker then looks up what became of it before.  It is a separate header, since
#: the other headers of a message that can't be opened are bound to its seal.
REPLAYED: Final = "replayed"

#: The headers that are removed when a letter goes back into the queue.
REMOVED_ON_REPLAY: Final = frozenset({REASON, DIED_AT, WORKER, LETTER_ID})
