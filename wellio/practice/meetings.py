"""Where people meet online: a session's own address, its coach's link, or a room on a Jitsi server.

A room's name is made from the session's id with a key, so it stays the same and nobody guesses it. Where the server
wants tokens, each who joins gets one of their own, which ends with the session (JWT, HS256, as Prosody's token
authentication for Jitsi checks it).
"""

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

import jwt
from pydantic import model_validator

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.users import is_coach
from wellio.config import Config
from wellio.db import Connection, Database
from wellio.errors import NotFound
from wellio.outbox import Outbox
from wellio.practice.sessions import Session
from wellio.values import Input, Url

GET_SETTINGS = "select coach_id, kind, url from meeting_settings where practice_id = $1 and coach_id = $2"

UPSERT_SETTINGS = """
insert into meeting_settings (practice_id, coach_id, kind, url)
values ($1, $2, $3, $4)
on conflict on constraint meeting_settings_pkey do update
set kind = excluded.kind, url = excluded.url, updated_at = now()
"""

Kind = Literal["link", "jitsi"]
# A session that takes longer than planned is not cut off at once.
OVERTIME = timedelta(minutes=30)


class NewMeetingSettings(Input):
    """`link`: the coach's own address, for all their sessions. `jitsi`: a room for each session."""

    kind: Kind
    url: Url = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.kind == "link") != bool(self.url):
            raise ValueError("a link needs its url, and rooms have none")
        return self


@dataclass(frozen=True, slots=True)
class MeetingSettings:
    coach_id: UUID
    kind: Kind
    url: str


@dataclass(frozen=True, slots=True)
class Rooms:
    """A Jitsi server. Without `app_secret` it lets in whoever knows a room's name."""

    url: str
    key: bytes
    app_id: str
    app_secret: str


def rooms_of(config: Config) -> Rooms:
    secret = config.jitsi_room_secret or config.jwt_secret
    key = hmac.digest(secret.encode(), b"wellio meeting rooms", sha256)
    return Rooms(config.jitsi_url, key, config.jitsi_app_id, config.jitsi_app_secret)


async def get_settings(db: Database, actor: Actor, coach_id: UUID) -> MeetingSettings:
    """A coach's own, or for owners any coach's. Raises NotFound."""
    async with db.connection() as connection:
        await _check_coach(connection, actor, coach_id)
        return await find_settings(connection, actor.practice_id, coach_id)


async def set_settings(outbox: Outbox, actor: Actor, coach_id: UUID, new: NewMeetingSettings) -> MeetingSettings:
    """Raises NotFound."""
    async with outbox.transaction() as tx:
        await _check_coach(tx.connection, actor, coach_id)
        await tx.connection.execute(UPSERT_SETTINGS, actor.practice_id, coach_id, new.kind, new.url)
        return await find_settings(tx.connection, actor.practice_id, coach_id)


async def find_settings(connection: Connection, practice_id: UUID, coach_id: UUID) -> MeetingSettings:
    """Rooms, for a coach who has set nothing."""
    row = await connection.fetchrow(GET_SETTINGS, practice_id, coach_id)
    return MeetingSettings(**dict(row)) if row else MeetingSettings(coach_id, "jitsi", "")


async def meeting_url(connection: Connection, rooms: Rooms, actor: Actor, session: Session) -> str:
    """Where the actor meets the others; empty for a session at a place."""
    if session.meeting_url:
        return session.meeting_url
    settings = await find_settings(connection, actor.practice_id, session.coach_id)
    if settings.kind == "link":
        return settings.url
    if session.location:
        return ""
    room = room_name(rooms, session.id)
    address = f"{rooms.url}/{room}"
    return f"{address}?jwt={_token(rooms, room, actor, session)}" if rooms.app_secret else address


def room_name(rooms: Rooms, session_id: UUID) -> str:
    """130 bits of a keyed digest, in letters and digits that servers don't fold together."""
    digest = hmac.digest(rooms.key, session_id.bytes, sha256)
    return f"wellio-{base64.b32encode(digest).decode().lower()[:26]}"


def _token(rooms: Rooms, room: str, actor: Actor, session: Session) -> str:
    """Of the user's fields the server takes nothing but text."""
    moderates = actor.user_id == session.coach_id
    user = {
        "id": str(actor.user_id),
        "name": actor.name,
        "moderator": "true" if moderates else "false",
        "affiliation": "owner" if moderates else "member",
    }
    claims = {
        "iss": rooms.app_id,
        "aud": rooms.app_id,
        "sub": urlsplit(rooms.url).hostname,
        "room": room,
        "exp": _unix(session.ends_at + OVERTIME),
        "context": {"user": user},
    }
    return jwt.encode(claims, rooms.app_secret, algorithm="HS256")


def _unix(time: datetime) -> int:
    return int(time.timestamp())


async def _check_coach(connection: Connection, actor: Actor, coach_id: UUID) -> None:
    actor.must_be(STAFF)
    own = coach_id == actor.user_id
    if not own and (actor.role is not Role.OWNER or not await is_coach(connection, actor.practice_id, coach_id)):
        raise NotFound("No such coach.")
