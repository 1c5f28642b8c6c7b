"""The gateway's own settings: what can't work is named before anything starts."""

from __future__ import annotations

import base64

import pytest

from gateway.settings import GatewaySettings
from shared.settings import SettingsError, load

NEEDED = {
    "HITLINE_QUEUE_KEYS": base64.b64encode(bytes(32)).decode(),
    "HITLINE_ID_SECRET": "long enough a secret",
}


@pytest.mark.parametrize(
    "url", ["redis://host:port/0", "redis://host:6399999/0", "redis://", "http://host", "host:6379"]
)
def test_an_invalid_rate_limit_storage_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match="HITLINE_RATE_LIMIT_STORAGE: must look like redis://host:6379/0"):
        load(GatewaySettings, {**NEEDED, "HITLINE_RATE_LIMIT_STORAGE": url})


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://:word@h:6379/0", "rediss://[::1]:6380/1", "redis+unix:///run/redis.sock"]
)
def test_addresses_of_redis_are_taken_as_they_are(url: str) -> None:
    settings = load(GatewaySettings, {**NEEDED, "HITLINE_RATE_LIMIT_STORAGE": url})
    assert settings.rate_limit_storage == url


@pytest.mark.parametrize("times", [{"CONFIRM_SECONDS": "60"}, {"DRAIN_SECONDS": "3"}, {"DRAIN_SECONDS": "5"}])
def test_a_stop_must_outlast_the_wait_for_confirms(times: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="HITLINE_DRAIN_SECONDS: must be more than HITLINE_CONFIRM_SECONDS"):
        load(GatewaySettings, {**NEEDED, **{f"HITLINE_{name}": value for name, value in times.items()}})


def test_a_short_wait_for_confirms_allows_a_short_stop() -> None:
    settings = load(GatewaySettings, {**NEEDED, "HITLINE_CONFIRM_SECONDS": "1", "HITLINE_DRAIN_SECONDS": "2"})
    assert settings.drain_seconds == 2
