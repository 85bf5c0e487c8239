"""What tests of bookings begin with: a coach with hours, a type to book, a time to come."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api import Answer, Api
from tests.factories import House
from wellio.accounts.actors import Actor

SESSIONS = "/api/v1/sessions"
POLICY = "/api/v1/booking-policy"
HOUR = timedelta(hours=1)
ROUND_THE_CLOCK = [{"starts": "00:00", "ends": "24:00"}]
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ALL_DAY = dict.fromkeys(DAYS, ROUND_THE_CLOCK)


def days_ahead(days: int) -> datetime:
    """Ten o'clock (UTC) on a day to come: more than `days - 1` and at most `days` + 1 days from now."""
    day = datetime.now(UTC) + timedelta(days=days)
    return day.replace(hour=10, minute=0, second=0, microsecond=0)


async def open_all_day(api: Api, house: House, **more: Any) -> Any:
    """Hours around the clock, in UTC, and a type of an hour; returns the type."""
    path = f"/api/v1/availability/{house.coach.user_id}"
    await api.patch(path, house.coach, json={"timezone": "UTC", "weekly": ALL_DAY, "increment_minutes": 60, **more})
    new = {"name": "Coaching", "duration_minutes": 60, "price_minor": 9000}
    return (await api.post("/api/v1/session-types", house.coach, json=new)).data


async def set_policy(api: Api, house: House, **changes: Any) -> Any:
    return (await api.patch(POLICY, house.owner, json=changes)).data


async def book(api: Api, actor: Actor, session_type: Any, start: datetime, **more: Any) -> Answer:
    body = {"session_type_id": session_type["id"], "starts_at": start.isoformat(), **more}
    return await api.post(SESSIONS, actor, json=body)


async def change(api: Api, actor: Actor, session: Any, **changes: Any) -> Answer:
    return await api.patch(f"{SESSIONS}/{session['id']}", actor, json=changes)


async def begin_at(api: Api, session: Any, start: datetime) -> None:
    """Lets the session be at another time than it was booked for, without anybody's moving it."""
    sql = "update sessions set starts_at = $2, ends_at = ends_at + ($2 - starts_at) where id = $1::text::uuid"
    await api.db.execute(sql, session["id"], start)


async def event_types(api: Api, session: Any) -> list[str]:
    rows = await api.db.fetch(
        "select type from events where subject_id = $1::text::uuid order by xid, position", session["id"]
    )
    return [row["type"] for row in rows]
