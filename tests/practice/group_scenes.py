"""What tests of groups start from: clients with log-ins of one coach, and a group session of that coach."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.api import Answer, Api
from tests.factories import House, make_client, make_user
from wellio.accounts.actors import Actor, Role

SESSIONS = "/api/v1/sessions"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Ten o'clock of a day two weeks ahead: later than any notice, earlier than any window.
START = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + 14 * DAY


async def make_people(api: Api, house: House, count: int) -> list[tuple[Actor, UUID]]:
    """Clients of the house's coach, each with a log-in."""
    people = []
    async with api.db.transaction() as connection:
        for n in range(count):
            user = await make_user(connection, house.practice, Role.CLIENT, f"Person {n}")
            client_id = await make_client(
                connection, house.practice, coach=house.coach, user=user, first_name="Person", last_name=str(n)
            )
            people.append((user, client_id))
    return people


async def make_group(api: Api, house: House, capacity: int = 2, start: datetime = START, **more: Any) -> str:
    """Its address."""
    new = {"kind": "group", "capacity": capacity, "starts_at": start.isoformat(), "duration_minutes": 60, **more}
    answer = await api.post(SESSIONS, house.coach, {"title": "Circle", **new})
    return f"{SESSIONS}/{answer.data['id']}"


async def join(api: Api, actor: Actor, group: str, client_id: UUID | None = None) -> Answer:
    return await api.post(f"{group}/participants", actor, {"client_id": str(client_id)} if client_id else {})


async def wait(api: Api, actor: Actor, group: str, client_id: UUID | None = None) -> Answer:
    return await api.post(f"{group}/waitlist", actor, {"client_id": str(client_id)} if client_id else {})


async def leave(api: Api, actor: Actor, group: str, client_id: UUID) -> Answer:
    return await api.call("DELETE", f"{group}/participants/{client_id}", actor)


async def set_policy(api: Api, house: House, **values: Any) -> None:
    names = ", ".join(values)
    places = ", ".join(f"${n}" for n in range(2, len(values) + 2))
    await api.db.execute("delete from booking_policies where practice_id = $1", house.practice.id)
    await api.db.execute(
        f"insert into booking_policies (practice_id, {names}) values ($1, {places})",
        house.practice.id, *values.values(),
    )  # fmt: skip


async def begin(api: Api, group: str, since: timedelta = HOUR) -> None:
    """Lets the group's time have come."""
    start = datetime.now(UTC) - since
    await api.db.execute(
        "update sessions set starts_at = $2::timestamptz, ends_at = $2::timestamptz + interval '1 hour' where id = $1",
        UUID(group.rpartition("/")[2]), start,
    )  # fmt: skip


async def events(api: Api, client_id: UUID) -> list[str]:
    """What happened to a client's places, in order."""
    rows = await api.db.fetch("select type from events where client_id = $1 order by xid, position", client_id)
    return [row["type"] for row in rows]
