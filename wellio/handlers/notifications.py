"""/api/v1/notifications"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.outreach.inbox import (
    NotificationQuery,
    ReadNotifications,
    UnreadNotifications,
    count_notifications,
    list_notifications,
    read_notifications,
)
from wellio.outreach.notifications import Notification
from wellio.pages import Page


async def list_notifications_page(call: Call[NoInput, NotificationQuery]) -> Page[Notification]:
    """What the caller should know of and may have missed, the newest first."""
    return await list_notifications(call.services.db, call.actor, call.query)


async def get_unread_notifications(call: Call[NoInput, NoInput]) -> UnreadNotifications:
    """How many notifications the caller has not read."""
    return await count_notifications(call.services.db, call.actor)


async def post_notifications_read(call: Call[ReadNotifications, NoInput]) -> UnreadNotifications:
    """Mark notifications as read, by their ids or all up to a time; on all devices of the caller."""
    return await read_notifications(call.services.db, call.services.live, call.actor, call.body)


BASE = "/api/v1/notifications"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_notifications_page, tag="notifications",
        query=NotificationQuery, answer=Page[Notification], reads=True,
    ),
    Route(
        method="GET", path=f"{BASE}/unread-count", handler=get_unread_notifications, tag="notifications",
        answer=UnreadNotifications,
    ),
    Route(
        method="POST", path=f"{BASE}/read", handler=post_notifications_read, tag="notifications",
        body=ReadNotifications, answer=UnreadNotifications,
    ),
)  # fmt: skip
