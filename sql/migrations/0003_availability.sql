-- Availability: when a coach can be booked, for what, and what a session keeps free around itself.

-- Rules are wall times in the coach's zone, never offsets; minutes of the date, half-open: [[540, 720]] is 09:00-12:00.
create table availability (
    practice_id uuid not null,
    coach_id uuid not null,
    timezone text not null,
    weekly jsonb not null default '{}',  -- {"1": [[540, 720], [780, 1020]], …}: ISO weekdays, 1 is Monday
    increment_minutes integer not null default 30
        constraint availability_increment check (increment_minutes between 5 and 720),
    min_notice_minutes integer not null default 0 constraint availability_min_notice check (min_notice_minutes >= 0),
    min_notice_days integer not null default 0 constraint availability_min_notice_days check (min_notice_days >= 0),
    max_days_ahead integer not null default 60
        constraint availability_max_days_ahead check (max_days_ahead between 1 and 730),
    buffer_before_minutes integer not null default 0
        constraint availability_buffer_before check (buffer_before_minutes between 0 and 1440),
    buffer_after_minutes integer not null default 0
        constraint availability_buffer_after check (buffer_after_minutes between 0 and 1440),
    max_per_day integer constraint availability_per_day check (max_per_day >= 0),
    max_per_week integer constraint availability_per_week check (max_per_week >= 0),
    max_per_month integer constraint availability_per_month check (max_per_month >= 0),
    max_per_year integer constraint availability_per_year check (max_per_year >= 0),
    version integer not null default 1,
    updated_at timestamptz not null default now(),
    constraint availability_pkey primary key (practice_id, coach_id),
    constraint availability_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint availability_notice_within_window check (
        min_notice_days <= max_days_ahead and min_notice_minutes <= max_days_ahead * 1440)
);

-- A date of its own: its hours instead of the week's; none: closed.
create table availability_overrides (
    id uuid primary key,
    practice_id uuid not null,
    coach_id uuid not null,
    day date not null,
    hours jsonb not null default '[]',
    constraint availability_overrides_day_key unique (practice_id, coach_id, day),
    constraint availability_overrides_coach_fkey
        foreign key (practice_id, coach_id) references users (practice_id, id)
);

create table time_off (
    id uuid primary key,
    practice_id uuid not null,
    coach_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    note text not null default '',
    created_at timestamptz not null default now(),
    constraint time_off_ends_after_start check (ends_at > starts_at),
    constraint time_off_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);
create index time_off_coach_idx on time_off (practice_id, coach_id, ends_at);

-- What can be booked: length, price and place of a kind of session. Of one coach, or (null) of all.
create table session_types (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    coach_id uuid,
    name text not null,
    duration_minutes integer not null
        constraint session_types_duration check (duration_minutes between 5 and 1440),
    price_minor bigint not null default 0 constraint session_types_price check (price_minor >= 0),
    currency text not null constraint session_types_currency_iso check (currency ~ '^[A-Z]{3}$'),
    location text not null default '',
    meeting_url text not null default '',
    buffer_before_minutes integer
        constraint session_types_buffer_before check (buffer_before_minutes between 0 and 1440),  -- null: the coach's
    buffer_after_minutes integer
        constraint session_types_buffer_after check (buffer_after_minutes between 0 and 1440),
    bookable boolean not null default true,  -- whether clients may book it themselves
    archived_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    constraint session_types_practice_id_id_key unique (practice_id, id),
    constraint session_types_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);
create index session_types_practice_idx on session_types (practice_id, created_at, id);

-- Minutes are elapsed time in every zone, so this is immutable, which `timestamptz - interval` at large is not.
create function busy_range(starts_at timestamptz, ends_at timestamptz, before_minutes integer, after_minutes integer)
returns tstzrange language sql immutable parallel safe as $$
    select tstzrange(starts_at - make_interval(mins => before_minutes), ends_at + make_interval(mins => after_minutes))
$$;

alter table sessions
    add column session_type_id uuid,
    add column buffer_before_minutes integer not null default 0,
    add column buffer_after_minutes integer not null default 0,
    add column override_reason text,  -- why it was booked outside of the availability
    add column busy tstzrange generated always as (
        busy_range(starts_at, ends_at, buffer_before_minutes, buffer_after_minutes)) stored,
    add constraint sessions_buffers check (
        buffer_before_minutes between 0 and 1440 and buffer_after_minutes between 0 and 1440),
    add constraint sessions_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id);

-- Buffers of neighbours stack: A's after and B's before lie between them. The client's times carry none.
alter table sessions drop constraint sessions_coach_overlap;
alter table sessions add constraint sessions_coach_overlap exclude using gist (
    coach_id with =, busy with &&
) where (status in ('held', 'scheduled', 'in_progress'));
