"""`hitline gateway` and `hitline worker`: one process each, configured by the environment."""

from __future__ import annotations

import click


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
