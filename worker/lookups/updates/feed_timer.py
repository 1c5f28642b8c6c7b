"""Updating the spam feeds from within a worker, for those who have no cron for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shared import metrics
from worker.lookups.updates.feeds import FEEDS, BusyError, Feed, update_feeds

log = logging.getLogger(__name__)


class FeedTimer:
    """Starts an update every `hours` hours, the first at once, on a separate thread; 0 hours: never.

    By the wall clock, since others stand still while a machine sleeps: what it slept through is done once.  Several
    workers over one directory do no harm: one updates, the others pass.
    """

    def __init__(
        self,
        directory: Path,
        hours: float,
        feeds: Sequence[Feed] = FEEDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._every_s = hours * 3600
        self._feeds = feeds
        self._clock = clock
        self._started_s: float | None = None
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        """Start an update if one is due and none is under way."""
        if not self._every_s or not self._is_due() or (self._thread and self._thread.is_alive()):
            return
        self._started_s = self._clock()
        self._thread = threading.Thread(target=self._update, name="feeds", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the update under way, if any."""
        if self._thread:
            self._thread.join()

    def _is_due(self) -> bool:
        """Return whether the last start is long ago, or in the future: then the clock was set back."""
        return self._started_s is None or not 0 <= self._clock() - self._started_s < self._every_s

    def _update(self) -> None:
        try:
            for result in update_feeds(self._directory, self._feeds):
                for reason, holds in (("shrunk", result.shrunk), ("failed", not result.ok and not result.shrunk)):
                    metrics.FEED_FAILED.labels(result.feed.file, reason).set(int(holds))
                log.log(logging.INFO if result.ok else logging.WARNING, "feed %s: %s", result.feed.file, result.text)
        except BusyError:
            log.debug("another worker updates the feeds")
        except OSError as error:
            log.warning("feeds can't be updated: %s", error)
