"""Booking policies: how a practice's clients may change what they booked, and how a waitlist moves."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from wellio.db import Connection

GET_POLICY = """
select cancel_notice_minutes, reschedule_notice_minutes, late_cancel, max_reschedules, hold_minutes, waitlist,
       waitlist_offer_minutes, auto_no_show_minutes, contact, version
from booking_policies
where practice_id = $1
"""


@dataclass(frozen=True, slots=True)
class BookingPolicy:
    """The defaults are those of a practice that has set nothing (`version` 0), as in the schema.

    `late_cancel`: what becomes of a cancellation inside the notice, refused or late. `waitlist`: whether a free place
    is offered for `waitlist_offer_minutes`, or taken for the first who waits.
    """

    cancel_notice_minutes: int = 1440
    reschedule_notice_minutes: int = 1440
    late_cancel: Literal["block", "late"] = "late"
    max_reschedules: int | None = None
    hold_minutes: int = 15
    waitlist: Literal["offer", "auto"] = "offer"
    waitlist_offer_minutes: int = 120
    auto_no_show_minutes: int | None = None
    contact: str = ""
    version: int = 0


async def get_policy(connection: Connection, practice_id: UUID) -> BookingPolicy:
    row = await connection.fetchrow(GET_POLICY, practice_id)
    return BookingPolicy(**dict(row)) if row else BookingPolicy()
