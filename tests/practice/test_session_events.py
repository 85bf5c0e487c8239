"""What is recorded of a session's changes."""

from datetime import UTC, datetime, timedelta

import orjson

from tests.factories import House
from wellio.db import Database
from wellio.outbox import Outbox
from wellio.practice.bookings import NewSession, book_session
from wellio.practice.session_changes import SessionChanges, change_session

START = (datetime.now(UTC) + timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)


async def test_move_is_told_with_the_time_before_and_each_change_with_its_version(
    db: Database, outbox: Outbox, house: House
) -> None:
    new = NewSession(client_id=house.client_id, starts_at=START.isoformat(), duration_minutes=60)
    session = await book_session(outbox, house.coach, new)
    await change_session(
        outbox, house.coach, session.id, SessionChanges(starts_at=(START + timedelta(hours=2)).isoformat())
    )
    await change_session(outbox, house.coach, session.id, SessionChanges(status="cancelled"))
    rows = await db.fetch("select type, payload::text as p from events where subject_id = $1 order by id", session.id)
    payloads = [orjson.loads(row["p"]) for row in rows]
    assert [row["type"] for row in rows] == ["SessionBooked", "SessionRescheduled", "SessionCancelled"]
    assert [payload["version"] for payload in payloads] == [1, 2, 3]
    assert datetime.fromisoformat(payloads[1]["previous_start_at"]) == START
    assert [("previous_start_at" in payload) for payload in payloads] == [False, True, False]
