-- Sessions: participants, series, holds, waitlists and the rules of changing them.

-- How clients may change what they booked. A practice without a row has the defaults.
create table booking_policies (
    practice_id uuid primary key references practices (id),
    -- Until this long before the start a client cancels, or moves, in time; exactly then counts as in time.
    cancel_notice_minutes integer not null default 1440
        constraint booking_policies_cancel_notice check (cancel_notice_minutes between 0 and 525600),
    reschedule_notice_minutes integer not null default 1440
        constraint booking_policies_reschedule_notice check (reschedule_notice_minutes between 0 and 525600),
    -- What becomes of a cancellation inside the window: refused, or late (and billable).
    late_cancel text not null default 'late' constraint booking_policies_late_cancel check (late_cancel in ('block', 'late')),
    max_reschedules integer constraint booking_policies_max_reschedules check (max_reschedules >= 0),  -- by clients
    hold_minutes integer not null default 15 constraint booking_policies_hold check (hold_minutes between 1 and 1440),
    waitlist text not null default 'offer' constraint booking_policies_waitlist check (waitlist in ('offer', 'auto')),
    waitlist_offer_minutes integer not null default 120
        constraint booking_policies_waitlist_offer check (waitlist_offer_minutes between 1 and 10080),
    auto_no_show_minutes integer  -- after the end, if nobody checked in; null: never
        constraint booking_policies_auto_no_show check (auto_no_show_minutes between 0 and 10080),
    contact text not null default '',  -- what a client who is too late may do
    version integer not null default 1,
    updated_at timestamptz not null default now()
);

-- Where a coach meets people online: a link of their own, or rooms on a Jitsi server.
create table meeting_settings (
    practice_id uuid not null,
    coach_id uuid not null,
    kind text not null constraint meeting_settings_kind check (kind in ('link', 'jitsi')),
    url text not null default '',
    updated_at timestamptz not null default now(),
    constraint meeting_settings_pkey primary key (practice_id, coach_id),
    constraint meeting_settings_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint meeting_settings_link check (kind <> 'link' or url <> '')
);

-- A rule that sessions were made by. The sessions are rows of their own; this is what they have in common.
create table session_series (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    coach_id uuid not null,
    client_id uuid,
    rrule text not null,
    -- The wall time of the first occurrence in the zone it was agreed in; never an offset.
    local_start timestamp not null,
    timezone text not null,
    duration_minutes integer not null constraint session_series_duration check (duration_minutes between 5 and 1440),
    split_from uuid,  -- the series whose later part this is
    version integer not null default 1,
    created_at timestamptz not null default now(),
    constraint session_series_practice_id_id_key unique (practice_id, id),
    constraint session_series_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint session_series_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint session_series_split_fkey foreign key (practice_id, split_from)
        references session_series (practice_id, id)
);

alter table session_types
    add column kind text not null default 'one_to_one'
        constraint session_types_kind check (kind in ('one_to_one', 'group')),
    add column capacity integer constraint session_types_capacity check (capacity between 1 and 1000),
    add constraint session_types_group_capacity check ((kind = 'group') = (capacity is not null));

alter table sessions
    add column capacity integer constraint sessions_capacity check (capacity between 1 and 1000),
    add column hold_expires_at timestamptz,  -- a held session takes its time until then
    add column sequence integer not null default 0,  -- of iCalendar (RFC 5545, 3.8.7.4): counts changes of the time
    add column reschedule_count integer not null default 0,  -- by the client
    add column original_starts_at timestamptz,  -- of an occurrence: where the series' rule had put it
    add column series_exception boolean not null default false,  -- an occurrence that was edited by itself
    add column shifted boolean not null default false,  -- its wall time did not exist on that date
    -- The wall time agreed on: from it the instant is derived again when the rules of the zone change.
    add column wall_starts_at timestamp,
    add column wall_fold smallint not null default 0 constraint sessions_wall_fold check (wall_fold in (0, 1)),
    add column cancelled_at timestamptz,
    add column cancelled_by uuid,
    add column notes bytea,  -- sealed: what the coach wrote on completing it
    add constraint sessions_group_capacity check ((kind = 'group') = (capacity is not null)),
    add constraint sessions_group_client check (kind = 'one_to_one' or client_id is null),
    add constraint sessions_cancelled_by_fkey foreign key (practice_id, cancelled_by) references users (practice_id, id),
    add constraint sessions_series_fkey foreign key (practice_id, series_id) references session_series (practice_id, id);
create index sessions_series_idx on sessions (practice_id, series_id, starts_at) where series_id is not null;
-- Who books a group finds the one that is there.
create index sessions_group_idx on sessions (practice_id, session_type_id, starts_at) where kind = 'group';
create index sessions_hold_idx on sessions (hold_expires_at) where status = 'held';

alter table sessions drop constraint sessions_client_overlap;

-- Who comes: of a group whoever joined, of a one-to-one its client (kept by the trigger below).
create table session_participants (
    practice_id uuid not null,
    session_id uuid not null,
    client_id uuid not null,
    status text not null default 'booked' constraint session_participants_status
        check (status in ('booked', 'attended', 'no_show', 'cancelled', 'late_cancelled')),
    -- Of the session, kept by the trigger: what the constraint below compares.
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    session_open boolean not null,
    booked_at timestamptz not null default now(),
    joined_at timestamptz,
    cancelled_at timestamptz,
    cancel_reason text,
    constraint session_participants_pkey primary key (practice_id, session_id, client_id),
    constraint session_participants_session_fkey foreign key (practice_id, session_id)
        references sessions (practice_id, id) on delete cascade,
    constraint session_participants_client_fkey foreign key (practice_id, client_id)
        references clients (practice_id, id),
    -- Nobody is at two places at a time; buffers are the coach's.
    constraint sessions_client_overlap exclude using gist (
        client_id with =, tstzrange(starts_at, ends_at) with &&
    ) where (status = 'booked' and session_open)
);
create index session_participants_client_idx on session_participants (practice_id, client_id, starts_at);

create function participant_status(session_status text) returns text language sql immutable as $$
    select case session_status
        when 'completed' then 'attended'
        when 'no_show' then 'no_show'
        when 'late_cancelled' then 'late_cancelled'
        when 'cancelled' then 'cancelled'
        when 'cancelled_by_coach' then 'cancelled'
        else 'booked' end
$$;

insert into session_participants (practice_id, session_id, client_id, status, starts_at, ends_at, session_open, booked_at)
select practice_id, id, client_id, participant_status(status), starts_at, ends_at,
       status in ('held', 'scheduled', 'in_progress'), created_at
from sessions
where client_id is not null;

-- Keeps the participants' copies, and makes a one-to-one's client its participant. In a group who was marked one by
-- one, or left, stays so; the others follow the session, and are booked again when its end is taken back.
create function follow_session() returns trigger language plpgsql as $$
declare
    open constant boolean not null := new.status in ('held', 'scheduled', 'in_progress');
begin
    if tg_op = 'UPDATE' and new.client_id is distinct from old.client_id then
        delete from session_participants
        where practice_id = old.practice_id and session_id = old.id and client_id = old.client_id;
    end if;
    if new.client_id is not null and (tg_op = 'INSERT' or new.client_id is distinct from old.client_id) then
        insert into session_participants
            (practice_id, session_id, client_id, status, starts_at, ends_at, session_open, booked_at)
        values (new.practice_id, new.id, new.client_id, participant_status(new.status), new.starts_at, new.ends_at,
                open, new.created_at);
    elsif tg_op = 'UPDATE' then
        update session_participants p
        set starts_at = new.starts_at, ends_at = new.ends_at, session_open = open, status = n.status,
            cancelled_at = case when n.status in ('cancelled', 'late_cancelled')
                then coalesce(p.cancelled_at, new.cancelled_at, now()) end
        from (
            select client_id,
                   case when new.status = old.status then status
                        when new.kind = 'one_to_one' or status = participant_status(old.status)
                            then participant_status(new.status)
                        else status end as status
            from session_participants
            where practice_id = new.practice_id and session_id = new.id
        ) n
        where p.practice_id = new.practice_id and p.session_id = new.id and p.client_id = n.client_id;
    end if;
    return null;
end
$$;
create trigger sessions_participants after insert or update of client_id, status, starts_at, ends_at on sessions
    for each row execute function follow_session();

-- Where a session was before it was moved.
create table session_moves (
    id uuid primary key,
    practice_id uuid not null,
    session_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    moved_by uuid,
    moved_at timestamptz not null default now(),
    constraint session_moves_moved_by_fkey foreign key (practice_id, moved_by) references users (practice_id, id),
    constraint session_moves_session_fkey foreign key (practice_id, session_id)
        references sessions (practice_id, id) on delete cascade
);
create index session_moves_session_idx on session_moves (practice_id, session_id, moved_at);

-- Who waits for a place in a full group, in the order of joining.
create table waitlist_entries (
    id uuid primary key,
    practice_id uuid not null,
    session_id uuid not null,
    client_id uuid not null,
    status text not null default 'waiting' constraint waitlist_entries_status
        check (status in ('waiting', 'offered', 'booked', 'declined', 'expired', 'left')),
    joined_at timestamptz not null default clock_timestamp(),
    offer_expires_at timestamptz,
    ended_at timestamptz,
    constraint waitlist_entries_offer check ((status = 'offered') = (offer_expires_at is not null)),
    constraint waitlist_entries_session_fkey foreign key (practice_id, session_id)
        references sessions (practice_id, id) on delete cascade,
    constraint waitlist_entries_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id)
);
create unique index waitlist_entries_once on waitlist_entries (practice_id, session_id, client_id)
    where status in ('waiting', 'offered');
create index waitlist_entries_order_idx on waitlist_entries (practice_id, session_id, joined_at, id);

-- A client sees the sessions they take part in, took part in or left, and those they wait for.
create or replace function visible_sessions(practice uuid, viewer_role text, viewer uuid) returns setof sessions
language sql stable as $$
    select * from sessions s
    where s.practice_id = practice
      and (viewer_role = 'owner'
           or (viewer_role = 'coach' and s.coach_id = viewer)
           or (viewer_role = 'client' and s.id in (
                   select p.session_id from session_participants p
                   where p.practice_id = practice and p.client_id in (
                       select c.id from clients c where c.practice_id = practice and c.user_id = viewer)
                   union all
                   select w.session_id from waitlist_entries w
                   where w.practice_id = practice and w.status in ('waiting', 'offered') and w.client_id in (
                       select c.id from clients c where c.practice_id = practice and c.user_id = viewer))))
$$;

-- The groups that a viewer may act on: those they see; a client also those of their coach that are yet to come, but not
-- of a type that staff book for clients.
create function reachable_groups(practice uuid, viewer_role text, viewer uuid) returns setof sessions
language sql stable as $$
    select * from sessions s
    where s.practice_id = practice and s.kind = 'group'
      and (s.id in (select v.id from visible_sessions(practice, viewer_role, viewer) v)
           or (viewer_role = 'client' and s.status = 'scheduled' and s.starts_at > now()
               and s.coach_id in (
                   select c.coach_id from clients c where c.practice_id = practice and c.user_id = viewer)
               and not exists (
                   select from session_types t
                   where t.practice_id = practice and t.id = s.session_type_id and not t.bookable)))
$$;
