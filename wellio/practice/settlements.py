"""Settlements: what a session costs its clients, made to agree with what has become of it.

Booking uses a credit, if there is one that is good for the session. Who came, missed it, or cancelled too late without
one is charged the session's price. Who cancelled in time, or whose session the coach cancelled, has the credit back.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from wellio.db import Connection, Row
from wellio.outbox import insert_events
from wellio.practice.charges import ChargeEntry, Kind, enter_charges
from wellio.practice.credit_lots import LotEntry, enter_credits

# What places cost by now: the charge that stands, and the lot of the credit that is used.
LIST_TO_SETTLE = """
select p.session_id, p.client_id, p.status, s.price_minor, s.currency, h.id as charge_id,
       h.amount_minor as charged_minor, h.currency as charged_currency, h.kind as charged_kind, u.lot_id, u.used
from session_participants p
join sessions s on s.practice_id = p.practice_id and s.id = p.session_id
left join charges h on h.practice_id = p.practice_id and h.session_id = p.session_id and h.client_id = p.client_id
  and not exists (select from charges v where v.charge_id = h.id)
left join lateral (
    select e.lot_id, -sum(e.amount)::integer as used
    from credit_entries e
    where e.practice_id = p.practice_id and e.session_id = p.session_id and e.client_id = p.client_id
    group by e.lot_id
    having sum(e.amount) < 0
) u on true
where p.practice_id = $1 and p.session_id = any($2::uuid[]) and ($3::uuid is null or p.client_id = $3)
order by p.client_id, p.session_id
"""

LOCK_PARTICIPANTS = """
select c.id
from clients c
where c.practice_id = $1
  and c.id in (select p.client_id from session_participants p
               where p.practice_id = $1 and p.session_id = any($2::uuid[]))
  and ($3::uuid is null or c.id = $3)
order by c.id
for no key update
"""

# What a participant's place is billed as.
BILLED: dict[str, Kind] = {"attended": "session", "no_show": "session", "late_cancelled": "late_cancellation"}


async def settle_sessions(
    connection: Connection, practice_id: UUID, session_ids: Sequence[UUID], *, client_id: UUID | None = None
) -> None:
    """To be called in the transaction that has changed the status of sessions, or a participant's (`client_id`).

    Harmless when done twice: what is as it should be stays. Tells of what it does.
    """
    await connection.execute(LOCK_PARTICIPANTS, practice_id, session_ids, client_id)
    rows = await connection.fetch(LIST_TO_SETTLE, practice_id, session_ids, client_id)
    back = [_return(row) for row in rows if row["lot_id"] and row["status"] == "cancelled"]
    now = datetime.now(UTC)
    voids = [_void(row, now) for row in rows if row["charge_id"] and BILLED.get(row["status"]) != row["charged_kind"]]
    new = [_charge(row, now) for row in rows if _owes(row)]
    returned = await enter_credits(connection, practice_id, None, back)
    _, charged = await enter_charges(connection, practice_id, None, [*voids, *new])
    await insert_events(connection, [*returned, *charged])


def _owes(row: Row) -> bool:
    """Whether a charge has to be made. One of the other kind is voided beforehand."""
    kind = BILLED.get(row["status"])
    return kind is not None and kind != row["charged_kind"] and row["price_minor"] > 0 and not row["lot_id"]


def _charge(row: Row, now: datetime) -> ChargeEntry:
    return ChargeEntry(
        client_id=row["client_id"],
        kind=BILLED[row["status"]],
        amount_minor=row["price_minor"],
        currency=row["currency"],
        charged_at=now,
        session_id=row["session_id"],
    )


def _void(row: Row, now: datetime) -> ChargeEntry:
    return ChargeEntry(
        client_id=row["client_id"],
        kind=row["charged_kind"],
        amount_minor=-row["charged_minor"],
        currency=row["charged_currency"],
        charged_at=now,
        charge_id=row["charge_id"],
    )


def _return(row: Row) -> LotEntry:
    return LotEntry(
        client_id=row["client_id"],
        lot_id=row["lot_id"],
        amount=row["used"],
        reason="returned",
        session_id=row["session_id"],
    )
