"""The local stack's error whose text is meant for the user."""


class SetupError(RuntimeError):
    """Something on this machine prevents the start; the text says what, and what to do next."""
