"""The one error of this package."""


class EmbeddedError(Exception):
    """One sentence for the person at the command line, that says what to do."""
