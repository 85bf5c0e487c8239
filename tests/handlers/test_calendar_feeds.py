"""Calendars out: secret addresses, what they show, and that a program is never told "unchanged" wrongly."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import icalendar
import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api import Answer, Api
from tests.factories import House
from wellio.accounts.actors import Actor
from wellio.ids import uuid7
from wellio.practice.calendars import CalendarEvent, Party, digest_of, make_calendar, uid_of

FEEDS = "/api/v1/calendar-feeds"
SESSIONS = "/api/v1/sessions"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def soon(days: int = 3) -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + days * DAY


async def book(api: Api, house: House, start: datetime, **more: Any) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60, **more}
    return (await api.post(SESSIONS, house.coach, json=new)).data


async def mint(api: Api, actor: Actor, **more: Any) -> str:
    """The path of a new feed."""
    address = str((await api.post(FEEDS, actor, json=more)).data["address"])
    assert address.startswith(api.url)
    return address.removeprefix(api.url)


async def events(api: Api, path: str) -> dict[str, Any]:
    """By UID, as vobject reads them."""
    answer = await api.get(path)
    assert answer.status == 200
    calendar = vobject.readOne(answer.raw.decode())
    return {event.uid.value: event for event in getattr(calendar, "vevent_list", [])}


def uid(session: Any) -> str:
    return f"{session['id']}@sessions.wellio"


async def test_coach_sees_the_client_and_the_client_the_coach(api: Api, house: House) -> None:
    session = await book(api, house, soon(), title="Coaching; first, of many", location="Room 2")
    for actor, other in ((house.coach, "Klara Client"), (house.client, "Carl Coach")):
        (event,) = (await events(api, await mint(api, actor))).values()
        assert event.uid.value == uid(session)
        assert event.summary.value == f"Coaching; first, of many: {other}"
        assert (event.dtstart.value, event.dtend.value) == (soon(), soon() + HOUR)
        assert (event.location.value, event.status.value, event.sequence.value) == ("Room 2", "CONFIRMED", "0")
        assert not hasattr(event, "attendee")
    assert await events(api, await mint(api, house.other_coach)) == {}
    assert await events(api, await mint(api, house.other_client)) == {}


async def test_busy_only_tells_when_and_nothing_else(api: Api, house: House) -> None:
    await book(api, house, soon(), title="Secret", location="Hidden", meeting_url="https://meet.example/klara")
    raw = (await api.get(await mint(api, house.coach, busy_only=True))).raw
    assert b"SUMMARY:Busy" in raw
    for word in (b"Secret", b"Hidden", b"klara", b"Klara", b"Client", str(house.client_id).encode()):
        assert word not in raw


async def test_move_and_cancellation_keep_the_uid_and_raise_the_sequence(api: Api, house: House) -> None:
    series = (await api.post(SESSIONS, house.coach, json={
        "client_id": str(house.client_id), "starts_at": soon().isoformat(), "duration_minutes": 60, "timezone": "UTC",
        "rrule": "FREQ=DAILY;COUNT=2",
    })).data  # fmt: skip
    first = series["sessions"][0]
    feed = await mint(api, house.client)
    seen = [(await events(api, feed))[uid(first)]]
    later = (soon() + HOUR).isoformat()
    await api.patch(f"{SESSIONS}/{first['id']}?scope=all", house.coach, json={"starts_at": later})
    seen.append((await events(api, feed))[uid(first)])
    await api.patch(f"{SESSIONS}/{first['id']}?scope=all", house.coach, json={"status": "cancelled"})
    seen.append((await events(api, feed))[uid(first)])
    assert [int(event.sequence.value) for event in seen] == [0, 1, 2]
    assert [event.status.value for event in seen] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert seen[1].dtstart.value == soon() + HOUR


async def test_feed_holds_a_year_of_what_was_and_a_month_of_what_was_cancelled(api: Api, house: House) -> None:
    recent, ancient = await book(api, house, soon(-300)), await book(api, house, soon(-400))
    new, old = await book(api, house, soon(5)), await book(api, house, soon(6))
    far = await book(api, house, soon(800))
    for session, days in ((new, 29), (old, 31)):
        await api.db.execute(
            "update sessions set status = 'cancelled', cancelled_at = $2 where id = $1::text::uuid",
            session["id"], soon(-days),
        )  # fmt: skip
    shown = await events(api, await mint(api, house.coach))
    assert set(shown) == {uid(recent), uid(new), uid(far)}
    assert uid(ancient) not in shown
    assert shown[uid(new)].status.value == "CANCELLED"


async def test_unchanged_is_a_304_and_an_edit_in_the_same_second_a_200(api: Api, house: House) -> None:
    session = await book(api, house, soon())
    feed = await mint(api, house.coach)
    first = await api.get(feed)
    tag = first.headers["ETag"]
    assert (await api.get(feed)).raw == first.raw, "not a word of when it was asked for"
    same = await api.get(feed, headers={"If-None-Match": tag})
    assert (same.status, same.raw, same.headers["ETag"]) == (304, b"", tag)
    for title in ("One", "Two", "Three"):
        await api.patch(f"{SESSIONS}/{session['id']}", house.coach, json={"title": title})
        await api.db.execute("update sessions set updated_at = created_at")  # all within one moment
        changed = await api.get(feed, headers={"If-None-Match": tag})
        assert changed.status == 200
        assert title.encode() in changed.raw
        tag = changed.headers["ETag"]


async def test_answer_is_what_calendar_programs_expect(api: Api, house: House) -> None:
    session = await book(api, house, soon(), title="Ä" * 120)
    answer = await api.get(await mint(api, house.coach))
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    check_lines(answer.raw)
    event = read_one(answer.raw)
    updated = datetime.fromisoformat(session["updated_at"]).replace(microsecond=0)
    assert event["dtstamp"].dt == event["last-modified"].dt == updated


def read_one(raw: bytes) -> Any:
    """As icalendar reads it."""
    (event,) = icalendar.Calendar.from_ical(raw).walk("VEVENT")
    return event


def check_lines(raw: bytes) -> None:
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))


async def test_revoked_or_unknown_address_is_a_404(api: Api, house: House) -> None:
    made = (await api.post(FEEDS, house.client, json={"name": "Phone"})).data
    path = made["address"].removeprefix(api.url)
    assert (await api.get(path)).status == 200
    listed = (await api.get(FEEDS, house.client)).data
    assert [(f["id"], f["name"], f["busy_only"]) for f in listed] == [(made["id"], "Phone", False)]
    assert listed[0]["last_read_at"] is not None
    assert (await api.call("DELETE", f"{FEEDS}/{made['id']}", house.coach)).status == 404
    assert (await api.call("DELETE", f"{FEEDS}/{made['id']}", house.client)).status == 200
    answers: list[Answer] = [await api.get(p) for p in (path, "/calendar/nothing.ics", "/calendar/.ics", path[:-5])]
    assert [a.status for a in answers] == [404] * 4
    assert (await api.get(FEEDS, house.client)).data == []


async def test_suspended_user_has_no_feed(api: Api, house: House) -> None:
    path = await mint(api, house.coach)
    await api.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    assert (await api.get(path)).status == 404


async def test_address_is_kept_nowhere_and_logged_nowhere(
    api: Api, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        path = await mint(api, house.coach)
        await api.get(path)
        await api.get(f"{path}x")
    token = path.removeprefix("/calendar/").removesuffix(".ics")
    assert len(token) >= 43
    assert token not in caplog.text
    assert not any(token in str(vars(record)) for record in caplog.records if record.name.startswith("wellio"))
    row = await api.db.fetchrow("select * from calendar_feeds")
    assert row is not None
    assert token not in str(dict(row))
    assert (await api.get(FEEDS, house.coach)).raw.find(token.encode()) == -1


async def test_feeds_are_bounded(api: Api, house: House) -> None:
    answers = await asyncio.gather(*(api.post(FEEDS, house.coach, json={}) for _ in range(22)))
    assert sorted(a.status for a in answers) == [201] * 20 + [409] * 2


async def test_one_session_is_a_file(api: Api, house: House) -> None:
    session = await book(api, house, soon())
    for actor in (house.owner, house.coach, house.client):
        answer = await api.get(f"{SESSIONS}/{session['id']}/calendar.ics", actor)
        assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
        assert vobject.readOne(answer.raw.decode()).vevent.uid.value == uid(session)
    assert (await api.get(f"{SESSIONS}/{session['id']}/calendar.ics", house.other_coach)).status == 404


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90).map(str.strip).filter(bool)


@settings(max_examples=60)
@given(summary=NAMES, location=NAMES, name=NAMES, sequence=st.integers(0, 10_000))
def test_any_text_is_read_back_as_it_was(summary: str, location: str, name: str, sequence: int) -> None:
    event = CalendarEvent(
        session_id=uuid7(), starts_at=soon(), ends_at=soon() + HOUR, summary=summary, state="CONFIRMED",
        sequence=sequence, created_at=soon(), changed_at=soon(), location=location,
        organizer=Party("Carl", "carl@example.org"),
    )  # fmt: skip
    raw = make_calendar([event], name=name)
    check_lines(raw)
    read = read_one(raw)
    assert (str(read["summary"]), str(read["location"]), str(read["uid"])) == (
        summary, location, uid_of(event.session_id),
    )  # fmt: skip
    assert (read["dtstart"].dt, read["sequence"]) == (event.starts_at, sequence)
    assert digest_of([event], name) == digest_of([event], name)
