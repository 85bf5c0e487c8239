"""A client of the REST API for tests: calls as an actor, reads the envelope."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDict

from wellio.accounts.actors import Actor
from wellio.accounts.tokens import Tokens
from wellio.db import Database


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    raw: bytes
    headers: CIMultiDict[str]

    @property
    def data(self) -> Any:
        assert self.status < 300, self.raw
        return self.body["data"]

    @property
    def code(self) -> str:
        assert self.status >= 400, self.raw
        return str(self.body["error"]["code"])

    @property
    def field_paths(self) -> list[str]:
        return [f["path"] for f in self.body["error"]["details"]["fields"]]


@dataclass(frozen=True, slots=True)
class Api:
    session: aiohttp.ClientSession
    url: str
    tokens: Tokens
    db: Database
    _tokens: dict[Actor, str] = field(default_factory=dict)

    def token(self, actor: Actor) -> str:
        if actor not in self._tokens:
            self._tokens[actor] = self.tokens.issue_access(
                user_id=actor.user_id, practice_id=actor.practice_id, session_id=actor.session_id
            )
        return self._tokens[actor]

    async def call(
        self,
        method: str,
        path: str,
        actor: Actor | None = None,
        *,
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> Answer:
        sent = dict(headers or {})
        if actor is not None:
            sent["Authorization"] = f"Bearer {self.token(actor)}"
        async with self.session.request(method, self.url + path, headers=sent, **kwargs) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else None
            return Answer(response.status, body, raw, CIMultiDict(response.headers))

    async def get(self, path: str, actor: Actor | None = None, **kwargs: Any) -> Answer:
        return await self.call("GET", path, actor, **kwargs)

    async def post(self, path: str, actor: Actor | None = None, json: Any = None, **kwargs: Any) -> Answer:
        return await self.call("POST", path, actor, json=json, **kwargs)

    async def patch(self, path: str, actor: Actor | None = None, json: Any = None, **kwargs: Any) -> Answer:
        return await self.call("PATCH", path, actor, json=json, **kwargs)
