"""What clients may send: each event, its payload, and the one action it calls; the ack adds what it returns."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from wellio.accounts.auth_sessions import authenticate
from wellio.chat.conversations import list_hearing
from wellio.chat.history import MAX_LIMIT, sync
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.reactions import Emoji, set_reaction
from wellio.chat.receipts import MAX_DELIVERED, Delivered, ReadUpTo, Seq, mark_delivered, mark_read
from wellio.chat.values import NewMessage, Sent
from wellio.errors import Unauthorized
from wellio.limits import MESSAGES
from wellio.outreach.inbox import ReadNotifications, read_notifications
from wellio.realtime.devices import Device
from wellio.realtime.presence import Presence, Status
from wellio.services import Services
from wellio.values import Input

MAX_CURSORS = 100
MAX_PRESENCE_IDS = 100
TYPING_MS = 5000

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Edited(MessageEdit):
    message_id: UUID


class Deleted(Input):
    message_id: UUID


class Reaction(Input):
    message_id: UUID
    emoji: Emoji
    on: Flag


class Read(Input):
    conversation_id: UUID
    seq: Seq


class DeliveredItems(Input):
    items: Annotated[tuple[Delivered, ...], Field(max_length=MAX_DELIVERED)]


class Typing(Input):
    conversation_id: UUID
    on: Flag


class Cursors(Input):
    """`limit`: how many events the answer holds at most, over all conversations."""

    cursors: Annotated[dict[UUID, Seq], Field(max_length=MAX_CURSORS)]
    limit: Limit = 100


class StatusChange(Input):
    status: Status


class People(Input):
    user_ids: Annotated[tuple[UUID, ...], Field(max_length=MAX_PRESENCE_IDS)]


class Refresh(Input):
    token: str


Ack = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pending:
    """An ack that comes later: `ack` of what `done` gives. What the device sends next goes on meanwhile."""

    done: asyncio.Future[Any]
    ack: Callable[[Any], Ack]


Handler = Callable[["Events", Device, Any], Awaitable[Ack | Pending]]


@dataclass(frozen=True, slots=True)
class Incoming:
    """`pipelined`: it need not wait until those of its kind before it are done; all others wait for them."""

    payload: type[Input]
    handle: Handler
    pipelined: bool = False


@dataclass(frozen=True, slots=True)
class Events:
    """What the handlers need. `rearm` sets a device's timers for its new token."""

    services: Services
    presence: Presence
    rearm: Callable[[Device], None]

    async def send_message(self, device: Device, new: NewMessage) -> Pending:
        await self.services.limits.count(MESSAGES.of(device.actor.user_id))
        return Pending(self.services.messages.post(device.actor, new), _sent)

    async def edit_message(self, device: Device, edited: Edited) -> Ack:
        services, edit = self.services, MessageEdit(body=edited.body)
        changed = await edit_message(services.outbox, services.live, device.actor, edited.message_id, edit)
        return {"seq": changed.seq}

    async def delete_message(self, device: Device, deleted: Deleted) -> Ack:
        services = self.services
        changed = await delete_message(services.outbox, services.live, device.actor, deleted.message_id)
        return {"seq": changed.seq}

    async def set_reaction(self, device: Device, reaction: Reaction) -> Ack:
        services, message_id = self.services, reaction.message_id
        changed = await set_reaction(
            services.outbox, services.live, device.actor, message_id, reaction.emoji, on=reaction.on
        )
        return {"seq": changed.seq}

    async def read(self, device: Device, read: Read) -> Ack:
        services = self.services
        up_to = ReadUpTo(seq=read.seq)
        state = await mark_read(services.db, services.live, device.actor, read.conversation_id, up_to)
        return {"last_read_seq": state.last_read_seq, "unread": state.unread}

    async def delivered(self, device: Device, delivered: DeliveredItems) -> Ack:
        await mark_delivered(self.services.db, self.services.live, device.actor, delivered.items)
        return {}

    async def typing(self, device: Device, typing: Typing) -> Ack:
        """To the other members only, who are looked up each time: nobody types into a room they are not in."""
        actor = device.actor
        members = await list_hearing(self.services.db, actor, typing.conversation_id)
        data = {
            "conversation_id": typing.conversation_id,
            "user_id": actor.user_id,
            "expires_in_ms": TYPING_MS if typing.on else 0,
        }
        others = [user_id for user_id in members if user_id != actor.user_id]
        if device.flood.tells_typing(typing.conversation_id, on=typing.on):
            self.services.live.publish(others, "typing", data, ephemeral=True)
        return {}

    async def sync(self, device: Device, wanted: Cursors) -> Ack:
        synced = await sync(self.services.db, device.actor, wanted.cursors, limit=wanted.limit)
        return {"conversations": synced}

    async def read_notifications(self, device: Device, read: ReadNotifications) -> Ack:
        services = self.services
        left = await read_notifications(services.db, services.live, device.actor, read, skip_sid=device.connection)
        return {"unread": left.unread}

    async def set_presence(self, device: Device, change: StatusChange) -> Ack:
        device.flood.take_status()
        self.presence.set_status(device.actor, change.status)
        return {}

    async def get_presence(self, device: Device, people: People) -> Ack:
        return {"users": await self.presence.look_up(device.actor, people.user_ids)}

    async def refresh(self, device: Device, refresh: Refresh) -> Ack:
        """A new access token of the same user. Raises Unauthorized."""
        claims = self.services.tokens.verify_access(refresh.token)
        actor = await authenticate(self.services.db, claims)
        if actor.user_id != device.actor.user_id:
            raise Unauthorized("The token belongs to another user.")
        device.actor, device.expires_at = actor, claims.expires_at
        self.rearm(device)
        return {"token_expires_at": device.token_expires_at}


def _sent(sent: Sent) -> Ack:
    return {"data": sent.message, "duplicate": sent.duplicate}


INCOMING: Mapping[str, Incoming] = {
    "message:send": Incoming(NewMessage, Events.send_message, pipelined=True),
    "message:edit": Incoming(Edited, Events.edit_message),
    "message:delete": Incoming(Deleted, Events.delete_message),
    "reaction:set": Incoming(Reaction, Events.set_reaction),
    "message:read": Incoming(Read, Events.read),
    "message:delivered": Incoming(DeliveredItems, Events.delivered),
    "typing": Incoming(Typing, Events.typing),
    "chat:sync": Incoming(Cursors, Events.sync),
    "notification:read": Incoming(ReadNotifications, Events.read_notifications),
    "presence:set": Incoming(StatusChange, Events.set_presence),
    "presence:get": Incoming(People, Events.get_presence),
    "auth:refresh": Incoming(Refresh, Events.refresh),
}


def seconds_left(device: Device) -> float:
    """Until the device's token expires, by the wall clock that the token was stamped with."""
    return device.expires_at - time.time()
