"""/health and /metrics: for balancers, orchestrators and Prometheus. No authentication, no detail worth having."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from wellio import __version__
from wellio.handlers.callers import address_of, is_trusted, parse_address
from wellio.handlers.errors import CONTENT_TYPE, error_bytes
from wellio.services import SERVICES, Services

PROBE_TIMEOUT_S = 1.0
# The brief's services, all in this process, and what each can't work without.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "gateway": (),
    "core": ("database",),
    "auth": ("database",),
    "chat": ("database",),
    "ai": ("database",),
    "worker": ("database",),
}
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
DRAINING: web.AppKey[asyncio.Event] = web.AppKey("draining", asyncio.Event)


async def get_live(request: web.Request) -> web.Response:
    """200 while the event loop turns."""
    return _answer({"status": "ok"})


async def get_ready(request: web.Request) -> web.Response:
    """200 when requests can be served: the database answers and no shutdown has begun."""
    if request.app[DRAINING].is_set():
        return _answer({"status": "draining"}, status=503)
    database = await _works(lambda: request.app[SERVICES].db.fetchval("select 1"))
    return _answer({"status": "ok" if database else "unavailable"}, status=200 if database else 503)


async def get_health(request: web.Request) -> web.Response:
    """The process and each component. Redis away is degraded, not down: nothing depends on it alone."""
    parts = await _parts(request.app[SERVICES])
    components = {name: _component(needs, parts) for name, needs in COMPONENTS.items()}
    status = "ok" if all(parts.values()) else "degraded" if parts["database"] else "unavailable"
    body = {"version": __version__, "components": components, "parts": _words(parts)}
    return _answer({"status": status, **body}, status=200 if parts["database"] else 503)


async def get_component_health(request: web.Request) -> web.Response:
    name = request.match_info["component"]
    if name not in COMPONENTS:
        return web.Response(
            status=404,
            body=error_bytes("NOT_FOUND", f"No such component; there are {', '.join(COMPONENTS)}."),
            headers={"Content-Type": CONTENT_TYPE},
        )
    parts = await _parts(request.app[SERVICES])
    status = _component(COMPONENTS[name], parts)
    return _answer({"status": status, "component": name}, status=200 if status == "ok" else 503)


async def get_metrics(request: web.Request) -> web.Response:
    """For who scrapes from this machine or its network; nobody else learns that it is there."""
    if not _is_near(request):
        raise web.HTTPNotFound
    services = request.app[SERVICES]
    pool = services.db.pool
    services.metrics.pool_connections.labels("open").set(pool.get_size())
    services.metrics.pool_connections.labels("idle").set(pool.get_idle_size())
    return web.Response(body=services.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})


def add_health(app: web.Application) -> None:
    app.router.add_get("/health", get_health)
    app.router.add_get("/health/live", get_live)
    app.router.add_get("/health/ready", get_ready)
    app.router.add_get("/health/{component}", get_component_health)
    app.router.add_get("/metrics", get_metrics)


def _is_near(request: web.Request) -> bool:
    """A caller on loopback or in a private network, by no proxy that is not trusted: behind that may be anybody."""
    trusted = request.app[SERVICES].config.trusted_proxies
    peer, caller = parse_address(request.remote or ""), parse_address(address_of(request))
    forwarded = any(name in request.headers for name in FORWARDED)
    if caller is None or peer is None or (forwarded and not is_trusted(peer, trusted)):
        return False
    return caller.is_private


async def _parts(services: Services) -> dict[str, bool]:
    database, redis = await asyncio.gather(
        _works(lambda: services.db.fetchval("select 1")), _works(services.redis.ping)
    )
    return {"database": database, "redis": redis}


async def _works(probe: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe()
    except Exception:  # noqa: BLE001 - whatever it is, the answer is "no"
        return False
    return True


def _component(needs: tuple[str, ...], parts: dict[str, bool]) -> str:
    return "ok" if all(parts[need] for need in needs) else "unavailable"


def _words(parts: dict[str, bool]) -> dict[str, str]:
    return {name: "ok" if works else "unavailable" for name, works in parts.items()}


def _answer(body: dict[str, object], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers={"Content-Type": CONTENT_TYPE})
