-- Reminders: when whom to remind of a session, by what.

-- A practice without a row has the default rules (practice/reminders.py).
create table reminder_rules (
    practice_id uuid primary key references practices (id),
    rules jsonb not null,  -- [{minutes_before, to_clients, to_coaches, by_mail, in_app}]
    version integer not null default 1,
    updated_at timestamptz not null default now(),
    constraint reminder_rules_list check (jsonb_typeof(rules) = 'array')
);

-- What a user wants of it. Quiet hours are wall times in the user's zone, half-open, and may go over midnight.
create table reminder_preferences (
    practice_id uuid not null,
    user_id uuid not null,
    by_mail boolean not null default true,
    in_app boolean not null default true,
    quiet_from time,
    quiet_to time,
    version integer not null default 1,
    updated_at timestamptz not null default now(),
    constraint reminder_preferences_pkey primary key (practice_id, user_id),
    constraint reminder_preferences_user_fkey foreign key (practice_id, user_id) references users (practice_id, id),
    constraint reminder_preferences_quiet check ((quiet_from is null) = (quiet_to is null) and quiet_from <> quiet_to)
);

-- What was sent: for a start of a session each rule reminds each recipient once. A session that moves has another start.
create table reminders_sent (
    practice_id uuid not null,
    session_id uuid not null,
    recipient_id uuid not null,  -- the coach, or the client
    minutes_before integer not null,
    starts_at timestamptz not null,
    sent_at timestamptz not null default now(),
    constraint reminders_sent_pkey primary key (practice_id, session_id, recipient_id, minutes_before, starts_at),
    constraint reminders_sent_session_fkey foreign key (practice_id, session_id)
        references sessions (practice_id, id) on delete cascade
);
create index reminders_sent_age_idx on reminders_sent (starts_at);
