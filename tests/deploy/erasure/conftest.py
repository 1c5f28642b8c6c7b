"""The `hitline` command on a schema with empty tables, as the tests of the command have it."""

from tests.deploy.cli.conftest import _logging_as_before, hitline

__all__ = ["_logging_as_before", "hitline"]
