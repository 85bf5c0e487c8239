"""/api/v1/calendar-feeds, and /calendar/….ics, which a calendar program reads without an account."""

import asyncio

from aiohttp import web

from wellio.attribution import attribute
from wellio.audit import Outcome, Shown
from wellio.handlers.callers import address_of
from wellio.handlers.routes import Call, NoInput, Route
from wellio.limits import ANONYMOUS
from wellio.pages import Page, PageQuery
from wellio.practice.calendar_feeds import Feed, FeedSecret, NewFeed, create_feed, list_feeds, read_feed, revoke_feed
from wellio.practice.calendars import CONTENT_TYPE, digest_of, make_calendar
from wellio.services import SERVICES

# The programs ask again by themselves; what they have is theirs alone.
CACHING = "private, no-cache"


async def list_calendar_feeds_page(call: Call[NoInput, PageQuery]) -> Page[Feed]:
    """Your calendar feeds, without their addresses."""
    return await list_feeds(call.services.db, call.actor, call.query)


async def post_calendar_feed(call: Call[NewFeed, NoInput]) -> FeedSecret:
    """Make a secret address for your calendar program. It is shown this once, so a repeat makes another: there is no
    Idempotency-Key."""
    base_url = call.services.config.public_url or f"{call.request.scheme}://{call.request.host}"
    return await create_feed(call.services.outbox, call.actor, call.body, base_url=base_url)


async def delete_calendar_feed(call: Call[NoInput, NoInput]) -> None:
    """Revoke a feed: its address serves no more."""
    await revoke_feed(call.services.outbox, call.actor, call.ids["feed_id"])


async def get_calendar(request: web.Request) -> web.Response:
    """The sessions of who made the address. Its log line has the route's template, never the address."""
    services = request.app[SERVICES]
    attribute(operation="get_calendar")
    await services.limits.count(ANONYMOUS.of(address_of(request)))
    content = await read_feed(services.db, request.match_info["token"])
    attribute(practice_id=content.practice_id, user_id=content.user_id)
    headers = {"ETag": f'"{digest_of(content.events, content.name)}"', "Cache-Control": CACHING}
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    services.audit.note(Outcome.READ, Shown(content.client_ids, (), len(content.events)))
    # Some milliseconds an event: other requests go on meanwhile.
    data = await asyncio.to_thread(make_calendar, content.events, name=content.name)
    return web.Response(body=data, headers={**headers, "Content-Type": CONTENT_TYPE})


def add_calendars(app: web.Application) -> None:
    app.router.add_get("/calendar/{token:[A-Za-z0-9_-]+}.ics", get_calendar)


BASE = "/api/v1/calendar-feeds"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_calendar_feeds_page, tag="calendar-feeds", api_keys=False,
        query=PageQuery, answer=Page[Feed],
    ),
    Route(
        method="POST", path=BASE, handler=post_calendar_feed, tag="calendar-feeds", api_keys=False,
        body=NewFeed, answer=FeedSecret, status=201, errors=(409,),
    ),
    Route(
        method="DELETE", path=f"{BASE}/{{feed_id}}", handler=delete_calendar_feed, tag="calendar-feeds",
        api_keys=False, answer=None,
    ),
)  # fmt: skip
