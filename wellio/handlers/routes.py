"""What a route is: an address, who may use it, the typed body and query it takes, and the type it answers.

Each noun's file lists its routes in a `ROUTES` table. The server, the OpenAPI document and the
authorization matrix are all made from these tables.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.actors import EVERYONE, Actor, Role, attribute_to
from wellio.accounts.api_keys import FORM as API_KEY_FORM
from wellio.accounts.api_keys import authenticate_key
from wellio.accounts.auth_sessions import authenticate
from wellio.attribution import attribute
from wellio.audit import Outcome
from wellio.encoding import to_json
from wellio.errors import (
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    PreconditionFailed,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    WellioError,
)
from wellio.handlers.callers import address_of
from wellio.handlers.errors import CONTENT_TYPE, invalid
from wellio.handlers.shown import shown_by
from wellio.idempotency import AlreadyAnswered, Once, once_from_header
from wellio.limits import ANONYMOUS, NAMED, USER, WRITES, Bucket
from wellio.pages import Page
from wellio.services import SERVICES, Services
from wellio.values import Input

log = logging.getLogger(__name__)

# Who called, for the access log.
CALLER: web.RequestKey[UUID] = web.RequestKey("caller", UUID)
SCOPES: web.AppKey[frozenset[str]] = web.AppKey("scopes", frozenset)
HANDLER_TIMEOUT_S = 15.0
# For how long a reader of a long answer may take nothing.
STALL_S = 60.0
# Of a body: no model has so many, and each unknown one costs a sentence.
MAX_FIELDS = 200
REPLAYED = {"Idempotent-Replayed": "true"}

Body = TypeVar("Body")
Query = TypeVar("Query")


class NoInput(Input):
    """A route that takes no body, or no query."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One request, authenticated and parsed. `words`: what of the address is no id."""

    services: Services
    request: web.Request
    ids: Mapping[str, UUID]
    words: Mapping[str, str]
    body: Body
    query: Query
    caller: Actor | None
    once: Once | None

    @property
    def actor(self) -> Actor:
        """The signed-in user; every route but the public ones has one."""
        assert self.caller is not None
        return self.caller

    @property
    def if_version(self) -> int | None:
        """The version that `If-Match` names. Raises PreconditionFailed for what was never one of ours."""
        header = self.request.headers.get("If-Match", "").strip()
        if header in ("", "*"):
            return None
        digits = header.strip('"')
        if not digits.isdecimal() or len(digits) > 9:
            raise PreconditionFailed("If-Match must be the ETag of the resource as you read it.")
        return int(digits)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose status or headers differ from the route's usual ones."""

    data: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """An answer that is no JSON, of the type that its route's `media` says. `client_id`: whose data it is."""

    body: bytes
    name: str
    client_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An answer that lies on the disk, with its own headers; parts of it may be asked for. `user_id`: whose it is."""

    path: Path
    headers: Mapping[str, str]
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of any length, of the type `media`, sent as its reader takes it. `chunks` are closed in any case."""

    chunks: AsyncGenerator[bytes, None]
    name: str
    media: str


Handler = Callable[[Call[Any, Any]], Awaitable[Any]]
ReadAgain = Callable[[Call[Any, Any], UUID], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`roles` None: public. `creates`: honours Idempotency-Key. `errors`: statuses beside the usual ones.

    `fresh`: asks for a proof of password or second factor within the last ten minutes. `api_keys`: whether an API key
    may call it. `reads`: the answer is personal data, and who reads it goes into the audit log. `limit`: the rate
    limit that counts beside those of user and address (wellio/limits.py). `media`: what an answer that is a file
    holds, with commas between several.
    `multipart`: the handler reads the body, a form with a `file`, itself. `takes_s`: how long the handler may.
    `again`: reads what was made, by its id, to answer a repeated Idempotency-Key: of what people may erase, the key
    keeps the id alone. Else it keeps the first answer.
    """

    method: str
    path: str
    handler: Handler
    answer: Any
    tag: str
    status: int = 200
    body: type[Input] = NoInput
    query: type[Input] = NoInput
    roles: frozenset[Role] | None = EVERYONE
    creates: bool = False
    fresh: bool = False
    api_keys: bool = True
    reads: bool = False
    limit: str | None = None
    errors: tuple[int, ...] = ()
    media: str = CONTENT_TYPE
    multipart: bool = False
    takes_s: float = HANDLER_TIMEOUT_S
    again: ReadAgain | None = None

    @property
    def name(self) -> str:
        """The operation's id in OpenAPI and in the authorization matrix."""
        return self.handler.__name__

    @property
    def scope(self) -> str:
        """What an API key needs for it: `clients:read`, `clients:write`."""
        return f"{self.tag}:{'read' if self.method == 'GET' else 'write'}"

    @property
    def id_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._names if is_id(name))

    @property
    def word_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._names if not is_id(name))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def is_id(name: str) -> bool:
    """Whether that part of an address is a UUID."""
    return name.endswith("_id")


def scopes_of(routes: tuple[Route, ...]) -> frozenset[str]:
    """What API keys can be given."""
    return frozenset({route.scope for route in routes if route.roles and route.api_keys} | {"all:read", "all:write"})


def add_routes(app: web.Application, routes: tuple[Route, ...]) -> None:
    app[SCOPES] = scopes_of(routes)
    for route in routes:
        app.router.add_route(route.method, _address(route, routes), _served(route), name=route.name)


def _address(route: Route, routes: tuple[Route, ...]) -> str:
    """Its path for the router. An id at the end stands for none of the words that others have there, so that
    DELETE of `/invitations/accept` is no method of that address, rather than a broken id of another."""
    folder, _, last = route.path.rpartition("/")
    places = (r.path.rpartition("/") for r in routes)
    words = sorted({word for other, _, word in places if other == folder and not word.startswith("{")})
    if not last.startswith("{") or not words:
        return route.path
    return f"{folder}/{{{last[1:-1]}:(?!(?:{'|'.join(map(re.escape, words))})$)[^{{}}/]+}}"


def _served(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(request.app[SERVICES].http.body_s + route.takes_s):
                call = await _call(route, request)
                async with asyncio.timeout(route.takes_s):
                    result = await _result(route, call)
            if isinstance(result, Stream):
                return await _streamed(request, result)
            if route.reads:
                call.services.audit.note(Outcome.READ, shown_by(result))
            return _response(route, result)
        except AlreadyAnswered as repeat:
            return _json(repeat.answer, status=repeat.status, headers=REPLAYED)
        except (Unauthorized, Forbidden, NotFound) as error:
            _note_denial(route, request, error)
            raise
        except TimeoutError:
            raise Unavailable("This took too long and was given up.", retry_after_s=5, code="TIMEOUT") from None

    return serve


async def _result(route: Route, call: Call[Any, Any]) -> Any:
    """Raises AlreadyAnswered for a repeat of what is answered by the words that were kept."""
    try:
        return await route.handler(call)
    except AlreadyAnswered as repeat:
        if route.again is None:
            raise
        made = UUID(orjson.loads(repeat.answer)["data"]["id"])
        return Reply(await route.again(call, made), repeat.status, REPLAYED)


def _note_denial(route: Route, request: web.Request, error: WellioError) -> None:
    """Who was refused. A request without a token that was ever ours is nobody's, and stands in the log alone."""
    if isinstance(error, Unauthorized) and route.roles is not None and error.code != "SESSION_ENDED":
        return
    request.app[SERVICES].audit.note(Outcome.DENIED, code=error.code)


async def _call(route: Route, request: web.Request) -> Call[Any, Any]:
    services = request.app[SERVICES]
    attribute(operation=route.name)
    caller = None if route.roles is None else await _authenticated(services, request)
    ids = _path_ids(request)
    attribute(subject_id=next(reversed(ids.values()), None), client_id=ids.get("client_id"))
    await services.limits.count(*_buckets(route, request, caller))
    if caller is not None:
        attribute_to(caller)
        _admit(route, caller)
    query = _parsed_query(route.query, request)
    raw = b"" if route.multipart else await _read_body(request)
    body = None if route.body is NoInput and not raw else _parsed_body(route.body, request, raw)
    if body is not None and route.method == "PATCH":
        attribute(fields=tuple(sorted(body.model_fields_set)))
    once = _once(route, request, caller, raw)
    words = {name: text for name, text in request.match_info.items() if not is_id(name)}
    return Call(
        services=services, request=request, ids=ids, words=words, body=body, query=query, caller=caller, once=once
    )


async def _authenticated(services: Services, request: web.Request) -> Actor:
    """By an access token or an API key. Who has none that is valid counts by address."""
    try:
        actor = await _holder(services, bearer_token(request))
    except Unauthorized:
        await services.limits.count(ANONYMOUS.of(address_of(request)))
        raise
    request[CALLER] = actor.user_id
    return actor


async def _holder(services: Services, token: str) -> Actor:
    if token.startswith(API_KEY_FORM):
        return await authenticate_key(services.db, token)
    claims = services.tokens.verify_access(token)
    attribute(practice_id=claims.practice_id, user_id=claims.user_id, session_id=claims.session_id)
    return await authenticate(services.db, claims)


def _admit(route: Route, caller: Actor) -> None:
    """Raises Forbidden unless `caller` may call `route` at all; what they may see of it, its action decides."""
    assert route.roles is not None
    if caller.by_api_key and not route.api_keys:
        raise Forbidden("An API key can't do this; sign in.", code="API_KEY_REFUSED")
    caller.must_have(route.scope)
    caller.must_be(route.roles)
    if route.fresh:
        caller.must_be_fresh()


def _buckets(route: Route, request: web.Request, caller: Actor | None) -> list[Bucket]:
    """API keys count with their user: more keys are no more requests."""
    subject = caller.user_id if caller else address_of(request)
    buckets = [USER.of(subject) if caller else ANONYMOUS.of(subject)]
    if caller and route.method != "GET":
        buckets.append(WRITES.of(subject))
    if route.limit is not None:
        buckets.append(NAMED[route.limit].of(subject))
    return buckets


def bearer_token(request: web.Request) -> str:
    """Raises Unauthorized without exactly one `Authorization: Bearer …`."""
    headers = request.headers.getall("Authorization", [])
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the access token as: Authorization: Bearer <token>.")
    return token.strip()


def _path_ids(request: web.Request) -> dict[str, UUID]:
    ids = {}
    for name, text in request.match_info.items():
        if not is_id(name):
            continue
        try:
            ids[name] = UUID(text) if len(text) == 36 else _refuse_id(text)
        except ValueError:
            raise Malformed(f"{name} in the address is not a UUID.", code="INVALID_ID") from None
    return ids


def _refuse_id(text: str) -> UUID:
    # UUID() also takes braces, urn: prefixes and no dashes; one id has one spelling here.
    raise ValueError(text)


def _parsed_query(model: type[Input], request: web.Request) -> Input:
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name in values:
            raise Malformed(f"{name} stands more than once in the query.", code="DUPLICATE_PARAMETER")
        values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error, at="query") from None


async def _read_body(request: web.Request) -> bytes:
    """Raises TooLarge, UnsupportedMedia and, for a body that does not come, Malformed."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Send the body without Content-Encoding.")
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(request.app[SERVICES].http.body_s):
            return await request.read()
    except TimeoutError:
        raise Malformed("The body did not arrive in time.", code="BODY_TIMEOUT") from None


def _parsed_body(model: type[Input], request: web.Request, raw: bytes) -> Input:
    if raw and request.content_type != "application/json":
        raise UnsupportedMedia("Send the body as application/json.")
    try:
        # orjson first: it refuses what JSON has not (NaN, broken UTF-8, lone surrogates); then the types.
        value = orjson.loads(raw)
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise Invalid("This has far more fields than there are.")
        return model.model_validate(value)
    except orjson.JSONDecodeError:
        raise Malformed("The body is not valid JSON.", code="MALFORMED_JSON") from None
    except ValidationError as error:
        raise invalid(error) from None


def _once(route: Route, request: web.Request, caller: Actor | None, raw: bytes) -> Once | None:
    if not route.creates or caller is None:
        return None
    return once_from_header(
        request.headers.get("Idempotency-Key"),
        user_id=caller.user_id,
        operation=route.name,
        body=raw,
        status=route.status,
        render=render if route.again is None else _render_id,
    )


def _render_id(made: Any) -> bytes:
    return render({"id": made.id})


def render(value: Any) -> bytes:
    """The success form of an answer."""
    if isinstance(value, Page):
        return to_json({"success": True, "data": value.items, "pagination": value.pagination})
    return to_json({"success": True, "data": value})


def _response(route: Route, result: Any) -> web.StreamResponse:
    if isinstance(result, StoredFile):
        return web.FileResponse(result.path, headers=result.headers)
    if isinstance(result, File):
        told = {"Content-Type": route.media, "Content-Disposition": f'attachment; filename="{result.name}"'}
        return web.Response(body=result.body, headers=told)
    reply = result if isinstance(result, Reply) else Reply(result, route.status)
    headers = dict(reply.headers)
    if (version := getattr(reply.data, "version", None)) is not None:
        headers["ETag"] = f'"{version}"'
    return _json(render(reply.data), status=reply.status, headers=headers)


async def _streamed(request: web.Request, stream: Stream) -> web.StreamResponse:
    """What goes wrong before the first bytes is answered as ever; after them the connection is cut, so that nobody
    takes a part for the whole. A reader who takes nothing for long, or has gone, ends it."""
    told = {"Content-Type": stream.media, "Content-Disposition": f'attachment; filename="{stream.name}"'}
    response = web.StreamResponse(headers=told | {"Cache-Control": "no-store"})
    async with aclosing(stream.chunks) as chunks:
        first = await anext(chunks, b"")
        try:
            await response.prepare(request)
            await _send(response, first)
            async for chunk in chunks:
                await _send(response, chunk)
            await response.write_eof()
        except Exception as error:
            if not isinstance(error, ConnectionError | TimeoutError):
                log.exception("an answer broke off", extra={"route": request.match_info.route.name})
            if request.transport is not None:
                request.transport.abort()
    return response


async def _send(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(STALL_S):
        await response.write(chunk)


def _json(body: bytes, *, status: int, headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=body, status=status, headers={**headers, "Content-Type": CONTENT_TYPE})
