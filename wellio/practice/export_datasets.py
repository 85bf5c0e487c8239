"""What can be exported: each dataset one statement, whose columns are the file's.

An owner's rows are the practice's; a coach's their own clients, with what is theirs, and their own sessions and
figures. Nothing sealed is among them, nor what people write to each other. Times are bounded by $4 (inclusive) and $5
(exclusive), null for no bound. Amounts are integer minor units of their currency.
"""

from collections.abc import Mapping
from typing import Literal

DatasetName = Literal[
    "clients", "sessions", "participants", "payments", "charges", "daily_figures", "daily_revenue", "predictions"
]

EXPORT_CLIENTS = """
select c.id, c.first_name, c.last_name, c.email, c.phone, c.status, c.tags, c.coach_id, u.name as coach_name,
       c.timezone, c.churn_band, c.last_activity_at, c.created_at, c.external_ref
from visible_clients($1, $2, $3) c
left join users u on u.practice_id = $1 and u.id = c.coach_id
where ($4::timestamptz is null or c.created_at >= $4) and ($5::timestamptz is null or c.created_at < $5)
order by c.created_at, c.id
"""

# The name only of a client whom the reader may see: a coach may have a session with a colleague's.
EXPORT_SESSIONS = """
select s.id, s.kind, s.status, s.starts_at, s.ends_at, s.timezone, s.coach_id, u.name as coach_name, s.client_id,
       c.first_name || ' ' || c.last_name as client_name, s.title, t.name as session_type, s.price_minor, s.currency,
       s.series_id, s.created_at, s.cancelled_at
from visible_sessions($1, $2, $3) s
join users u on u.practice_id = $1 and u.id = s.coach_id
left join session_types t on t.practice_id = $1 and t.id = s.session_type_id
left join clients c on c.practice_id = $1 and c.id = s.client_id and ($2 = 'owner' or c.coach_id = $3)
where ($4::timestamptz is null or s.starts_at >= $4) and ($5::timestamptz is null or s.starts_at < $5)
order by s.starts_at, s.id
"""

EXPORT_PARTICIPANTS = """
select p.session_id, p.client_id, c.first_name || ' ' || c.last_name as client_name, p.status, s.starts_at, s.ends_at,
       s.kind, s.coach_id, p.booked_at, p.joined_at, p.cancelled_at
from visible_sessions($1, $2, $3) s
join session_participants p on p.practice_id = $1 and p.session_id = s.id
left join clients c on c.practice_id = $1 and c.id = p.client_id and ($2 = 'owner' or c.coach_id = $3)
where ($4::timestamptz is null or s.starts_at >= $4) and ($5::timestamptz is null or s.starts_at < $5)
order by s.starts_at, s.id, p.client_id
"""

EXPORT_PAYMENTS = """
select p.id, p.client_id, c.first_name || ' ' || c.last_name as client_name, p.kind, p.amount_minor, p.net_minor,
       p.currency, p.paid_at, p.note, p.payment_id, p.created_at
from payments p
join visible_clients($1, $2, $3) c on c.id = p.client_id
where p.practice_id = $1
  and ($4::timestamptz is null or p.paid_at >= $4) and ($5::timestamptz is null or p.paid_at < $5)
order by p.paid_at, p.id
"""

EXPORT_CHARGES = """
select h.id, h.client_id, c.first_name || ' ' || c.last_name as client_name, h.kind, h.amount_minor, h.currency,
       h.charged_at, h.note, h.subscription_id, h.period_start, h.period_end, h.purchase_id, h.session_id, h.charge_id
from charges h
join visible_clients($1, $2, $3) c on c.id = h.client_id
where h.practice_id = $1
  and ($4::timestamptz is null or h.charged_at >= $4) and ($5::timestamptz is null or h.charged_at < $5)
order by h.charged_at, h.id
"""

EXPORT_DAILY_FIGURES = """
select f.day, f.coach_id, u.name as coach_name, f.total as sessions, f.open, f.completed, f.no_show, f.cancelled,
       f.late_cancelled, f.cancelled_by_coach, round(f.booked_seconds / 60)::bigint as booked_minutes, f.attended,
       f.missed, f.late, f.new_clients, cardinality(f.attended_by) as active_clients
from practices z
cross join lateral daily_between(
    z.id, z.timezone,
    coalesce(($4::timestamptz at time zone z.timezone)::date, date '1990-01-01'),
    coalesce(($5::timestamptz at time zone z.timezone)::date, date '2190-01-01')
) f
left join users u on u.practice_id = z.id and u.id = f.coach_id
where z.id = $1 and ($2 = 'owner' or f.coach_id = $3)
order by f.day, f.coach_id
"""

EXPORT_DAILY_REVENUE = """
select f.day, f.coach_id, u.name as coach_name, f.currency, f.paid_minor, f.refunded_minor,
       f.paid_minor - f.refunded_minor as net_minor
from practices z
cross join lateral daily_revenue_between(
    z.id, z.timezone,
    coalesce(($4::timestamptz at time zone z.timezone)::date, date '1990-01-01'),
    coalesce(($5::timestamptz at time zone z.timezone)::date, date '2190-01-01')
) f
left join users u on u.practice_id = z.id and u.id = f.coach_id
where z.id = $1 and ($2 = 'owner' or f.coach_id = $3)
order by f.day, f.coach_id, f.currency
"""

EXPORT_PREDICTIONS = """
select p.client_id, c.first_name || ' ' || c.last_name as client_name, c.coach_id, p.probability, p.band, p.status,
       p.horizon_days, p.as_of
from predictions p
join visible_clients($1, $2, $3) c on c.id = p.client_id
where p.practice_id = $1
  and ($4::timestamptz is null or p.as_of >= $4) and ($5::timestamptz is null or p.as_of < $5)
order by p.probability desc, p.client_id
"""

DATASETS: Mapping[DatasetName, str] = {
    "clients": EXPORT_CLIENTS,
    "sessions": EXPORT_SESSIONS,
    "participants": EXPORT_PARTICIPANTS,
    "payments": EXPORT_PAYMENTS,
    "charges": EXPORT_CHARGES,
    "daily_figures": EXPORT_DAILY_FIGURES,
    "daily_revenue": EXPORT_DAILY_REVENUE,
    "predictions": EXPORT_PREDICTIONS,
}
