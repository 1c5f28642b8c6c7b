"""Which broker is chosen; what a container would be started with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.local import apt
from deploy.local import broker as choice
from deploy.local.failure import SetupError
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from deploy.local.rabbitmq.docker import run_arguments


def choose(path: Path, url: str | None, said: list[str]) -> choice.Broker:
    return choice.choose(path, url, said.append)


def test_a_reachable_broker_of_the_users_is_used(tmp_path: Path, broker: RabbitMQNode) -> None:
    said: list[str] = []
    nobody = f"amqp://127.0.0.1:{free_port()}/"

    chosen = choose(tmp_path, f"{nobody},{broker.amqp_url}", said)

    assert chosen.amqp_url == f"{nobody},{broker.amqp_url}"
    assert "hitline:" not in chosen.place
    assert said == []


def test_an_unreachable_broker_is_reported_and_replaced_by_a_private_node(tmp_path: Path) -> None:
    said: list[str] = []

    chosen = choose(tmp_path, f"amqp://user:secret@127.0.0.1:{free_port()}/", said)

    assert isinstance(chosen, RabbitMQNode)
    assert "HITLINE_AMQP_URL is set but not usable" in said[0]
    assert "secret" not in said[0]


def test_another_server_on_the_port_is_not_used_as_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert choice.why_unusable(f"amqp://127.0.0.1:{server.getsockname()[1]}/") != ""


def test_without_any_way_to_a_broker_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "script_dir", lambda: None)
    monkeypatch.setattr(apt, "can_install", lambda: False)
    monkeypatch.setattr(choice, "usable", lambda: False)

    with pytest.raises(SetupError) as caught:
        choose(tmp_path, None, [])

    assert "rabbitmq-server" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_nodes_own_address_is_recognised(tmp_path: Path) -> None:
    node = RabbitMQNode(tmp_path)

    assert node.owns(node.amqp_url)
    assert not node.owns("amqp://hitline:other@127.0.0.1:5672/")
    assert not node.owns("amqp://127.0.0.1/")


def test_a_container_is_published_on_loopback_and_its_password_is_no_argument(tmp_path: Path) -> None:
    arguments = run_arguments("hitline-1", 20001, tmp_path / "env")

    assert arguments[arguments.index("--publish") + 1] == "127.0.0.1:20001:5672"
    assert not any("PASS" in argument for argument in arguments)
