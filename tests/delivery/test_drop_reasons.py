"""Every reason to drop a pageview: counted under its site and client, in outcomes and metrics, and in no row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import http, services
from tests.delivery import faults
from tests.services import System

#: reason → what a pageview must have for it
DROPPED: dict[str, dict[str, Any]] = {
    "dnt": {"dnt": True},
    "excluded_cidr": {"visitor_ip": "203.0.113.77"},
    "excluded_user_agent": {"user_agent": "My-Monitoring/1.0"},
    "excluded_path": {"url": "https://example.com/private/page"},
    "spam_network": {"visitor_ip": "192.0.2.9"},
    "spam_referrer": {"referrer": "https://sub.spam.example/offer"},
    "too_old": {"timestamp": "2001-01-01T00:00:00Z"},
}


def spam_lists(directory: Path) -> Path:
    directory.mkdir()
    (directory / "drop_v4.json").write_text('{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"type":"metadata","records":1}\n')
    (directory / "referrer_spam.txt").write_text("spam.example\n")
    return directory


def test_every_reason_is_counted_and_no_row_is_stored(system: System, tmp_path: Path) -> None:
    system.workers[0].stop()
    services.hitline(
        system.env, "exclude", "add", "--site", "example.com", "--cidr", "203.0.113.0/24",
        "--user-agent", "my-monitoring", "--path", "/private",
    )  # fmt: skip
    newest = int(services.rows(system.clickhouse, "SELECT max(version) AS v FROM hitline_control.exclusions")[0]["v"])
    # Its messages name the version, and a worker that is behind catches up first.
    services.wait_for(lambda: faults.metric(system.gateway, "hitline_registry_version") >= newest)
    worker = system.add_worker(spam_dir=str(spam_lists(tmp_path / "spam")), retention_days="3650")

    for fields in DROPPED.values():
        assert system.post(**{**services.ids(), **fields}).status == 202
    assert system.post(**services.ids()).status == 202

    assert system.wait_for_outcomes(len(DROPPED) + 1) == {**dict.fromkeys(DROPPED, 1), "stored": 1}
    owners = services.rows(system.clickhouse, "SELECT DISTINCT site_id, client_id FROM hitline.outcomes")
    known = services.rows(
        system.clickhouse,
        "SELECT (SELECT site_id FROM hitline_control.sites WHERE name = 'example.com') AS site_id,"
        " (SELECT client_id FROM hitline_control.clients WHERE name = 'tests') AS client_id",
    )
    assert owners == known
    assert services.count(system.clickhouse, "pageviews_raw") == 1
    text = http.request(worker.admin_port, "GET", "/metrics").body.decode()
    for reason in DROPPED:
        assert f'hitline_outcomes_total{{outcome="{reason}"}} 1.0' in text
