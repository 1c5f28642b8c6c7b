"""All that a worker looks up, in one place, kept current while it runs."""

from __future__ import annotations

import logging

from worker.lookups.agents import Agents
from worker.lookups.exclusions import Exclusions
from worker.lookups.geo import Geo
from worker.lookups.registry import Registry
from worker.lookups.salts import Salts
from worker.lookups.sources import Sources
from worker.lookups.spam import Spam
from worker.lookups.updates.feed_timer import FeedTimer
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


class Lookups:
    """The registry, geo databases, spam lists and exclusions that the steps ask.

    Building it loads every file (a second or so); `refresh` picks up what changed since.
    """

    def __init__(self, settings: WorkerSettings, registry: Registry) -> None:
        self.retention_days = settings.retention_days
        self.registry = registry
        paths = {"city": settings.city_path, "asn": settings.asn_path, "isp": settings.isp_path}
        optional = frozenset() if settings.geo_isp_db else frozenset({"isp"})  # no free one is published
        self.geo = Geo(paths, settings.state_dir / "scratch", optional)
        directories = [settings.feeds_path, *([settings.spam_dir] if settings.spam_dir else [])]
        self.spam = Spam(directories, named=settings.spam_dir)
        self.sources = Sources(settings.feeds_path / "sources")
        self.exclusions = Exclusions(registry)
        self.feed_timer = FeedTimer(settings.feeds_path, settings.feeds_hours)
        self.agents = Agents()
        self.salts = Salts()  # filled by `worker.consume.salt_keeper`

    def refresh(self) -> None:
        """Load changed files and rules; called about once a second, on any thread, while the steps run.

        Costs some 20 µs when nothing changed.  Raises nothing: what is refused is logged, counted in
        `hitline_lookup_stale` and reported in `problems`, and the old stays in use.
        """
        for part in (
            self.feed_timer.tick,
            self.geo.refresh,
            self.spam.refresh,
            self.sources.refresh,
            self.exclusions.refresh,
        ):
            try:
                part()
            except Exception:  # a full disk, a registry that is being closed: try again next time
                log.exception("look-ups stay as they are")

    @property
    def problems(self) -> dict[str, str]:
        """What is missing or refused, by name: for the start's log."""
        return {
            **{f"geo_{name}": problem for name, problem in self.geo.problems.items()},
            **{f"spam {name}": problem for name, problem in self.spam.problems.items()},
            **{f"sources {name}": problem for name, problem in self.sources.problems.items()},
            **self.exclusions.problems,
        }
