"""Notifications: what a user should know of and may have missed; kept until read, and shown on their devices at once.

Each is told once: (user, kind, event) is unique, so a consumer that repeats an event tells nobody twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.db import Connection, Row
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.learning.predictions import Change
from wellio.live import Push

PUSHED_AS = "notification:new"

INSERT_NOTIFICATIONS = """
insert into notifications (id, practice_id, user_id, kind, title, body, data, event_id)
select *
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::uuid[])
on conflict on constraint notifications_once do nothing
returning id, user_id, kind, title, body, data, read_at, created_at
"""

# For each client that something is told of: the people and their zones. Without a client: of a group all who take part.
LIST_SESSION_PEOPLE = """
select s.id, s.kind, s.title, t.client_id as told_of, s.coach_id, coach.name as coach_name,
       coach.timezone as coach_timezone, c.id as client_id, c.first_name || ' ' || c.last_name as client_name,
       c.user_id as client_user_id, u.timezone as client_timezone, s.starts_at
from (select distinct * from unnest($1::uuid[], $2::uuid[], $3::uuid[])) t (practice_id, session_id, client_id)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
join users coach on coach.practice_id = s.practice_id and coach.id = s.coach_id
left join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id and p.status = 'booked'
                                and s.kind = 'group' and t.client_id is null
left join clients c on c.practice_id = s.practice_id and c.id = coalesce(t.client_id, s.client_id, p.client_id)
left join users u on u.practice_id = c.practice_id and u.id = c.user_id
order by c.id
"""

# The words for each: kind, title, body. {other} is the person across the table.
SESSION_WORDS: Mapping[EventType, tuple[str, str, str]] = {
    EventType.SESSION_BOOKED: ("session_booked", "New session with {other}", "{when}"),
    EventType.SESSION_RESCHEDULED: ("session_rescheduled", "Session with {other} moved", "Now {when}"),
    EventType.SESSION_CANCELLED: ("session_cancelled", "Session with {other} cancelled", "It was on {when}"),
    EventType.REMINDER_DUE: ("session_reminder", "Session with {other} soon", "{when}"),
    EventType.SERIES_BOOKED: ("session_booked", "{count} new sessions with {other}", "First on {when}"),
    EventType.SERIES_MOVED: ("session_rescheduled", "{count} sessions with {other} moved", "First on {when}"),
    EventType.SERIES_CANCELLED: (
        "session_cancelled",
        "{count} sessions with {other} cancelled",
        "First on {when}",
    ),
}
# Of groups, to the coach and to a client.
GROUP_WORDS_TO_COACH: Mapping[EventType, tuple[str, str, str]] = {
    EventType.SESSION_BOOKED: ("session_booked", "New group: {group}", "{when}"),
    EventType.SESSION_RESCHEDULED: ("session_rescheduled", "{group} moved", "Now {when}"),
    EventType.SESSION_CANCELLED: ("session_cancelled", "{group} cancelled", "It was on {when}"),
    EventType.PARTICIPANT_JOINED: ("participant_joined", "{client} takes part in {group}", "{when}"),
    EventType.PARTICIPANT_LEFT: ("participant_left", "{client} gave up a place in {group}", "{when}"),
}
GROUP_WORDS_TO_CLIENT: Mapping[EventType, tuple[str, str, str]] = {
    EventType.SESSION_RESCHEDULED: ("session_rescheduled", "{group} moved", "Now {when}"),
    EventType.PARTICIPANT_JOINED: ("participant_joined", "You have a place in {group}", "{when}"),
    EventType.PARTICIPANT_LEFT: ("participant_left", "You take part in {group} no longer", "It was to be on {when}"),
    EventType.WAITLIST_LEFT: ("waitlist_left", "You wait for {group} no longer", "It was to be on {when}"),
    EventType.WAITLIST_OFFERED: ("waitlist_offered", "A place in {group} is free for you", "Until {until}: {when}"),
    EventType.WAITLIST_OFFER_EXPIRED: (
        "waitlist_offer_expired", "The place in {group} is held for you no longer", "It is on {when}",
    ),
}  # fmt: skip
AT_RISK = "client_at_risk"


@dataclass(frozen=True, slots=True)
class Notification:
    id: UUID
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    read_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNotification:
    """`event_id`: what it is about, so that it is told once."""

    practice_id: UUID
    user_id: UUID
    kind: str
    title: str
    event_id: UUID
    body: str = ""
    data: dict[str, Any] = field(default_factory=dict)


async def insert_notifications(connection: Connection, new: Sequence[NewNotification]) -> list[Push]:
    """Stores those not stored before; returns what to tell devices after the commit."""
    if not new:
        return []
    columns: list[list[Any]] = [
        [uuid7() for _ in new],
        [n.practice_id for n in new],
        [n.user_id for n in new],
        [n.kind for n in new],
        [n.title for n in new],
        [n.body for n in new],
        [n.data for n in new],
        [n.event_id for n in new],
    ]
    rows = await connection.fetch(INSERT_NOTIFICATIONS, *columns)
    return [Push(user_ids=(row["user_id"],), event=PUSHED_AS, data=_notification(row)) for row in rows]


async def list_session_news(connection: Connection, events: Sequence[Event]) -> list[NewNotification]:
    """What the coach and the clients of each session should hear; never who did it themself. Many sessions of a series
    at once are one piece of news."""
    told = [(event, session_id) for event in events if (session_id := _told_session(event))]
    columns = [[e.practice_id for e, _ in told], [s for _, s in told], [e.client_id for e, _ in told]]
    people: dict[tuple[UUID, UUID | None], list[Row]] = {}
    for row in await connection.fetch(LIST_SESSION_PEOPLE, *columns):
        people.setdefault((row["id"], row["told_of"]), []).append(row)
    found = [(event, people.get((id_, event.client_id), [])) for event, id_ in told]
    return [news for event, rows in found if rows for news in _news_of(event, rows)]


def risk_news(change: Change, user_ids: Iterable[UUID]) -> list[NewNotification]:
    """That a client may be about to leave. Once per silence: the event it goes by is the client's last one."""
    prediction = change.prediction
    if prediction.last_event_id is None or prediction.probability is None:
        return []
    context = f"; {prediction.context}" if prediction.context else ""
    chance = f"{prediction.probability:.0%} to show no activity in the next {prediction.horizon_days} days"
    return [
        NewNotification(
            practice_id=change.practice_id,
            user_id=user_id,
            kind=AT_RISK,
            title=f"{prediction.client_name} may be about to leave",
            body=": ".join([chance, *[reason.text for reason in prediction.reasons[:1]]]) + context,
            data={"client_id": prediction.client_id, "probability": prediction.probability},
            event_id=prediction.last_event_id,
        )
        for user_id in user_ids
    ]


def _told_session(event: Event) -> UUID | None:
    """The session that an event is told by: of a series' event the first, of one among its many none."""
    if "session_ids" not in event.payload:
        return None if "series_id" in event.payload else event.subject_id
    return UUID(event.payload["session_ids"][0])


def _news_of(event: Event, rows: Sequence[Row]) -> list[NewNotification]:
    if rows[0]["kind"] == "group" and event.type is not EventType.REMINDER_DUE:
        return _group_news(event, rows)
    return _news(event, rows[0])


def _news(event: Event, people: Row) -> list[NewNotification]:
    group = people["title"] or "a group"
    with_whom = group if people["kind"] == "group" else people["client_name"]
    coach = (people["coach_id"], with_whom, people["coach_timezone"])
    client = (people["client_user_id"], people["coach_name"], people["client_timezone"])
    parties = [p for p in (coach, client) if p[0] is not None and p[0] != event.actor_id]
    if event.type is EventType.REMINDER_DUE:
        parties = _reminded(event, coach, people)
    words = SESSION_WORDS[event.type]
    return [_worded(event, people, user_id, words, zone, other=other) for user_id, other, zone in parties]


def _reminded(event: Event, coach: tuple[UUID, str, str], people: Row) -> list[tuple[UUID, str, str]]:
    """One of those who come: of a group there are many."""
    user_id = UUID(event.payload["user_id"])
    return [coach if user_id == coach[0] else (user_id, people["coach_name"], event.payload["timezone"])]


def _group_news(event: Event, rows: Sequence[Row]) -> list[NewNotification]:
    """Coaches hear of places that clients take and give up, not of what an owner does to each; and of a group that a
    client's booking made, from the booking."""
    by_client = event.payload.get("by") in ("client", "waitlist")
    news = []
    to_coach, to_client = GROUP_WORDS_TO_COACH.get(event.type), GROUP_WORDS_TO_CLIENT.get(event.type)
    first = rows[0]
    if to_coach and by_client == (event.client_id is not None) and first["coach_id"] != event.actor_id:
        news.append(_worded(event, first, first["coach_id"], to_coach, first["coach_timezone"]))
    if to_client:
        told = [p for p in rows if p["client_user_id"] not in (None, event.actor_id)]
        news += [_worded(event, p, p["client_user_id"], to_client, p["client_timezone"]) for p in told]
    return news


def _worded(
    event: Event, people: Row, user_id: UUID, words: tuple[str, str, str], zone: str, *, other: str = ""
) -> NewNotification:
    kind, title, body = words
    starts_at = _time_of(event, "starts_at") or people["starts_at"]
    until = _time_of(event, "expires_at")
    values = {
        "other": other,
        "count": event.payload.get("count", 1),
        "client": people["client_name"],
        "group": people["title"] or "a group session",
        "when": _when(starts_at, zone),
        "until": _when(until, zone) if until else "",
    }
    return NewNotification(
        practice_id=event.practice_id,
        user_id=user_id,
        kind=kind,
        title=title.format_map(values),
        body=body.format_map(values),
        data={"session_id": people["id"], "client_id": people["client_id"], "starts_at": starts_at},
        event_id=event.id,
    )


def _time_of(event: Event, name: str) -> datetime | None:
    """As it was when it happened: the session may have moved again since."""
    told = event.payload.get(name)
    return datetime.fromisoformat(told) if told else None


def _when(time: datetime, zone: str) -> str:
    """`Mon 3 Nov 2026, 10:00 (Europe/Berlin)`"""
    local = time.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone})"


def _notification(row: Row) -> Notification:
    return Notification(**{name: row[name] for name in Notification.__slots__})
