"""One engine lists and books: for any rules, zone and history every offered slot books, and a client gets no other."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import House, make_house
from wellio.db import Database
from wellio.errors import Conflict
from wellio.outbox import Outbox
from wellio.practice.availability import AvailabilityChanges, change_availability
from wellio.practice.bookable import SlotQuery, list_bookable
from wellio.practice.bookings import NewSession, book_session
from wellio.practice.session_changes import SessionChanges, change_session
from wellio.practice.session_types import NewSessionType, create_session_type

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "UTC")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
QUARTER = timedelta(minutes=15)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    starts = st.integers(0, 20)

    def hours() -> list[dict[str, str]]:
        start = draw(starts)
        return [{"starts": f"{start:02}:15", "ends": f"{draw(st.integers(start + 2, 23)):02}:45"}]

    return {
        "timezone": draw(st.sampled_from(ZONES)),
        "weekly": {day: hours() for day in draw(st.sets(st.sampled_from(WEEKDAYS), min_size=3))},
        "increment_minutes": draw(st.sampled_from((15, 20, 45, 60))),
        "buffer_before_minutes": draw(st.sampled_from((0, 10))),
        "buffer_after_minutes": draw(st.sampled_from((0, 5, 30))),
        "min_notice_minutes": draw(st.sampled_from((0, 600))),
        "min_notice_days": draw(st.sampled_from((0, 2))),
        "max_days_ahead": draw(st.sampled_from((6, 60))),
        "max_per_day": draw(st.sampled_from((None, 1, 3))),
        "max_per_week": draw(st.sampled_from((None, 4))),
    }


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    opening=rules(),
    minutes=st.sampled_from((25, 50, 60)),
    history=st.lists(st.integers(0, 5 * 96), max_size=4, unique=True),
    picks=st.lists(st.integers(0, 10_000), min_size=2, max_size=2),
    others=st.lists(st.integers(0, 5 * 96), min_size=4, max_size=4, unique=True),
)
async def test_every_slot_offered_books_and_every_other_is_refused_to_a_client(
    db: Database, opening: dict[str, Any], minutes: int, history: list[int], picks: list[int], others: list[int]
) -> None:
    """From three days ahead, so that no notice ends between listing and booking."""
    house, outbox = await make_house(db), Outbox(db)
    first = (datetime.now(UTC) + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    new_type = NewSessionType(name="Coaching", duration_minutes=minutes)
    type_id = (await create_session_type(outbox, house.coach, new_type)).id
    await change_availability(outbox, house.coach, house.coach.user_id, AvailabilityChanges(**opening))
    for place in history:
        await _fill(outbox, house, first + place * QUARTER)

    async def offered() -> list[datetime]:
        query = {"from": first.isoformat(), "to": (first + timedelta(days=5)).isoformat(), "session_type_id": type_id}
        return [slot.starts_at for slot in (await list_bookable(db, house.client, SlotQuery(**query))).slots]

    async def book(start: datetime) -> Any:
        new = NewSession(session_type_id=type_id, starts_at=start.isoformat())
        return await book_session(outbox, house.client, new)

    starts = await offered()
    for pick in picks if starts else ():
        session = await book(starts[pick % len(starts)])
        await change_session(outbox, house.coach, session.id, SessionChanges(status="cancelled"))
        assert await offered() == starts
    for start in (first + place * QUARTER for place in others):
        if start not in starts:
            with pytest.raises(Conflict) as refused:
                await book(start)
            assert refused.value.code in ("SLOT_UNAVAILABLE", "SLOT_TAKEN")


async def _fill(outbox: Outbox, house: House, start: datetime) -> None:
    """A session that stands in the coach's calendar, unless another does there."""
    new = NewSession(client_id=house.client_id, starts_at=start.isoformat(), duration_minutes=45)
    with suppress(Conflict):
        await book_session(outbox, house.coach, new)
