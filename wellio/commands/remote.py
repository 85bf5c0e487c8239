"""A Wellio elsewhere, by its REST API and an API key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from wellio.errors import StartupError

TIMEOUT_S = 30.0
PAGE_SIZE = 100
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


class Remote:
    """Calls with one key. Every failure is a StartupError: a sentence for who started the command."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def call(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        """The answer's body. `path` is below /api/v1."""
        url = f"{self._url}/api/v1{path}"
        try:
            # No redirect is followed: the key is for this host.
            async with self._session.request(method, url, json=body, params=query, allow_redirects=False) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise StartupError(f"No answer of a Wellio at {self._url}: {type(error).__name__}: {error}") from None
        if status >= 300 or not isinstance(answer, dict):
            raise StartupError(f"{self._url} refused: {_reason(status, answer)}")
        return answer

    async def find_user(self, email: str) -> dict[str, Any]:
        """The user with that address, of those whom the key may see."""
        page = 1
        while True:
            query = {"page": str(page), "page_size": str(PAGE_SIZE)}
            answer = await self.call("GET", "/users", query=query)
            for user in answer["data"]:
                if user["email"].lower() == email.lower():
                    return dict(user)
            if not answer["pagination"]["has_next"]:
                raise StartupError(f"Nobody whom this API key may see has the address {email}.")
            page += 1


@asynccontextmanager
async def open_remote(url: str, key: str) -> AsyncIterator[Remote]:
    """Raises StartupError for an address that a key must not be sent to."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise StartupError(f"--url {url}: write the address people use, https://wellio.example.com.")
    if parts.scheme == "http" and parts.hostname not in OWN_MACHINE:
        raise StartupError("--url: an API key goes over https:// alone, but to this very machine.")
    if not key:
        raise StartupError("Set WELLIO_API_KEY to an API key of that Wellio, with the scopes users:read, users:write.")
    if not key.isascii() or not key.isprintable():
        raise StartupError("WELLIO_API_KEY is not an API key.")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=False) as session:
        yield Remote(session, url.rstrip("/"))


def _reason(status: int, answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return f"status {status}."
    fields = (error.get("details") or {}).get("fields") or ()
    return " ".join([str(error.get("message")), *(f"{f['path']}: {f['message']}" for f in fields)])
