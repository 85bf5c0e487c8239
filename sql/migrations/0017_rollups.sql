-- Roll-ups: what each day of a practice came to, by coach, so that figures of long periods are sums of few rows. A job
-- keeps them (wellio/practice/rollups.py); where it has yet to come, figures are counted anew: see daily_between below.

-- The zone whose days a practice's roll-ups are of. Where it is not the practice's, none of them holds.
create table rollups (
    practice_id uuid primary key references practices (id),
    timezone text not null
);

-- Quarters of hours in which something has changed since they were rolled up, added by the change's own transaction. A
-- change only adds rows, so it waits for nobody. Instants rather than days: a practice may move to another zone, and
-- local days begin at quarters of hours in all of them.
create table rollup_changes (
    practice_id uuid not null references practices (id),
    instant timestamptz not null
);
create index rollup_changes_practice_idx on rollup_changes (practice_id, instant);

-- A day of the practice's zone. A null coach: of clients whom no coach has. Sessions and places are their coach's; new
-- clients, as revenue, of whom the coach has today. attended_by: who attended, each once.
create table daily_figures (
    practice_id uuid not null references practices (id),
    day date not null,
    coach_id uuid,
    total integer not null,
    open integer not null,
    completed integer not null,
    no_show integer not null,
    cancelled integer not null,
    late_cancelled integer not null,
    cancelled_by_coach integer not null,
    booked_seconds numeric not null,
    attended integer not null,
    missed integer not null,
    late integer not null,
    new_clients integer not null,
    attended_by uuid[] not null,
    constraint daily_figures_key unique nulls not distinct (practice_id, day, coach_id),
    constraint daily_figures_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);

create table daily_revenue (
    practice_id uuid not null references practices (id),
    day date not null,
    coach_id uuid,
    currency text not null,
    paid_minor bigint not null,  -- less what was voided of it
    refunded_minor bigint not null,
    constraint daily_revenue_key unique nulls not distinct (practice_id, day, coach_id, currency),
    constraint daily_revenue_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);

-- ---------------------------------------------------------------- what has changed

create function quarter_of(instant timestamptz) returns timestamptz language sql immutable parallel safe as $$
    select date_bin('15 minutes', instant, timestamptz '2000-01-01 00:00:00+00')
$$;

-- Rows that were added or deleted, many at a time.
create function note_changed_days() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'sessions' then
        insert into rollup_changes (practice_id, instant)
        select distinct c.practice_id, quarter_of(c.starts_at) from changed c;
    elsif tg_table_name = 'session_participants' then
        insert into rollup_changes (practice_id, instant)
        select distinct c.practice_id, quarter_of(c.starts_at) from changed c where c.status not in ('booked', 'cancelled');
    elsif tg_table_name = 'payments' then
        insert into rollup_changes (practice_id, instant)
        select distinct c.practice_id, quarter_of(c.paid_at) from changed c;
    else
        insert into rollup_changes (practice_id, instant)
        select distinct c.practice_id, quarter_of(c.created_at) from changed c;
    end if;
    return null;
end
$$;

create trigger sessions_added_rollup after insert on sessions
    referencing new table as changed for each statement execute function note_changed_days();
create trigger sessions_deleted_rollup after delete on sessions
    referencing old table as changed for each statement execute function note_changed_days();
create trigger session_participants_added_rollup after insert on session_participants
    referencing new table as changed for each statement execute function note_changed_days();
create trigger session_participants_deleted_rollup after delete on session_participants
    referencing old table as changed for each statement execute function note_changed_days();
create trigger payments_added_rollup after insert on payments
    referencing new table as changed for each statement execute function note_changed_days();
create trigger clients_added_rollup after insert on clients
    referencing new table as changed for each statement execute function note_changed_days();
create trigger clients_deleted_rollup after delete on clients
    referencing old table as changed for each statement execute function note_changed_days();

-- A row that was changed: both the day it was on and the one it is on.
create function note_moved_session() returns trigger language plpgsql as $$
begin
    insert into rollup_changes (practice_id, instant)
    select new.practice_id, t from (values (quarter_of(old.starts_at)), (quarter_of(new.starts_at))) v (t) group by t;
    return null;
end
$$;
create trigger sessions_changed_rollup after update on sessions
    for each row when ((old.coach_id, old.status, old.starts_at, old.ends_at)
                       is distinct from (new.coach_id, new.status, new.starts_at, new.ends_at))
    execute function note_moved_session();
create trigger session_participants_changed_rollup after update on session_participants
    for each row when ((old.session_id, old.client_id, old.status)
                       is distinct from (new.session_id, new.client_id, new.status))
    execute function note_moved_session();

create function note_moved_client() returns trigger language plpgsql as $$
begin
    insert into rollup_changes (practice_id, instant)
    select new.practice_id, quarter_of(old.created_at)
    union
    select new.practice_id, quarter_of(new.created_at)
    union
    select new.practice_id, quarter_of(p.paid_at)
    from payments p
    where p.practice_id = new.practice_id and p.client_id = new.id;
    return null;
end
$$;
create trigger clients_changed_rollup after update of coach_id, created_at on clients
    for each row when ((old.coach_id, old.created_at) is distinct from (new.coach_id, new.created_at))
    execute function note_moved_client();

-- ---------------------------------------------------------------- what days come to

-- The days, with bounds that a scan of an index may start from; what lies within an hour or two of them belongs to
-- another day, which the local date tells, on days of 23 and 25 hours as on others.
create function spans_of_days(zone text, days date[]) returns table (day date, first timestamptz, until timestamptz)
language sql stable as $$
    select d.day, (d.day::timestamp at time zone zone) - interval '3 hours',
           ((d.day + 1)::timestamp at time zone zone) + interval '3 hours'
    from (select distinct unnest(days)) d (day)
$$;

-- Counted anew; days without anything have no rows. `offset 0` keeps the planner at looking up each day in the index: it
-- can't know that the days are few.
create function count_days(practice uuid, zone text, days date[]) returns table (
    day date, coach_id uuid, total bigint, open bigint, completed bigint, no_show bigint, cancelled bigint,
    late_cancelled bigint, cancelled_by_coach bigint, booked_seconds numeric, attended bigint, missed bigint,
    late bigint, new_clients bigint, attended_by uuid[]
) language sql stable as $$
    with found as materialized (
        select d.day, s.coach_id, s.id, s.status, s.ends_at - s.starts_at as length
        from spans_of_days(zone, days) d
        cross join lateral (
            select t.* from sessions t
            where t.practice_id = practice and t.starts_at >= d.first and t.starts_at < d.until
            offset 0
        ) s
        where (s.starts_at at time zone zone)::date = d.day
    ), booked as (
        select f.day, f.coach_id, count(*) as total,
               count(*) filter (where f.status in ('scheduled', 'in_progress')) as open,
               count(*) filter (where f.status = 'completed') as completed,
               count(*) filter (where f.status = 'no_show') as no_show,
               count(*) filter (where f.status = 'cancelled') as cancelled,
               count(*) filter (where f.status = 'late_cancelled') as late_cancelled,
               count(*) filter (where f.status = 'cancelled_by_coach') as cancelled_by_coach,
               coalesce(extract(epoch from sum(f.length)
                   filter (where f.status in ('scheduled', 'in_progress', 'completed', 'no_show'))), 0)
                   as booked_seconds
        from found f
        where f.status <> 'held'
        group by f.day, f.coach_id
    ), places as (
        select f.day, f.coach_id, count(*) filter (where p.status = 'attended') as attended,
               count(*) filter (where p.status = 'no_show') as missed,
               count(*) filter (where p.status = 'late_cancelled') as late,
               array_agg(distinct p.client_id) filter (where p.status = 'attended') as attended_by
        from found f
        cross join lateral (
            select t.client_id, t.status from session_participants t
            where t.practice_id = practice and t.session_id = f.id
            offset 0
        ) p
        where p.status in ('attended', 'no_show', 'late_cancelled')
        group by f.day, f.coach_id
    ), joined as (
        select d.day, c.coach_id, count(*) as new_clients
        from spans_of_days(zone, days) d
        cross join lateral (
            select t.coach_id, t.created_at from clients t
            where t.practice_id = practice and t.created_at >= d.first and t.created_at < d.until
            offset 0
        ) c
        where (c.created_at at time zone zone)::date = d.day
        group by d.day, c.coach_id
    ), parts as (
        select b.*, 0::bigint as attended, 0::bigint as missed, 0::bigint as late, 0::bigint as new_clients,
               null::uuid[] as attended_by
        from booked b
        union all
        select p.day, p.coach_id, 0, 0, 0, 0, 0, 0, 0, 0, p.attended, p.missed, p.late, 0, p.attended_by
        from places p
        union all
        select j.day, j.coach_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, j.new_clients, null
        from joined j
    )
    select day, coach_id, sum(total)::bigint, sum(open)::bigint, sum(completed)::bigint, sum(no_show)::bigint,
           sum(cancelled)::bigint, sum(late_cancelled)::bigint, sum(cancelled_by_coach)::bigint, sum(booked_seconds),
           sum(attended)::bigint, sum(missed)::bigint, sum(late)::bigint, sum(new_clients)::bigint,
           coalesce(max(attended_by), '{}')
    from parts
    group by day, coach_id
$$;

create function count_revenue_days(practice uuid, zone text, days date[]) returns table (
    day date, coach_id uuid, currency text, paid_minor bigint, refunded_minor bigint
) language sql stable as $$
    select d.day, c.coach_id, p.currency,
           coalesce(sum(p.net_minor) filter (where p.kind in ('payment', 'payment_void')), 0)::bigint,
           coalesce(-sum(p.net_minor) filter (where p.kind in ('refund', 'refund_void')), 0)::bigint
    from spans_of_days(zone, days) d
    cross join lateral (
        select t.* from payments t
        where t.practice_id = practice and t.paid_at >= d.first and t.paid_at < d.until
        offset 0
    ) p
    join clients c on c.practice_id = practice and c.id = p.client_id
    where (p.paid_at at time zone zone)::date = d.day
    group by d.day, c.coach_id, p.currency
$$;

-- Those of [first, until) that are to be counted anew: where something changed, or all, where nothing holds.
create function stale_days(practice uuid, zone text, first date, until date) returns setof date
language sql stable as $$
    select distinct (c.instant at time zone zone)::date
    from rollup_changes c
    where c.practice_id = practice
      and (c.instant at time zone zone)::date >= first and (c.instant at time zone zone)::date < until
    union
    select d::date
    from generate_series(first::timestamp, until - interval '1 day', interval '1 day') d
    where not exists (select from rollups r where r.practice_id = practice and r.timezone = zone)
$$;

-- The figures of the days in [first, until), as if all were counted anew.
create function daily_between(practice uuid, zone text, first date, until date) returns table (
    day date, coach_id uuid, total bigint, open bigint, completed bigint, no_show bigint, cancelled bigint,
    late_cancelled bigint, cancelled_by_coach bigint, booked_seconds numeric, attended bigint, missed bigint,
    late bigint, new_clients bigint, attended_by uuid[]
) language sql stable as $$
    with stale as materialized (select array(select stale_days(practice, zone, first, until)) as days)
    select f.day, f.coach_id, f.total, f.open, f.completed, f.no_show, f.cancelled, f.late_cancelled,
           f.cancelled_by_coach, f.booked_seconds, f.attended, f.missed, f.late, f.new_clients, f.attended_by
    from daily_figures f
    where f.practice_id = practice and f.day >= first and f.day < until
      and f.day not in (select unnest(stale.days) from stale)
    union all
    select n.* from stale, count_days(practice, zone, stale.days) n
$$;

create function daily_revenue_between(practice uuid, zone text, first date, until date) returns table (
    day date, coach_id uuid, currency text, paid_minor bigint, refunded_minor bigint
) language sql stable as $$
    with stale as materialized (select array(select stale_days(practice, zone, first, until)) as days)
    select f.day, f.coach_id, f.currency, f.paid_minor, f.refunded_minor
    from daily_revenue f
    where f.practice_id = practice and f.day >= first and f.day < until
      and f.day not in (select unnest(stale.days) from stale)
    union all
    select n.* from stale, count_revenue_days(practice, zone, stale.days) n
$$;

-- In which of three periods a day lies: 1, 2, 3 or none.
create function part_of(day date, firsts date[], ends date[]) returns integer
language sql immutable parallel safe as $$
    select case when day >= firsts[1] and day < ends[1] then 1
                when day >= firsts[2] and day < ends[2] then 2
                when day >= firsts[3] and day < ends[3] then 3 end
$$;
drop function part_of(timestamptz, timestamptz[], timestamptz[]);
