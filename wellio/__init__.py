"""Wellio: the backend of a coaching practice, in one aiohttp process."""

__version__ = "0.1.0"
