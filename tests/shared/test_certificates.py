"""Certificates that are renewed on disk are in force without a restart, at ClickHouse and at the broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from yarl import URL

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from shared.clickhouse import ClickHouse
from tests.tls import Authority, server_context, tls_proxy


async def test_a_new_authority_of_clickhouse_is_trusted_without_a_restart(
    clickhouse: ClickHouseProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Authority("old"), Authority("new")
    trusted = tmp_path / "authorities.pem"
    trusted.write_bytes(old.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with tls_proxy(clickhouse.port, server_context(old.issue(tmp_path / "old.pem"))) as port:
        url = URL(clickhouse.url).with_scheme("https").with_port(port)
        client = ClickHouse(str(url), "hitline tests")
        assert (await client.query("SELECT 1")).result_rows == [(1,)]
    async with tls_proxy(clickhouse.port, server_context(new.issue(tmp_path / "new.pem")), port):
        with pytest.raises(Exception, match=r"(?i)certificate|ssl"):
            await client.query("SELECT 1")
        trusted.write_bytes(old.certificate + new.certificate)
        assert (await client.query("SELECT 1")).result_rows == [(1,)]
        assert (await client.query("SELECT 2")).result_rows == [(2,)]
    await client.close()


async def test_renewed_certificates_of_the_broker_and_its_clients_are_used_by_the_next_connection(
    broker: RabbitMQNode, tmp_path: Path
) -> None:
    server, clients = Authority("server"), Authority("clients")
    trusted, own = tmp_path / "authorities.pem", tmp_path / "client.pem"
    trusted.write_bytes(server.certificate)
    clients.issue(own)
    plain = URL(broker.amqp_url)
    assert plain.port

    async def connect(port: int) -> None:
        query = {"cafile": str(trusted), "certfile": str(own), "keyfile": str(own)}
        url = plain.with_scheme("amqps").with_port(port).with_query(query)
        connection = await queue.connect([str(url)], "hitline tests")
        await (await connection.channel()).close()
        await connection.close()

    async with tls_proxy(plain.port, server_context(server.issue(tmp_path / "1.pem"), clients)) as port:
        await connect(port)
    server, clients = Authority("server, renewed"), Authority("clients, renewed")
    async with tls_proxy(plain.port, server_context(server.issue(tmp_path / "2.pem"), clients), port):
        with pytest.raises(OSError, match=r"(?i)certificate|ssl"):
            await connect(port)
        trusted.write_bytes(server.certificate)
        clients.issue(own)
        await connect(port)
