"""Recommended times: the bookable ones, by how likely the client comes, each with why and of how many outcomes.

One recommendation in twenty shows a time drawn by lot first, and every one is recorded with how likely its first time
was to be it, so that it can be checked later whether following the others is worth it (Horvitz & Thompson 1952).
"""

import asyncio
import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Database
from wellio.ids import uuid7
from wellio.learning.attendance import MIN_OUTCOMES, Attendance
from wellio.learning.attendance_facts import booking_at
from wellio.learning.attendance_store import load_attendance
from wellio.learning.scheduling import Candidate, Choice, Effect, Ranked, Ranking, choose, rank
from wellio.practice.bookable import Bookable, Slot, SlotQuery, find_bookable
from wellio.practice.slots import Interval
from wellio.values import Input, Moment, Zone

MAX_SLOTS = 50
# Half an hour is of use to somebody; less is not.
USABLE = timedelta(minutes=30)
SHOWN_POINTS = 0.005
WEEKDAY_NAMES = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
BAND_NAMES = ("before 11:00", "from 11:00 to 14:00", "from 14:00 to 17:00", "from 17:00 on")

GET_ZONE = "select timezone from practices where id = $1"

INSERT_CHOICE = """
insert into slot_choices (id, practice_id, question, coach_id, client_id, session_type_id, starts_at, probability,
                          offered, propensity, drawn)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict on constraint slot_choices_once do nothing
"""

KEEP_DAYS = 400

# So many of a practice's at once.
DELETE_OLD_CHOICES = """
delete from slot_choices
where id in (
    select s.id
    from slot_choices s
    where s.practice_id = $1 and s.created_at < now() - make_interval(days => $2)
    limit $3)
"""


class OptimalQuery(Input):
    """Starts in [from, to), at most 62 days, of the times that can be booked: see GET /availability/slots.

    Without a `client_id` the times are ranked for a client of whom nothing is known.
    """

    from_: Moment = Field(alias="from")
    to: Moment
    coach_id: UUID | None = None
    client_id: UUID | None = None
    session_type_id: UUID | None = None
    duration_minutes: Annotated[int, Field(ge=5, le=1440)] | None = None
    timezone: Zone | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = 10


@dataclass(frozen=True, slots=True)
class Why:
    """`text` has the figures; `outcomes`: of how many sessions they are."""

    code: Literal["weekday", "hours", "lead", "gap", "no_difference", "drawn"]
    text: str
    outcomes: int


@dataclass(frozen=True, slots=True)
class OptimalSlot:
    """`probability`: that the client comes; `uncertainty`: one standard deviation of what sets the time apart.

    `expected_minor`: the price times the probability, less what a gap costs; null without a price.
    """

    starts_at: datetime
    ends_at: datetime
    local: str
    probability: float
    uncertainty: float
    expected_minor: int | None
    reasons: Sequence[Why]


@dataclass(frozen=True, slots=True)
class OptimalScheduling:
    """`outcomes`: sessions of the client that were learnt; `learnt`: of everybody. `spread`: between the most and the
    least likely time offered; 0: nothing sets them apart. `offered`: how many could be booked. `mean_probability`: of
    all of them."""

    coach_id: UUID
    client_id: UUID | None
    timezone: str
    duration_minutes: int
    status: Literal["ok", "not_enough_history"]
    outcomes: int
    learnt: int
    mean_probability: float | None
    spread: float
    offered: int
    slots: Sequence[OptimalSlot]


async def recommend_slots(db: Database, actor: Actor, query: OptimalQuery) -> OptimalScheduling:
    """Raises Invalid for a coach, client or type out of the actor's reach."""
    actor.must_be(STAFF)
    now = datetime.now(UTC)
    asked = query.model_dump(mode="json", by_alias=True, exclude={"limit"}, exclude_none=True)
    async with db.connection() as connection:
        found = await find_bookable(connection, actor, SlotQuery.model_validate(asked), now)
        model = await load_attendance(connection, actor.practice_id, found.client_id)
        zone = ZoneInfo(await connection.fetchval(GET_ZONE, actor.practice_id))
    # 700 slots take some 20 ms.
    ranking = await asyncio.to_thread(_rank, model, found, actor.practice_id, zone, now)
    if not ranking.ranked:
        return _answer(found, model, ranking, ())
    choice = await _choose(db, actor, found, ranking, now)
    order = [ranking.ranked[choice.first], *(one for i, one in enumerate(ranking.ranked) if i != choice.first)]
    slots = [_slot(found, ranking, one, drawn=choice.drawn and not i) for i, one in enumerate(order[: query.limit])]
    return _answer(found, model, ranking, slots)


def _rank(model: Attendance, found: Bookable, practice: UUID, zone: ZoneInfo, now: datetime) -> Ranking:
    session_type = found.session_type
    told = {
        "minutes": float(found.offered.duration_minutes),
        "group": bool(session_type and session_type.kind == "group"),
        "priced": bool(session_type and session_type.price_minor),
    }
    client = found.client_id or practice  # nobody's history
    candidates = [
        Candidate(booking_at(practice, client, zone, now, slot.starts_at, **told), _gaps(found, slot))
        for slot in found.offered.slots
    ]
    return rank(model, candidates)


def _gaps(found: Bookable, slot: Slot) -> int:
    """How many stretches too short for anything the slot would leave beside itself."""
    shortest = min(USABLE, slot.ends_at - slot.starts_at)
    begin = slot.starts_at - timedelta(minutes=found.buffers.before)
    end = slot.ends_at + timedelta(minutes=found.buffers.after)
    stretch = _stretch(found.free, slot.starts_at)
    if stretch is None:
        return 0
    return sum(timedelta(0) < left < shortest for left in (begin - stretch[0], stretch[1] - end))


def _stretch(free: Sequence[Interval], at: datetime) -> Interval | None:
    """`free` is disjoint and in order."""
    found = bisect_right(free, at, key=itemgetter(0)) - 1
    return free[found] if found >= 0 and at < free[found][1] else None


async def _choose(db: Database, actor: Actor, found: Bookable, ranking: Ranking, now: datetime) -> Choice:
    """By lot from the question and the day alone: asking again draws nothing else, and nobody can wish for it."""
    offered, type_id = found.offered, found.session_type.id if found.session_type else None
    slots = [slot.starts_at.isoformat() for slot in (offered.slots[0], offered.slots[-1])]
    about = [actor.practice_id, offered.coach_id, found.client_id, type_id, offered.duration_minutes, now.date()]
    question = hashlib.blake2b(repr([*map(str, about), *slots]).encode(), digest_size=16).digest()
    choice = choose(ranking, int.from_bytes(question[:8]))
    first = ranking.ranked[choice.first]
    async with db.transaction() as connection:
        await _record(connection, actor.practice_id, question, found, first, choice)
    return choice


async def _record(
    connection: Connection, practice_id: UUID, question: bytes, found: Bookable, first: Ranked, choice: Choice
) -> None:
    await connection.execute(
        INSERT_CHOICE,
        uuid7(),
        practice_id,
        question,
        found.offered.coach_id,
        found.client_id,
        found.session_type.id if found.session_type else None,
        found.offered.slots[first.place].starts_at,
        first.probability,
        len(found.offered.slots),
        choice.propensity,
        choice.drawn,
    )


def _answer(found: Bookable, model: Attendance, ranking: Ranking, slots: Sequence[OptimalSlot]) -> OptimalScheduling:
    offered = found.offered
    return OptimalScheduling(
        coach_id=offered.coach_id,
        client_id=found.client_id,
        timezone=offered.timezone,
        duration_minutes=offered.duration_minutes,
        status="ok" if model.n >= MIN_OUTCOMES else "not_enough_history",
        outcomes=ranking.outcomes,
        learnt=model.n,
        mean_probability=round(ranking.mean, 4) if slots else None,
        spread=round(ranking.spread, 4),
        offered=len(offered.slots),
        slots=slots,
    )


def _slot(found: Bookable, ranking: Ranking, one: Ranked, *, drawn: bool) -> OptimalSlot:
    slot, session_type = found.offered.slots[one.place], found.session_type
    price = session_type.price_minor if session_type else 0
    return OptimalSlot(
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        local=slot.local,
        probability=round(one.probability, 4),
        uncertainty=round(one.uncertainty, 4),
        expected_minor=round(price * one.score) if price else None,
        reasons=_reasons(ranking, one, drawn=drawn),
    )


def _reasons(ranking: Ranking, one: Ranked, *, drawn: bool) -> list[Why]:
    reasons = [Why("drawn", "Drawn by lot, to learn whether other times do as well.", 0)] if drawn else []
    booking = one.candidate.booking
    if abs(one.weekday_claimed) >= SHOWN_POINTS:
        reasons.append(_why("weekday", WEEKDAY_NAMES[booking.weekday], one.weekday, one.weekday_claimed))
    if abs(one.band_claimed) >= SHOWN_POINTS:
        reasons.append(_why("hours", BAND_NAMES[booking.band].capitalize(), one.band, one.band_claimed))
    if abs(one.lead_claimed) >= SHOWN_POINTS:
        points = f"{one.lead_claimed * 100.0:+.0f} points beside the other times"
        reasons.append(Why("lead", f"Booked {_ahead(round(booking.lead_days))}: {points}.", ranking.outcomes))
    if one.candidate.gaps:
        reasons.append(Why("gap", "Leaves a gap of less than half an hour that nobody could book.", 0))
    if not reasons:
        text = f"{one.probability * 100.0:.0f} % are expected; nothing certain sets this time apart from the others."
        reasons.append(Why("no_difference", text, ranking.outcomes))
    return reasons


def _ahead(days: int) -> str:
    return "for the day itself" if not days else "a day ahead" if days == 1 else f"{days} days ahead"


def _why(code: Literal["weekday", "hours"], name: str, effect: Effect, claimed: float) -> Why:
    text = f"{name}: {claimed * 100.0:+.0f} points beside other times"
    who = f"{effect.outcomes} sessions of this client, {effect.all_outcomes} of all"
    return Why(code, f"{text} ({who}).", effect.all_outcomes)
