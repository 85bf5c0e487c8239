"""Reminders of sessions, derived from their current start each minute: no plan is kept that could grow stale.

A reminder is due at its rule's time before the start. In quiet hours it waits for their end, unless that is too late
to be of use: then it comes before they begin. It is not sent at or after the start, nor to who booked, or whose session
was moved, later than it was due; of several that are due only the last is. What was sent is kept by session,
recipient, rule and start, in the transaction of the sending, so nothing is sent twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.db import Connection, Row
from wellio.events import Event, EventType
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox
from wellio.practice.reminder_rules import DEFAULT_RULES
from wellio.practice.wall_clock import instant_of, local_date

DAY = timedelta(days=1)
# A reminder that comes later than so long before the start is of no use.
USEFUL_BEFORE = timedelta(minutes=15)
# So long before quiet hours begin, what would fall into them uselessly is due.
AHEAD = timedelta(minutes=15)
BATCH = 200

# Each rule of each session to come for each recipient that was not sent: those due, and of who has quiet hours also
# what may be due earlier for that reason. $2: the default rules. `since`: since when the start is known.
LIST_REMINDABLE = """
select s.practice_id, s.id as session_id, s.starts_at, s.coach_id, s.client_id as only_client_id, r.minutes_before,
       who.recipient_id, who.user_id, who.client_id, who.email, coalesce(who.timezone, p.timezone) as timezone,
       greatest(who.since, (select max(m.moved_at) from session_moves m
                            where m.practice_id = s.practice_id and m.session_id = s.id)) as since,
       r.by_mail and coalesce(f.by_mail, true) as by_mail, r.in_app and coalesce(f.in_app, true) as in_app,
       f.quiet_from, f.quiet_to
from sessions s
join practices p on p.id = s.practice_id
left join reminder_rules own on own.practice_id = s.practice_id
cross join lateral jsonb_to_recordset(coalesce(own.rules, $2::jsonb))
    r (minutes_before integer, to_clients boolean, to_coaches boolean, by_mail boolean, in_app boolean)
cross join lateral (
    select u.id as recipient_id, u.id as user_id, null::uuid as client_id, u.email, u.timezone, s.created_at as since
    from users u
    where r.to_coaches and u.practice_id = s.practice_id and u.id = s.coach_id and u.status = 'active'
    union all
    select c.id, u.id, c.id, coalesce(u.email, c.email), coalesce(u.timezone, c.timezone), sp.booked_at
    from session_participants sp
    join clients c on c.practice_id = sp.practice_id and c.id = sp.client_id
    left join users u on u.practice_id = c.practice_id and u.id = c.user_id
    where r.to_clients and sp.practice_id = s.practice_id and sp.session_id = s.id and sp.status = 'booked'
      and coalesce(u.status, 'active') = 'active'
) who
left join reminder_preferences f on f.practice_id = s.practice_id and f.user_id = who.user_id
where s.status = 'scheduled' and s.starts_at > $1 and s.starts_at <= $1 + interval '31 days'
  and s.starts_at - make_interval(mins => r.minutes_before)
      <= $1 + case when f.quiet_from is null then interval '0' else interval '1 day' end
  and not exists (
      select from reminders_sent d
      where d.practice_id = s.practice_id and d.session_id = s.id and d.recipient_id = who.recipient_id
        and d.minutes_before = r.minutes_before and d.starts_at = s.starts_at)
order by s.starts_at, s.id, who.recipient_id, r.minutes_before
"""

# Only of what still is so: who moves or cancels a session meanwhile comes before or after this, never between.
CLAIM_REMINDERS = """
insert into reminders_sent (practice_id, session_id, recipient_id, minutes_before, starts_at)
select s.practice_id, s.id, d.recipient_id, d.minutes_before, s.starts_at
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::timestamptz[])
     d (practice_id, session_id, recipient_id, minutes_before, starts_at)
join (select practice_id, id, starts_at from sessions
      where id = any($2::uuid[]) and status = 'scheduled' for share) s
  on s.practice_id = d.practice_id and s.id = d.session_id and s.starts_at = d.starts_at
where s.starts_at > $6
on conflict on constraint reminders_sent_pkey do nothing
returning session_id, recipient_id, minutes_before
"""

DELETE_OLD_REMINDERS = "delete from reminders_sent where starts_at < now() - make_interval(days => $1)"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Wall times in `zone`, half-open; over midnight when it ends before it begins."""

    begin: time
    end: time
    zone: ZoneInfo

    def around(self, instant: datetime) -> tuple[datetime, datetime] | None:
        """The quiet hours that hold the instant."""
        for day in (local_date(self.zone, instant) - DAY, local_date(self.zone, instant)):
            last = day + DAY if self.end <= self.begin else day
            begin, end = instant_of(self.zone, day, self.begin), instant_of(self.zone, last, self.end)
            if begin <= instant < end:
                return begin, end
        return None


def due_at(starts_at: datetime, minutes_before: int, quiet: Quiet | None) -> datetime:
    """When to send it. Before quiet hours it is due from AHEAD of them until they begin."""
    point = starts_at - timedelta(minutes=minutes_before)
    held = quiet.around(point) if quiet else None
    if held is None:
        return point
    begin, end = held
    return end if end <= starts_at - USEFUL_BEFORE else begin - AHEAD


def is_due(now: datetime, *, starts_at: datetime, minutes_before: int, since: datetime, quiet: Quiet | None) -> bool:
    point, due = starts_at - timedelta(minutes=minutes_before), due_at(starts_at, minutes_before, quiet)
    if quiet is not None and quiet.around(now):
        return False
    # Known only when it was to be sent ahead already, but while it still can be: better late than in the night.
    known = since <= due or (due < point and since < due + AHEAD)
    return known and due <= now < starts_at


async def send_due_reminders(outbox: Outbox, now: datetime) -> int:
    """How many were sent. Each batch with its keys in one transaction."""
    defaults = [rule.model_dump() for rule in DEFAULT_RULES]
    rows = await outbox.db.fetch(LIST_REMINDABLE, now, defaults)
    due = [row for row in rows if (row["by_mail"] or row["in_app"]) and _row_is_due(row, now)]
    sent = 0
    for first in range(0, len(due), BATCH):
        sent += await _send(outbox, due[first : first + BATCH], now)
    return sent


def _row_is_due(row: Row, now: datetime) -> bool:
    quiet = None
    if row["quiet_from"] is not None:
        quiet = Quiet(row["quiet_from"], row["quiet_to"], ZoneInfo(row["timezone"]))
    return is_due(
        now, starts_at=row["starts_at"], minutes_before=row["minutes_before"], since=row["since"], quiet=quiet
    )


async def _send(outbox: Outbox, due: Sequence[Row], now: datetime) -> int:
    names = ("practice_id", "session_id", "recipient_id", "minutes_before", "starts_at")
    columns = [[row[name] for row in due] for name in names]
    async with outbox.transaction() as tx:
        claimed = {tuple(row) for row in await tx.connection.fetch(CLAIM_REMINDERS, *columns, now)}
        rows = [row for row in due if (row["session_id"], row["recipient_id"], row["minutes_before"]) in claimed]
        # Who is late by several rules' times is reminded once: the last one says it all.
        latest: Mapping[tuple[UUID, UUID], Row] = {(r["session_id"], r["recipient_id"]): r for r in reversed(rows)}
        for row in latest.values():
            if row["by_mail"] and row["email"]:
                await _mail(tx.connection, row)
            if row["in_app"] and row["user_id"]:
                tx.record(_event(row))
    return len(latest)


async def _mail(connection: Connection, row: Row) -> None:
    await queue_mail(
        connection,
        MailKind.SESSION_REMINDER,
        row["email"],
        practice_id=row["practice_id"],
        user_id=row["user_id"],
        data={
            "session_ids": [str(row["session_id"])],
            "sequence": None,
            "client_id": str(row["client_id"]) if row["client_id"] else None,
            "starts_at": row["starts_at"],
        },
    )


def _event(row: Row) -> Event:
    return Event(
        type=EventType.REMINDER_DUE,
        practice_id=row["practice_id"],
        client_id=row["client_id"] or row["only_client_id"],
        subject_id=row["session_id"],
        payload={
            "user_id": row["user_id"],
            "starts_at": row["starts_at"],
            "minutes_before": row["minutes_before"],
            "timezone": row["timezone"],
        },
    )
