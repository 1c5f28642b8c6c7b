"""Old pageviews and today's in one batch, through gateway, broker, worker and ClickHouse."""

from __future__ import annotations

import json

from tests import http, services
from tests.services import System


def test_a_batch_in_which_every_message_has_old_rows_holds_nobody_up(system: System) -> None:
    mixed = [services.pageview(), services.pageview(timestamp="2019-05-01T12:00:00Z")]
    body = "\n".join(map(json.dumps, mixed)).encode()

    assert http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=system.token).status == 202
    services.wait_for(lambda: services.count(system.clickhouse) == 2)
    assert system.post().status == 202
    services.wait_for(lambda: services.count(system.clickhouse) == 3)
    assert system.wait_for_outcomes(3) == {"stored": 3}
