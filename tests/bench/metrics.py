"""Metrics of a running gateway or worker, read from its private port."""

from __future__ import annotations

from tests import http
from tests.services import Service


def total(service: Service, name: str) -> float:
    """Return the sum of a metric over all of its labels; 0 while there is none."""
    text = http.request(service.admin_port, "GET", "/metrics").body.decode()
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(map(float, values))
