"""`hitline gateway` and `hitline worker`: one process each, configured by the environment; `hitline probe` asks one."""

from __future__ import annotations

import http.client
import os

import click

from deploy.cli.support import CommandError

#: The defaults: the gateway's, the worker's, `hitline rollup --every`'s.
_ADMIN_PORTS = (9080, 9081, 9082)
_PROBE_SECONDS = 3.0


@click.command
def gateway() -> None:
    """Run one gateway process until SIGTERM or Ctrl-C."""
    from gateway.__main__ import main

    main()


@click.command
def worker() -> None:
    """Run one worker process until SIGTERM or Ctrl-C, which drain it."""
    from worker.__main__ import main

    main()


@click.command
@click.option("--ready", is_flag=True, help="Ask whether it is ready for work, not only whether it is alive.")
@click.option("--port", type=int, help="The private port; by default HITLINE_ADMIN_PORT, else 9080, 9081 or 9082.")
def probe(ready: bool, port: int | None) -> None:
    """Ask the gateway, worker or rollup process on this host for its health; exits 1 unless the answer is good.

    For health checks of containers, which then do not need curl.
    """
    set_port = os.environ.get("HITLINE_ADMIN_PORT", "")
    ports = (port,) if port else (int(set_port),) if set_port.isdigit() else _ADMIN_PORTS
    path = "/readyz" if ready else "/healthz"
    answers = [answer for each in ports if (answer := _ask(each, path)) is not None]
    if not answers:
        raise CommandError(f"nothing answers on port {' or '.join(map(str, ports))} of 127.0.0.1")
    status, text = answers[0]
    click.echo(text)
    if status != http.client.OK:
        raise CommandError(f"{path} answered {status}")


def _ask(port: int, path: str) -> tuple[int, str] | None:
    """Return status and text of the answer; None where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
