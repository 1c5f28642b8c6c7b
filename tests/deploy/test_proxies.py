"""The proxies' configurations with TLS, as they are but for addresses, ports and files, in front of a gateway."""

from __future__ import annotations

import datetime
import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local.ports import free_port
from gateway.settings import GatewaySettings
from tests import http as plain
from tests import programs, services
from tests.forwarders import tools
from tests.http import BATCH_ENDPOINT, ENDPOINT
from tests.services import Service, System

pytestmark = pytest.mark.processes

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"
NAME = "pageviews.example.com"


_IDLE = (("nginx.conf", "keepalive_timeout"), ("Caddyfile", "keepalive"), ("haproxy.cfg", "pool-purge-delay"))


class Place(NamedTuple):
    """Where the parts of a test are."""

    directory: Path
    port: int
    gateway: Service

    def configuration(self, file: str, **more: str) -> str:
        """Return a configuration with this test's places."""
        text = (PROXIES / file).read_text("utf-8")
        changes = {"/etc/hitline": str(self.directory), "127.0.0.1:8080": f"127.0.0.1:{self.gateway.port}", **more}
        for old, new in changes.items():
            assert old in text, f"{file} has no {old!r}"
            text = text.replace(old, new)
        return text


@contextmanager
def nginx(place: Place) -> Iterator[None]:
    at = place.directory
    server = place.configuration("nginx.conf", **{"listen 443 ssl": f"listen 127.0.0.1:{place.port} ssl"})
    temporary = "".join(
        f"{name}_temp_path {at}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (at / "nginx.conf").write_text(
        f"daemon off; user root; pid {at}/nginx.pid; events {{}} http {{ {temporary} {server} }}"
    )
    arguments = ("-c", at / "nginx.conf", "-e", at / "error.log")
    with tools.running(programs.NGINX, *arguments, log=at / "nginx.log", port=place.port):
        yield


@contextmanager
def caddy(place: Place) -> Iterator[None]:
    text = place.configuration("Caddyfile", **{f"{NAME} {{": f"https://{NAME}:{place.port} {{"})
    (place.directory / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    arguments = ("run", "--config", place.directory / "Caddyfile", "--adapter", "caddyfile")
    env = {"HOME": str(place.directory)}
    with tools.running(programs.CADDY, *arguments, log=place.directory / "caddy.log", env=env, port=place.port):
        yield


@contextmanager
def haproxy(place: Place) -> Iterator[None]:
    changes = {
        "bind :443": f"bind 127.0.0.1:{place.port}",
        "port 9080": f"port {place.gateway.admin_port}",
        "maxconn 20000": "maxconn 200",  # this machine may allow a user fewer
    }
    (place.directory / "haproxy.cfg").write_text(place.configuration("haproxy.cfg", **changes))
    arguments = ("-db", "-f", place.directory / "haproxy.cfg")
    with tools.running(programs.HAPROXY, *arguments, log=place.directory / "haproxy.log", port=place.port):
        yield


PROXY: dict[str, Callable[[Place], AbstractContextManager[None]]] = {
    "nginx.conf": nginx,
    "Caddyfile": caddy,
    "haproxy.cfg": haproxy,
}


def write_certificate(directory: Path) -> None:
    """Write a certificate for `NAME` that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in {"tls.crt": certificate, "tls.key": private, "tls.pem": certificate + private}.items():
        (directory / file).write_bytes(content)


class Client:
    """A client with TLS from an address of its own, which keeps its connection."""

    def __init__(self, place: Place, source: str) -> None:
        context = ssl.create_default_context(cafile=place.directory / "tls.crt")
        self._connection = http.client.HTTPSConnection(
            NAME, place.port, context=context, source_address=(source, 0), timeout=30
        )
        # The name is the certificate's; it leads nowhere here.
        self._connection._create_connection = lambda _, *rest: socket_to(place.port, *rest)  # type: ignore[attr-defined]

    def post(self, body: Any, token: str, path: str = ENDPOINT, **headers: str) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {token}", **headers}
        self._connection.request("POST", path, data, sent)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def socket_to(port: int, timeout: float, source: tuple[str, int]) -> Any:
    return socket.create_connection(("127.0.0.1", port), timeout, source)


@pytest.fixture(scope="module")
def gateway(system: System) -> Iterator[Service]:
    """A gateway that trusts a proxy on this machine's usual address, and none of its clients'."""
    env = {**system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_TRUSTED_PROXIES": "127.0.0.1/32"}
    with services.service("gateway", env, system.logs / "behind-a-proxy.log") as running:
        services.wait_for(lambda: plain.ready(running.admin_port))
        yield running


def metric(gateway: Service, name: str) -> float:
    text = plain.request(gateway.admin_port, "GET", "/metrics").body.decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


@pytest.mark.parametrize("file", PROXY)
def test_tls_ends_at_the_proxy_and_the_clients_address_is_passed_on(
    system: System, gateway: Service, tmp_path: Path, file: str
) -> None:
    place = Place(tmp_path, free_port(), gateway)
    write_certificate(tmp_path)
    number = list(PROXY).index(file) * 10 + 10  # an address has one budget of wrong tokens, whatever the proxy
    with PROXY[file](place):
        client = Client(place, f"127.0.0.{number}")
        # A proxy that has just started may not have looked at the gateway yet.
        services.wait_for(lambda: client.post(services.pageview(), system.token) == 202)
        before = metric(gateway, "hitline_connections")
        for _ in range(30):
            assert client.post(services.pageview(), system.token) == 202
        assert metric(gateway, "hitline_connections") <= before + 2, "connections are kept and used again"

        batch = b"\n".join(json.dumps(services.pageview(user_agent="x" * 900)).encode() for _ in range(2_000))
        assert client.post(batch, system.token, BATCH_ENDPOINT) == 202
        assert client.post({"url": "nothing"}, system.token) == 400
        assert client.post({}, system.token, "/healthz") == 404, "the private port's paths are not there"

        # Wrong tokens are limited by address: what a client says about itself neither helps it nor harms others.
        liar, other = Client(place, f"127.0.0.{number + 1}"), f"127.0.0.{number + 2}"
        lie = {"X-Forwarded-For": other, "Forwarded": f"for={other}"}
        answers = [liar.post({}, "wrong", **lie) for _ in range(400)]
        assert answers[0] == 401
        assert answers[-1] == 429
        assert Client(place, other).post({}, "wrong") == 401
        assert client.post(services.pageview(), system.token) == 202


@pytest.mark.parametrize(("file", "name"), _IDLE)
def test_proxies_keep_idle_connections_for_less_time_than_gateways(file: str, name: str) -> None:
    """Otherwise a gateway closes one in the moment in which the proxy sends a request on it."""
    seconds = re.findall(rf"^.*\b{name} (\d+)s", (PROXIES / file).read_text("utf-8"), re.MULTILINE)
    assert len(seconds) == 1
    assert int(seconds[0]) < GatewaySettings.model_fields["keepalive_seconds"].default
