"""A made-up practice for a first look: eight months of sessions and payments, some clients drifting away.

Loaded once, in one transaction, with the same writes and events that the real actions make. The people are
invented, and the same each time.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.accounts.actors import Actor, Role
from wellio.accounts.passwords import Passwords
from wellio.accounts.practices import Practice, insert_practice, registered_event
from wellio.accounts.users import User, find_credentials, insert_user
from wellio.chat.messages import MessageWriter, NewMessage
from wellio.chat.openings import NewConversation, create_conversation
from wellio.config import Config
from wellio.db import Connection, open_database
from wellio.errors import Conflict
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox, Transaction
from wellio.practice.charges import ChargeEntry, enter_charges
from wellio.practice.clients import touch_clients
from wellio.practice.payments import PaymentEntry, enter_payments
from wellio.practice.session_types import NewSessionType, create_session_type

PASSWORD = "wellio demo practice"  # noqa: S105 - printed by bin/up
ZONE = ZoneInfo("Europe/Berlin")
WEEKS_BEFORE, WEEKS_AFTER = 36, 2
PRICE_MINOR = 6500
# Missed sessions are owed as well (wellio/practice/settlements.py), and nobody has paid for them yet.
BILLED = frozenset({"completed", "no_show"})
SEED = 20261122

OWNER = ("owner", "owner@wellio.example", "Marta Vogel")
COACH = ("coach", "coach@wellio.example", "Jonas Brandt")
CLIENT = ("client", "client@wellio.example", "Lena Fischer")

# name, sessions a fortnight, how often they miss, weeks since they began to stay away (None: they come)
PEOPLE: tuple[tuple[str, str, float, float, float | None], ...] = (
    ("Lena", "Fischer", 2, 0.02, None),
    ("Paul", "Weber", 2, 0.05, None),
    ("Amira", "Haddad", 4, 0.03, None),
    ("Tom", "Richter", 1, 0.10, None),
    ("Sofia", "Marino", 2, 0.05, 3.2),
    ("Emil", "Novak", 2, 0.08, None),
    ("Hanna", "Berg", 1, 0.05, None),
    ("David", "Okafor", 2, 0.04, None),
    ("Clara", "Jansen", 2, 0.15, 5.5),
    ("Noah", "Keller", 4, 0.02, None),
    ("Mia", "Lindgren", 1, 0.12, 8.0),
    ("Felix", "Braun", 2, 0.06, None),
    ("Ines", "Duarte", 2, 0.03, None),
    ("Oskar", "Lange", 1, 0.20, 13.0),
    ("Yara", "Nassar", 2, 0.05, None),
    ("Ben", "Schulz", 2, 0.10, 2.4),
    ("Greta", "Holm", 1, 0.04, None),
    ("Luca", "Ferri", 2, 0.07, 20.0),
    ("Nora", "Klein", 4, 0.05, None),
    ("Samuel", "Adeyemi", 2, 0.04, None),
    ("Ida", "Sommer", 1, 0.08, 26.0),
    ("Jan", "Kowalski", 2, 0.06, None),
    ("Eva", "Lorenz", 2, 0.03, None),
    ("Mats", "Olsen", 1, 0.10, None),
)

INSERT_CLIENTS = """
insert into clients (id, practice_id, coach_id, user_id, first_name, last_name, email, status, timezone, created_at)
select t.id, $1, t.coach_id, t.user_id, t.first_name, t.last_name, t.email, t.status, 'Europe/Berlin', $2
from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[])
     t (id, coach_id, user_id, first_name, last_name, email, status)
"""

INSERT_SESSIONS = """
insert into sessions (id, practice_id, coach_id, client_id, title, status, starts_at, ends_at, timezone, price_minor,
                      currency)
select t.id, $1, t.coach_id, t.client_id, 'Coaching', t.status, t.starts_at, t.starts_at + interval '50 minutes',
       'Europe/Berlin', $2, 'EUR'
from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[])
     t (id, coach_id, client_id, status, starts_at)
"""


@dataclass(frozen=True, slots=True)
class _Client:
    id: UUID
    coach: User
    first_name: str
    last_name: str
    per_fortnight: float
    misses: float
    away_weeks: float | None
    user: User | None
    slot: tuple[int, int]  # weekday (Monday 0) and hour, their own with that coach

    @property
    def status(self) -> str:
        return "churned" if self.away_weeks and self.away_weeks > 15 else "active"


@dataclass(frozen=True, slots=True)
class _Session:
    id: UUID
    client: _Client
    status: str
    starts_at: datetime
    booked_at: datetime


async def load_demo(config: Config) -> tuple[tuple[str, str, str], ...]:
    """Loads the practice unless it is there; returns (role, e-mail, password) of its log-ins."""
    assert config.database_url
    db = await open_database(config.database_url, min_size=1, max_size=4)
    try:
        if await find_credentials(db, OWNER[1]) is None:
            await _load(Outbox(db))
    except Conflict:
        pass  # another process was quicker
    finally:
        await db.close()
    return tuple((role, email, PASSWORD) for role, email, _ in (OWNER, COACH, CLIENT))


async def _load(outbox: Outbox) -> None:
    password_hash = await Passwords().hash(PASSWORD)
    practice = Practice(uuid7(), "Northside Coaching", ZONE.key, "EUR")
    owner, coach, client_user = (_user(practice, *who) for who in (OWNER, COACH, CLIENT))
    now = datetime.now(UTC)
    clients = _clients(owner, coach, client_user)
    sessions = sorted(_sessions(clients, now), key=lambda s: (s.starts_at, s.id))
    async with outbox.transaction() as tx:
        await insert_practice(tx.connection, practice)
        for user in (owner, coach, client_user):
            await insert_user(tx.connection, user, password_hash=password_hash)
        begin = now - timedelta(weeks=WEEKS_BEFORE)
        await _insert_clients(tx.connection, practice, clients, begin)
        await _insert_sessions(tx.connection, practice, sessions)
        await _record_history(tx, practice, owner, clients, sessions, begin=begin, now=now)
    for user in (owner, coach):
        await _offer(outbox, Actor(user.id, practice.id, user.role, uuid7(), user.name))
    await _chat(outbox, practice, coach, client_user)


async def _offer(outbox: Outbox, actor: Actor) -> None:
    """What can be booked. Hours the coach sets themself: until then they book freely, as the tour does."""
    for name, minutes, price_minor in (("Coaching", 50, PRICE_MINOR), ("Short call", 20, 2500)):
        new = NewSessionType(name=name, duration_minutes=minutes, price_minor=price_minor, coach_id=actor.user_id)
        await create_session_type(outbox, actor, new)


def _user(practice: Practice, role: str, email: str, name: str) -> User:
    return User(uuid7(), practice.id, Role(role), name, email, practice.timezone, email_verified=True)


def _clients(owner: User, coach: User, client_user: User) -> list[_Client]:
    """The first sixteen are the coach's, the others the owner's; the very first can log in."""
    hours = (8, 9, 10, 11, 13, 14, 15, 16)
    slots = [(weekday, hour) for hour, weekday in product(hours, range(5))]
    return [
        _Client(uuid7(), coach if i < 16 else owner, *person, user=client_user if i == 0 else None, slot=slots[i])
        for i, person in enumerate(PEOPLE)
    ]


def _sessions(clients: Sequence[_Client], now: datetime) -> Iterator[_Session]:
    rng = random.Random(SEED)  # noqa: S311 - a demo, not a secret
    monday = now.astimezone(ZONE).date() - timedelta(days=now.astimezone(ZONE).weekday())
    for client, week in product(clients, range(-WEEKS_BEFORE, WEEKS_AFTER)):
        if client.away_weeks is not None and -week < client.away_weeks:
            continue
        for day in _days(client, monday + timedelta(weeks=week), week, rng):
            yield _session(client, day, now, rng)


def _days(client: _Client, monday: date, week: int, rng: random.Random) -> Iterator[date]:
    """The days of this week on which the client has a session."""
    if client.per_fortnight < 2 and week % 2:
        return
    if week < 0 and rng.random() < 0.08:
        return  # a holiday, a cold
    yield monday + timedelta(days=client.slot[0])
    if client.per_fortnight > 2:
        yield monday + timedelta(days=(client.slot[0] + 3) % 5)


def _session(client: _Client, day: date, now: datetime, rng: random.Random) -> _Session:
    # A second session of the week, on another weekday, takes the evening: nobody else's slot.
    hour = client.slot[1] if day.weekday() == client.slot[0] else 17 + client.slot[1] % 4
    starts_at = datetime.combine(day, time(hour), ZONE).astimezone(UTC)
    missed = rng.random() < client.misses
    status = "scheduled" if starts_at > now - timedelta(hours=1) else "no_show" if missed else "completed"
    booked_at = min(starts_at - timedelta(days=rng.randint(2, 9)), now - timedelta(minutes=5))
    return _Session(uuid7(), client, status, starts_at, booked_at)


async def _insert_clients(
    connection: Connection, practice: Practice, clients: Sequence[_Client], begin: datetime
) -> None:
    columns: list[list[Any]] = [
        [c.id for c in clients],
        [c.coach.id for c in clients],
        [c.user.id if c.user else None for c in clients],
        [c.first_name for c in clients],
        [c.last_name for c in clients],
        [f"{c.first_name}.{c.last_name}@clients.wellio.example".lower() for c in clients],
        [c.status for c in clients],
    ]
    await connection.execute(INSERT_CLIENTS, practice.id, begin, *columns)


async def _insert_sessions(connection: Connection, practice: Practice, sessions: Sequence[_Session]) -> None:
    columns: list[list[Any]] = [
        [s.id for s in sessions],
        [s.client.coach.id for s in sessions],
        [s.client.id for s in sessions],
        [s.status for s in sessions],
        [s.starts_at for s in sessions],
    ]
    await connection.execute(INSERT_SESSIONS, practice.id, PRICE_MINOR, *columns)


async def _record_history(
    tx: Transaction,
    practice: Practice,
    owner: User,
    clients: Sequence[_Client],
    sessions: Sequence[_Session],
    *,
    begin: datetime,
    now: datetime,
) -> None:
    """The events of those months, in the order in which they happened; charges and payments follow sessions."""
    kept = [s for s in sessions if s.status == "completed"]
    ledger = [
        PaymentEntry(s.client.id, "payment", PRICE_MINOR, "EUR", min(s.starts_at + timedelta(hours=2), now))
        for s in kept
    ]
    owed = [_charge(s, min(s.starts_at + timedelta(hours=1), now)) for s in sessions if s.status in BILLED]
    _, charges = await enter_charges(tx.connection, practice.id, None, owed)
    _, payments = await enter_payments(tx.connection, practice.id, owner.id, ledger)
    seen = {s.client.id: s.starts_at for s in kept}  # in time order: the last one stays
    await touch_clients(tx.connection, practice.id, seen)
    created = [
        Event(
            type=EventType.CLIENT_CREATED, practice_id=practice.id, client_id=c.id, subject_id=c.id, occurred_at=begin
        )
        for c in clients
    ]
    events = [*created, *charges, *payments, *(e for s in sessions for e in _session_events(practice, s))]
    tx.record(registered_event(practice, owner), *sorted(events, key=lambda e: (e.occurred_at, e.id)))


def _charge(session: _Session, charged_at: datetime) -> ChargeEntry:
    return ChargeEntry(
        client_id=session.client.id,
        kind="session",
        amount_minor=PRICE_MINOR,
        currency="EUR",
        charged_at=charged_at,
        session_id=session.id,
    )


def _session_events(practice: Practice, session: _Session) -> Iterator[Event]:
    payload = {
        "by": "coach",
        "status": "scheduled",
        "coach_id": session.client.coach.id,
        "starts_at": session.starts_at,
        "ends_at": session.starts_at + timedelta(minutes=50),
        "price_minor": PRICE_MINOR,
    }
    about: dict[str, Any] = {
        "practice_id": practice.id,
        "client_id": session.client.id,
        "subject_id": session.id,
        "actor_id": session.client.coach.id,
    }
    yield Event(type=EventType.SESSION_BOOKED, occurred_at=session.booked_at, payload=payload, **about)
    outcome = {"completed": EventType.SESSION_COMPLETED, "no_show": EventType.SESSION_MISSED}.get(session.status)
    if outcome:
        ended = session.starts_at + timedelta(minutes=50)
        yield Event(type=outcome, occurred_at=ended, payload=payload | {"status": session.status}, **about)


async def _chat(outbox: Outbox, practice: Practice, coach: User, client: User) -> None:
    """A short conversation, sent as people send."""
    writer = MessageWriter(outbox, Live(), Metrics())
    await writer.start()
    try:
        coach_actor, client_actor = (Actor(u.id, practice.id, u.role, uuid7(), u.name) for u in (coach, client))
        conversation = await create_conversation(
            outbox, Live(), coach_actor, NewConversation(kind="direct", member_ids=(client.id,))
        )
        for actor, body in (
            (coach_actor, "Good session on Monday! How did the evening walks go?"),
            (client_actor, "Three out of four. Sleeping better already."),
            (coach_actor, "That is a good week. Shall we keep the same goal?"),
            (client_actor, "Yes, and could we move next week to the afternoon?"),
        ):
            await writer.send(actor, NewMessage(conversation_id=conversation.id, client_message_id=uuid7(), body=body))
    finally:
        await writer.stop()
