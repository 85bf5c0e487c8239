"""Builds Wellio, in reading order, and serves it. The only place that constructs."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from wellio.accounts.passwords import Passwords
from wellio.accounts.tokens import Tokens
from wellio.audit import AuditWriter
from wellio.chat.messages import MessageWriter
from wellio.config import Config
from wellio.console.views import add_console
from wellio.db import open_database
from wellio.errors import StartupError
from wellio.handlers.calendar_feeds import add_calendars
from wellio.handlers.connections import Runner
from wellio.handlers.cors import cors
from wellio.handlers.docs import add_docs
from wellio.handlers.health import DRAINING, add_health
from wellio.handlers.middlewares import add_headers, edge
from wellio.handlers.routes import add_routes
from wellio.handlers.table import ROUTES
from wellio.http_limits import HttpLimits, fitting_http_limits
from wellio.leader import Leadership
from wellio.limits import LOCAL_ADDRESSES, Limits
from wellio.live import Live
from wellio.metrics import Metrics, probe_loop
from wellio.outbox import Outbox
from wellio.outreach.mailbox import Mailbox
from wellio.practice.crowds import Bookings
from wellio.practice.exports import AT_ONCE as EXPORTS_AT_ONCE
from wellio.practice.exports import Exports
from wellio.practice.outlook import Forecasts
from wellio.practice.upload_files import uploads_in
from wellio.realtime.server import Realtime
from wellio.sealing import Sealer
from wellio.services import SERVICES, Services
from wellio.shared_buckets import SharedBuckets
from wellio.subscriptions import lead
from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
MAX_HEADERS = 100
BACKLOG = 1024
# Objects made and not yet freed, then collections of the generation before (gc.set_threshold).
COLLECT_AFTER = (10_000, 10, 10)
# How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer.
LINGER_S = 2.0
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 (compared with)
# Requests under way may finish; sockets are told to reconnect elsewhere before that.
SHUTDOWN_S = 8.0


@asynccontextmanager
async def open_services(config: Config, http: HttpLimits | None = None) -> AsyncIterator[Services]:
    """What the adapters need, opened in order and closed in reverse."""
    assert config.database_url
    assert config.redis_url
    db = await open_database(config.database_url)
    exports = Exports(await open_database(config.database_url, min_size=0, max_size=EXPORTS_AT_ONCE))
    redis = open_redis(config.redis_url)
    metrics, live, outbox = Metrics(), Live(), Outbox(db)
    messages, audit = MessageWriter(outbox, live, metrics), AuditWriter(db, metrics)
    limits = _limits(config, redis)
    try:
        await messages.start()
        await audit.start()
        yield Services(
            config=config,
            db=db,
            outbox=outbox,
            live=live,
            redis=redis,
            passwords=Passwords(),
            tokens=Tokens(config.jwt_secret, config.jwt_secret_previous),
            messages=messages,
            bookings=Bookings(outbox),
            uploads=uploads_in(config.data_dir),
            exports=exports,
            forecasts=Forecasts(),
            metrics=metrics,
            sealer=Sealer(config.encryption_keys),
            limits=limits,
            audit=audit,
            http=http or _http_limits(config),
            mailbox=Mailbox(config.data_dir / "mailbox") if config.keeps_mails else None,
        )
    finally:
        await messages.stop()
        await limits.stop()
        await audit.stop()
        await redis.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(db.close(), exports.db.close())


def _http_limits(config: Config) -> HttpLimits:
    return fitting_http_limits(scale=config.rate_limit_scale, local_addresses=_local_addresses(config))


def _local_addresses(config: Config) -> int:
    return 1 if config.production else LOCAL_ADDRESSES


def _limits(config: Config, redis: Redis) -> Limits:
    # Apart from other installations on the same Redis: the name of the database.
    namespace = urlsplit(config.database_url or "").path.strip("/")
    return Limits(
        SharedBuckets(redis, namespace),
        secret=config.jwt_secret,
        scale=config.rate_limit_scale,
        local_addresses=_local_addresses(config),
    )


def open_redis(url: str) -> Redis:
    """Bounded waits: Redis carries hints and leases only, and nobody may hang on it."""
    return Redis.from_url(
        url,
        socket_connect_timeout=1,
        socket_timeout=2,
        health_check_interval=15,
        max_connections=20,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
    )


def build_app(services: Services, realtime: Realtime) -> web.Application:
    """The HTTP side: every address that is served."""
    app = web.Application(middlewares=[edge, cors], client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app[DRAINING] = asyncio.Event()
    app.on_response_prepare.append(add_headers)
    add_health(app)
    add_routes(app, ROUTES)
    add_docs(app, ROUTES)
    add_calendars(app)
    add_console(app)
    realtime.attach(app)
    return app


@asynccontextmanager
async def running(config: Config, http: HttpLimits | None = None) -> AsyncIterator[tuple[str, int]]:
    """Serves until the block ends, then drains; gives host and port. `http`: other limits than the usual ones."""
    async with open_services(config, http) as services:
        realtime = Realtime(services)
        app = build_app(services, realtime)
        runner = Runner(
            app,
            access_log=None,
            auto_decompress=False,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        await realtime.start()
        leadership = Leadership(
            config.database_url or "", lambda: lead(services, base_url(config, runner)), services.metrics
        )
        probe = asyncio.create_task(probe_loop(services.metrics), name="loop probe")
        try:
            address = await _listen(runner, config)
            await leadership.start()  # after it: links in mails name the port
            yield address
        finally:
            app[DRAINING].set()
            await end_tasks([probe])
            await leadership.stop()
            await realtime.stop()
            await runner.cleanup()


async def _listen(runner: Runner, config: Config) -> tuple[str, int]:
    site = web.TCPSite(runner, config.host, config.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise StartupError(
            f"Can't listen on {config.host}:{config.port}: {error.strerror}. "
            "Stop what uses that port, or set PORT to another one (PORT=0 picks a free one)."
        ) from error
    address = runner.addresses[0]
    return config.host, int(address[1])


def base_url(config: Config, runner: Runner) -> str:
    """What links in mails begin with: PUBLIC_URL, or else where it listens, as seen from this machine."""
    if config.public_url:
        return config.public_url
    host = "localhost" if config.host in ANY_HOST else f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{runner.addresses[0][1]}"


async def serve(config: Config, on_ready: Callable[[str, int], None]) -> None:
    """Runs until SIGINT or SIGTERM, then drains; a second signal ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_or_exit, stop, number)
    async with running(config) as (host, port):
        spare_garbage_collection()
        on_ready(host, port)
        await stop.wait()
        log.info("draining")


def spare_garbage_collection() -> None:
    """A full collection walks all objects there are, and the event loop waits: 200 ms with a thousand devices. What is
    there now stays, so it is left out; and collections come when there is more to collect than a burst of requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _stop_or_exit(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        raise SystemExit(128 + number)
    stop.set()
