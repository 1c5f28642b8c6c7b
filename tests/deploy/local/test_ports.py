from __future__ import annotations

import socket

import pytest

from deploy.local import ports
from deploy.local.environment import Ports
from deploy.local.failure import SetupError
from deploy.local.ports import free_port, is_taken


def test_a_listening_port_is_taken_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert is_taken(server.getsockname()[1])
    assert not is_taken(free_port())


def test_a_port_is_given_out_once_even_before_anything_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_CHOICE", range(20000, 22000))
    given = [free_port() for _ in range(50)]
    monkeypatch.setattr(ports, "_CHOICE", range(given[0], given[0] + 1000))

    assert given[0] not in {free_port() for _ in range(20)}
    assert len(set(given)) == 50
    monkeypatch.setattr(ports, "_CHOICE", [given[0]] * 1000)
    with pytest.raises(RuntimeError, match="no free port"):
        free_port()


def test_every_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        http, clickhouse = one.getsockname()[1], two.getsockname()[1]
        chosen = Ports(http=http, admin=free_port(), worker_admin=free_port(), clickhouse=clickhouse)

        with pytest.raises(SetupError) as caught:
            chosen.check_free(embedded_clickhouse=True)
        lines = [
            f"port {http} is taken: set HITLINE_HTTP_PORT to another",
            f"port {clickhouse} is taken: set HITLINE_CLICKHOUSE_PORT to another",
        ]
        assert str(caught.value).splitlines() == lines

        with pytest.raises(SetupError) as caught:
            chosen.check_free(embedded_clickhouse=False)
        assert str(caught.value) == lines[0]


def test_ports_are_the_callers_or_the_documented_ones() -> None:
    assert Ports.chosen_by({"HITLINE_ADMIN_PORT": "9999", "HITLINE_HTTP_PORT": ""}) == Ports(8080, 9999, 9081, 8123)


def test_port_0_picks_a_free_one() -> None:
    assert 0 < Ports.chosen_by({"HITLINE_HTTP_PORT": "0"}).http < 65536


@pytest.mark.parametrize("text", ["http", "-1", "65536", "80.0"])
def test_an_invalid_port_is_named(text: str) -> None:
    with pytest.raises(SetupError, match="HITLINE_HTTP_PORT"):
        Ports.chosen_by({"HITLINE_HTTP_PORT": text})


def test_one_port_for_two_processes_is_named() -> None:
    with pytest.raises(SetupError, match="HITLINE_WORKER_ADMIN_PORT is 9080"):
        Ports.chosen_by({"HITLINE_WORKER_ADMIN_PORT": "9080"})
