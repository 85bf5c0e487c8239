"""Mails about sessions, as a real server gets them: what calendar programs are told from booking to cancellation."""

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import icalendar
import pytest
import vobject

from tests.api import Api
from tests.factories import House
from tests.handlers.test_availability import book as book_slot
from tests.handlers.test_availability import monday, offer, open_hours
from tests.learning_store.histories import read_log
from tests.outreach.post_office import PostOffice
from tests.practice.group_scenes import join, leave, make_group, make_people, set_policy, wait
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.metrics import Metrics
from wellio.outreach.mail_sender import MailSender, Post
from wellio.outreach.session_mails import queue_session_mails
from wellio.outreach.smtp import SmtpServer, Tls

SESSIONS = "/api/v1/sessions"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SENDER = "Wellio <no-reply@wellio.example>"


def soon(days: int = 3) -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + days * DAY


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with PostOffice().open() as office:
        yield office


async def sent(api: Api, office: PostOffice) -> list[EmailMessage]:
    """What arrives when all that happened so far has been followed and posted."""
    await followed(api)
    server = SmtpServer(host="127.0.0.1", port=office.port, tls=Tls.NONE)
    post = Post(deliver=server.send, sender=SENDER, base_url="https://wellio.example")
    sender = MailSender(api.db, Metrics(), post)
    before = len(office.taken)
    while await sender.send_next():
        pass
    return sorted(office.taken[before:], key=lambda message: str(message["To"]))


async def followed(api: Api) -> None:
    sql = """
        select not exists (select from events e join consumers c on c.name = 'mails'
                           where (e.xid, e.position) > (c.xid, c.position))
    """
    await eventually(lambda: api.db.fetchval(sql))


def calendar_of(message: EmailMessage) -> tuple[str, list[Any]]:
    """The method as the mail and as the calendar say it, and the events; the file says the same."""
    (part,) = [p for p in message.walk() if p.get_content_type() == "text/calendar"]
    (file,) = list(message.iter_attachments())
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    assert file.get_payload(decode=True) == raw
    assert str(file.get_filename()).endswith(".ics")
    check_lines(raw)
    calendar: Any = icalendar.Calendar.from_ical(raw)
    parameters = dict(part["Content-Type"].params)
    assert (parameters["method"], parameters["charset"]) == (calendar["method"], "utf-8")
    assert [e.uid.value for e in vobject.readOne(raw.decode()).vevent_list] == [
        str(e["uid"]) for e in calendar.walk("VEVENT")
    ]
    return str(calendar["method"]), list(calendar.walk("VEVENT"))


def check_lines(raw: bytes) -> None:
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))


async def book(api: Api, house: House, start: datetime, **more: Any) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60, **more}
    return (await api.post(SESSIONS, house.coach, json=new)).data


async def change(api: Api, actor: Actor, path: str, changes: dict[str, Any]) -> None:
    assert (await api.patch(path, actor, json=changes)).status == 200


async def address_of(api: Api, house: House) -> str:
    return str(await api.db.fetchval("select email from users where id = $1", house.client.user_id))


async def test_book_move_cancel_is_request_request_cancel_of_one_uid(
    api: Api, house: House, office: PostOffice
) -> None:
    session = await book(api, house, soon(), title="Coaching; a first, long one " * 4)
    steps: list[dict[str, Any]] = [
        {},
        {"starts_at": (soon() + HOUR).isoformat()},
        {"starts_at": (soon() + 2 * HOUR).isoformat()},
        {"status": "cancelled"},
    ]
    told = []
    for changes in steps:
        if changes:
            await change(api, house.coach, f"{SESSIONS}/{session['id']}", changes)
        (message,) = await sent(api, office)  # the client's: the coach made it
        assert message["To"] == await address_of(api, house)
        method, (event,) = calendar_of(message)
        assert str(event["organizer"]) == "mailto:no-reply@wellio.example"
        assert str(event["attendee"]) == f"mailto:{message['To']}"
        assert str(event["uid"]) == f"{session['id']}@sessions.wellio"
        told.append((method, int(event["sequence"]), str(event["status"]), event["dtstart"].dt))
    assert told == [
        ("REQUEST", 0, "CONFIRMED", soon()),
        ("REQUEST", 1, "CONFIRMED", soon() + HOUR),
        ("REQUEST", 2, "CONFIRMED", soon() + 2 * HOUR),
        ("CANCEL", 3, "CANCELLED", soon() + 2 * HOUR),
    ]


async def test_clients_booking_is_confirmed_to_both_and_their_cancellation_told_to_the_coach(
    api: Api, house: House, office: PostOffice
) -> None:
    await open_hours(api, house)
    session = (await book_slot(api, house.client, await offer(api, house), monday())).data
    messages = await sent(api, office)
    assert sorted(m["Subject"].split(" on ")[0] for m in messages) == [
        "Session with Carl Coach", "Session with Klara Client",
    ]  # fmt: skip
    await change(api, house.client, f"{SESSIONS}/{session['id']}", {"status": "cancelled"})
    (message,) = await sent(api, office)
    assert message["To"] == await api.db.fetchval("select email from users where id = $1", house.coach.user_id)
    assert calendar_of(message)[0] == "CANCEL"


async def test_series_is_one_mail_with_its_dates_and_one_calendar(api: Api, house: House, office: PostOffice) -> None:
    series = await book(api, house, soon(), rrule="FREQ=WEEKLY;COUNT=5", timezone="UTC", location="Room 2")
    (message,) = await sent(api, office)
    method, events = calendar_of(message)
    assert message["Subject"] == "5 sessions with Carl Coach"
    assert (method, len(events)) == ("PUBLISH", 5)
    body = message.get_body(("plain",))
    assert body is not None
    text = str(body.get_content())
    assert text.count("\n- ") == 5
    assert "Where: Room 2" in text
    first = series["sessions"][0]
    later = (soon() + HOUR).isoformat()
    await change(api, house.coach, f"{SESSIONS}/{first['id']}?scope=all", {"starts_at": later})
    (moved,) = await sent(api, office)
    await change(api, house.coach, f"{SESSIONS}/{first['id']}?scope=all", {"status": "cancelled"})
    (cancelled,) = await sent(api, office)
    assert [(m, len(e), {int(x["sequence"]) for x in e}) for m, e in map(calendar_of, (moved, cancelled))] == [
        ("PUBLISH", 5, {1}), ("PUBLISH", 5, {2}),
    ]  # fmt: skip
    assert {str(e["status"]) for e in calendar_of(cancelled)[1]} == {"CANCELLED"}


async def test_mail_that_came_to_nothing_is_not_sent(api: Api, house: House, office: PostOffice) -> None:
    """Booked, moved and cancelled before the first mail left: only the end is news."""
    session = await book(api, house, soon())
    await change(api, house.coach, f"{SESSIONS}/{session['id']}", {"starts_at": (soon() + HOUR).isoformat()})
    await change(api, house.coach, f"{SESSIONS}/{session['id']}", {"status": "cancelled"})
    (message,) = await sent(api, office)
    assert calendar_of(message)[0] == "CANCEL"
    statuses = await api.db.fetch("select status from mails order by created_at, id")
    assert sorted(r["status"] for r in statuses) == ["dropped", "dropped", "sent"]


async def test_events_of_one_session_that_come_together_have_a_mail_each(api: Api, house: House, db: Database) -> None:
    session = await book(api, house, soon())
    for hours in (1, 2):
        starts_at = (soon() + hours * HOUR).isoformat()
        await change(api, house.coach, f"{SESSIONS}/{session['id']}", {"starts_at": starts_at})
    await followed(api)
    await db.execute("delete from mails")
    events = [e for e in await read_log(db) if e.subject_id == UUID(session["id"])]
    async with db.transaction() as connection:
        await queue_session_mails(connection, events)
    kinds = await db.fetch("select kind, recipient from mails order by created_at, id")
    assert [r["kind"] for r in kinds] == ["session_booked", "session_moved", "session_moved"]
    assert {r["recipient"] for r in kinds} == {await address_of(api, house)}


async def test_client_without_an_account_is_written_to_at_their_address(
    api: Api, house: House, office: PostOffice
) -> None:
    new = {"first_name": "Nora", "last_name": "New", "email": "nora@example.org", "timezone": "Asia/Kathmandu"}
    client = (await api.post("/api/v1/clients", house.coach, json=new)).data
    await book(api, house, soon(), client_id=client["id"])
    (message,) = await sent(api, office)
    body = message.get_body(("plain",))
    assert body is not None
    assert message["To"] == "nora@example.org"
    assert "Hello Nora New" in body.get_content()
    assert "(Asia/Kathmandu)" in body.get_content()


async def test_cancelled_group_is_told_to_who_was_still_in_it(api: Api, house: House, office: PostOffice) -> None:
    (left, left_id), (stayed, _) = await make_people(api, house, 2)
    group = await make_group(api, house)
    for person in (left, stayed):
        assert (await join(api, person, group)).status == 201
    assert (await leave(api, left, group, left_id)).status == 200
    await sent(api, office)
    await change(api, house.coach, group, {"status": "cancelled"})
    (message,) = await sent(api, office)
    assert message["To"] == await api.db.fetchval("select email from users where id = $1", stayed.user_id)
    method, (event,) = calendar_of(message)
    assert (method, event["status"]) == ("CANCEL", "CANCELLED")


async def test_place_in_a_group_is_request_and_cancel_of_one_uid_whose_sequence_only_rises(
    api: Api, house: House, office: PostOffice
) -> None:
    """To its client alone: joined, left, moved up from the waitlist, come again, moved with the group, cancelled."""
    await set_policy(api, house, waitlist="auto")
    (ada, ada_id), (bea, bea_id) = await make_people(api, house, 2)
    names = {ada_id: ada.name, bea_id: bea.name}
    group = await make_group(api, house, capacity=1)
    users = await api.db.fetch("select name, email from users where id = any($1)", [ada.user_id, bea.user_id])
    addresses = {str(row["name"]): str(row["email"]) for row in users}
    steps: list[tuple[Awaitable[Any], dict[str, tuple[str, int, str]]]] = [
        (join(api, ada, group), {ada.name: ("REQUEST", 0, "CONFIRMED")}),
        (wait(api, bea, group), {}),
        (leave(api, ada, group, ada_id), {ada.name: ("CANCEL", 1, "CANCELLED"), bea.name: ("REQUEST", 0, "CONFIRMED")}),
        (leave(api, house.coach, group, bea_id), {bea.name: ("CANCEL", 1, "CANCELLED")}),
        (join(api, house.coach, group, ada_id), {ada.name: ("REQUEST", 2, "CONFIRMED")}),
        (
            change(api, house.coach, group, {"starts_at": (soon(20)).isoformat()}),
            {ada.name: ("REQUEST", 3, "CONFIRMED")},
        ),
        (change(api, house.coach, group, {"status": "cancelled"}), {ada.name: ("CANCEL", 4, "CANCELLED")}),
    ]
    for step, expected in steps:
        await step
        told = {}
        for message in await sent(api, office):
            method, (event,) = calendar_of(message)
            (name,) = [name for name, address in addresses.items() if address == message["To"]]
            told[name] = method, int(event["sequence"]), str(event["status"])
            assert str(event["uid"]) == f"{group.rpartition('/')[2]}@sessions.wellio"
            assert str(event["attendee"]) == f"mailto:{message['To']}"
            (other,) = set(names.values()) - {name}
            for part in message.walk():
                raw = part.get_payload(decode=True)
                assert not (isinstance(raw, bytes) and (other.encode() in raw or addresses[other].encode() in raw))
        assert told == expected
    feed = await api.get(f"{group}/calendar.ics", ada)
    assert b"SEQUENCE:4\r\n" in feed.raw


async def test_what_is_recorded_afterwards_or_of_who_has_no_address_is_not_mailed(
    api: Api, house: House, office: PostOffice
) -> None:
    await book(api, house, soon(-3))
    client = (await api.post("/api/v1/clients", house.coach, json={"first_name": "No", "last_name": "Mail"})).data
    await book(api, house, soon(), client_id=client["id"])
    assert await sent(api, office) == []


async def test_nothing_somebody_wrote_waits_in_the_queue(api: Api, house: House) -> None:
    await book(api, house, soon(), title="A private matter")
    await followed(api)
    rows = await api.db.fetch("select data from mails")
    assert [set(r["data"]) for r in rows] == [{"session_ids", "sequence", "client_id"}]
