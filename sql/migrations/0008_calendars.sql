-- Calendars: private feeds of sessions, and busy times from calendars elsewhere.
-- ---------------------------------------------------------------- feeds

-- Secret addresses at which calendar programs read a user's sessions. Of the address only the sha256 is kept.
create table calendar_feeds (
    id uuid primary key,
    practice_id uuid not null,
    user_id uuid not null,
    name text not null default '',
    token_hash bytea not null constraint calendar_feeds_token_key unique,
    busy_only boolean not null default false,  -- when, and nothing else
    created_at timestamptz not null default now(),
    last_read_at timestamptz,  -- to the hour
    revoked_at timestamptz,
    constraint calendar_feeds_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index calendar_feeds_user_idx on calendar_feeds (practice_id, user_id, created_at desc) where revoked_at is null;

-- Mails about sessions begin with what happens from now on.
insert into consumers (name, xid, position)
select 'mails', xid, position from events order by xid desc, position desc limit 1;

-- ---------------------------------------------------------------- busy times from calendars elsewhere

create table external_calendars (
    id uuid primary key,
    practice_id uuid not null,
    coach_id uuid not null,
    name text not null default '',
    url bytea not null,  -- sealed: whoever has it reads the calendar
    host text not null,  -- of the url, for telling calendars apart
    status text not null default 'new' constraint external_calendars_status check (status in (
        'new', 'ok', 'stale', 'failed')),  -- stale: what is known is kept; failed: nothing was ever known
    last_error text,
    last_fetched_at timestamptz,  -- when what is known was last found to be so
    last_read_at timestamptz,  -- when busy times were last made of it
    etag text,
    last_modified text,
    failures integer not null default 0,  -- since the last time it could be read
    next_fetch_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    constraint external_calendars_practice_id_id_key unique (practice_id, id),
    constraint external_calendars_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);
create index external_calendars_coach_idx on external_calendars (practice_id, coach_id, created_at, id);
create index external_calendars_due_idx on external_calendars (next_fetch_at, id);

-- When a coach is busy by a calendar; what with is not kept.
create table external_busy (
    practice_id uuid not null,
    calendar_id uuid not null,
    coach_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    constraint external_busy_pkey primary key (practice_id, calendar_id, starts_at),
    constraint external_busy_ends_after_start check (ends_at > starts_at),
    constraint external_busy_calendar_fkey foreign key (practice_id, calendar_id)
        references external_calendars (practice_id, id) on delete cascade,
    constraint external_busy_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);
create index external_busy_coach_idx on external_busy (practice_id, coach_id, ends_at, starts_at);
