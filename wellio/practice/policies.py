"""Booking policies: how a practice's clients may change what they booked, and how a waitlist moves."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database
from wellio.errors import PreconditionFailed
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.values import Input, Line, changed_values

GET_POLICY = """
select cancel_notice_minutes, reschedule_notice_minutes, late_cancel, max_reschedules, hold_minutes, waitlist,
       waitlist_offer_minutes, auto_no_show_minutes, contact, version
from booking_policies
where practice_id = $1
"""

# Whoever changes the policy waits here, also while there is no row of it yet.
LOCK_PRACTICE = "select id from practices where id = $1 for no key update"

UPSERT_POLICY = """
insert into booking_policies (practice_id, cancel_notice_minutes, reschedule_notice_minutes, late_cancel,
                              max_reschedules, hold_minutes, waitlist, waitlist_offer_minutes, auto_no_show_minutes,
                              contact)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (practice_id) do update
set cancel_notice_minutes = excluded.cancel_notice_minutes,
    reschedule_notice_minutes = excluded.reschedule_notice_minutes, late_cancel = excluded.late_cancel,
    max_reschedules = excluded.max_reschedules, hold_minutes = excluded.hold_minutes, waitlist = excluded.waitlist,
    waitlist_offer_minutes = excluded.waitlist_offer_minutes, auto_no_show_minutes = excluded.auto_no_show_minutes,
    contact = excluded.contact, version = booking_policies.version + 1, updated_at = now()
"""

LateCancel = Literal["block", "late"]
Waitlist = Literal["offer", "auto"]
Notice = Annotated[int, Field(ge=0, le=525_600, strict=True)]
FIELDS = (
    "cancel_notice_minutes", "reschedule_notice_minutes", "late_cancel", "max_reschedules", "hold_minutes", "waitlist",
    "waitlist_offer_minutes", "auto_no_show_minutes", "contact",
)  # fmt: skip
CLEARABLE = frozenset({"max_reschedules", "auto_no_show_minutes"})


class BookingPolicyChanges(Input):
    """Only the named fields change. `null` for `max_reschedules`: any number; for `auto_no_show_minutes`: never."""

    cancel_notice_minutes: Notice | None = None
    reschedule_notice_minutes: Notice | None = None
    late_cancel: LateCancel | None = None
    max_reschedules: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = None
    hold_minutes: Annotated[int, Field(ge=1, le=1440, strict=True)] | None = None
    waitlist: Waitlist | None = None
    waitlist_offer_minutes: Annotated[int, Field(ge=1, le=10_080, strict=True)] | None = None
    auto_no_show_minutes: Annotated[int, Field(ge=0, le=10_080, strict=True)] | None = None
    contact: Line | None = None


@dataclass(frozen=True, slots=True)
class BookingPolicy:
    """The defaults are those of a practice that has set nothing (`version` 0), as in the schema.

    Until `…_notice_minutes` before the start a client is in time, at that very moment too. `late_cancel`: what becomes
    of a later cancellation: refused (block), or late and billable. `max_reschedules`: of one session, by its client.
    `waitlist`: whether a free place is offered for `waitlist_offer_minutes`, or taken for the first who waits.
    `auto_no_show_minutes`: after the end of a session that nobody joined. `contact`: what a client may do who is late.
    """

    cancel_notice_minutes: int = 1440
    reschedule_notice_minutes: int = 1440
    late_cancel: LateCancel = "late"
    max_reschedules: int | None = None
    hold_minutes: int = 15
    waitlist: Waitlist = "offer"
    waitlist_offer_minutes: int = 120
    auto_no_show_minutes: int | None = None
    contact: str = ""
    version: int = 0


async def get_policy(db: Connection | Database, practice_id: UUID) -> BookingPolicy:
    row = await db.fetchrow(GET_POLICY, practice_id)
    return BookingPolicy(**dict(row)) if row else BookingPolicy()


async def show_policy(db: Database, actor: Actor) -> BookingPolicy:
    """What of it concerns the actor: clients are not told when they count as missed without anybody's doing."""
    policy = await get_policy(db, actor.practice_id)
    return replace(policy, auto_no_show_minutes=None) if actor.role is Role.CLIENT else policy


async def change_policy(
    outbox: Outbox, actor: Actor, changes: BookingPolicyChanges, *, if_version: int | None = None
) -> BookingPolicy:
    """Raises Invalid and PreconditionFailed."""
    actor.must_be(frozenset({Role.OWNER}))
    values = changed_values(changes, clearable=CLEARABLE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_PRACTICE, actor.practice_id)
        before = await get_policy(tx.connection, actor.practice_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The booking policy was changed since you read it; read it again.")
        after = replace(before, **values)
        if after == before:
            return before
        await tx.connection.execute(UPSERT_POLICY, actor.practice_id, *[getattr(after, name) for name in FIELDS])
        tx.record(_changed(actor, sorted(values)))
        return await get_policy(tx.connection, actor.practice_id)


def _changed(actor: Actor, fields: list[str]) -> Event:
    return Event(
        type=EventType.BOOKING_POLICY_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=actor.practice_id,
        payload={"changed": fields},
    )
