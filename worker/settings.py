"""The worker's settings; see `shared/settings.py` for how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.settings import Port, QueueKeys, Settings


class WorkerSettings(Settings):
    """Settings of a worker, in addition to those of every process."""

    queue_keys: QueueKeys
    #: Databases in MaxMind DB format; without a path, the one that `hitline geo update` leaves in `state_dir/geo`.
    geo_city_db: Path | None = None
    geo_asn_db: Path | None = None
    geo_isp_db: Path | None = None
    #: A directory of your own spam lists, read in addition to the downloaded ones in `state_dir/feeds`.
    spam_dir: Path | None = None
    #: Fetch the public spam lists this often; 0: never, leave it to `hitline feeds update`.
    feeds_hours: Annotated[float, Field(ge=0)] = 0
    #: Pageviews older than this are dropped if their site has no retention set; 0 keeps all.
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    #: A batch is inserted when it has this many rows or its first row is this old, whichever comes first.
    flush_rows: Annotated[int, Field(ge=1)] = 20_000
    flush_seconds: Annotated[float, Field(gt=0)] = 0.5
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9081
    #: How long a stopping worker may take to insert and acknowledge what it holds.
    drain_seconds: Annotated[float, Field(gt=0)] = 30

    @property
    def city_path(self) -> Path:
        """Path of the City (or Country, or Enterprise) database."""
        return self.geo_city_db or self.state_dir / "geo" / "city.mmdb"

    @property
    def asn_path(self) -> Path:
        """Path of the ASN database."""
        return self.geo_asn_db or self.state_dir / "geo" / "asn.mmdb"

    @property
    def isp_path(self) -> Path:
        """Path of the ISP database, which usually does not exist, since no free one is published."""
        return self.geo_isp_db or self.state_dir / "geo" / "isp.mmdb"

    @property
    def feeds_path(self) -> Path:
        """Directory in which `hitline feeds update` leaves the spam lists."""
        return self.state_dir / "feeds"
