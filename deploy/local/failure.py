"""The one exception of the local stack whose text is meant for the user."""


class SetupError(RuntimeError):
    """Something on this machine stands in the way; the text says what, and what to do next."""
