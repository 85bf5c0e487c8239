"""session:ready: what a device is told first."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.chat.history import MAX_LIMIT
from wellio.chat.receipts import count_unread
from wellio.db import Connection
from wellio.limits import MESSAGES
from wellio.realtime.devices import Device
from wellio.realtime.floods import EVENTS
from wellio.realtime.heads import heads_json
from wellio.realtime.presence import Presence

MAX_FRAME_BYTES = 128 * 1024
MAX_SOCKETS = 10
LIMITS = {
    "message_chars": 8000,
    "frame_bytes": MAX_FRAME_BYTES,
    "sockets": MAX_SOCKETS,
    "sync_events": MAX_LIMIT,
    "events_per_s": EVENTS.per_s,
    "events_at_once": EVENTS.burst,
    "messages_per_s": MESSAGES.count / MESSAGES.per_s,
    "messages_at_once": MESSAGES.count,
}


async def greeting(db: Connection, presence: Presence, device: Device, heads: Mapping[UUID, int]) -> dict[str, Any]:
    """`heads`: the last seq of each of their conversations."""
    return {
        "user_id": device.actor.user_id,
        "server_time": datetime.now(UTC),
        "token_expires_at": device.token_expires_at,
        "heads": heads_json(heads),
        "unread": (await count_unread(db, device.actor)).unread,
        "presence": await presence.list_online(db, device.actor),
        "limits": LIMITS,
    }
