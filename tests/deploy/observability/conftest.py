from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import services
from tests.deploy.observability import shortened
from tests.prometheus import PrometheusProcess
from tests.services import System


@pytest.fixture(scope="module")
def prometheus(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    """Prometheus, which scrapes the system once a second."""
    running = PrometheusProcess(tmp_path_factory.mktemp("prometheus"), shortened.alerts()).start()
    try:
        running.watch("hitline-gateway", system.gateway.admin_port)
        running.watch("hitline-worker", *(worker.admin_port for worker in system.workers))
        services.wait_for(lambda: len(running.query("up == 1")) == 2)
        yield running
    finally:
        running.stop()
