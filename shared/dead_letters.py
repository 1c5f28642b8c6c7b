"""What a dead letter says of itself in its AMQP headers, in clear and not authenticated: nothing relies on it.

A dead letter is either one pageview, sealed anew as a message of its own (`Headers.repeated`, its place in the
message that it was accepted with as `first_position`), or a whole message that could not be opened, as it came.
"""

from __future__ import annotations

from typing import Final

#: Why it could not be processed, in words that quote nothing of it.
REASON: Final = "reason"
#: When, RFC 3339 in UTC.
DIED_AT: Final = "died_at"
#: Host name of the worker that set it aside.
WORKER: Final = "worker"
#: Names one dead letter, so that several of one message can be told apart.
LETTER_ID: Final = "letter_id"
#: Set when it is published again: the worker then looks up what became of it before.  A header of its own, since those
#: of a message that can't be opened are bound to its seal.
REPLAYED: Final = "replayed"

#: Of all these, what is left out when a letter goes back into the queue.
OF_ITS_DEATH: Final = frozenset({REASON, DIED_AT, WORKER, LETTER_ID})
