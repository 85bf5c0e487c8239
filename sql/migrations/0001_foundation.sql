-- Practices and their people, clients, sessions, payments, chat, and the event log they all write to.
-- Every tenant table carries practice_id, and every reference inside a practice is composite
-- (practice_id, id), so that a link across practices is impossible even in plain SQL.

create extension if not exists btree_gist;

create table practices (
    id uuid primary key,
    name text not null,
    timezone text not null,
    currency text not null default 'EUR' constraint practices_currency_iso check (currency ~ '^[A-Z]{3}$'),
    churn_horizon_days integer not null default 30
        constraint practices_churn_horizon check (churn_horizon_days between 7 and 365),
    created_at timestamptz not null default now()
);

-- ---------------------------------------------------------------- accounts

create table users (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    role text not null constraint users_role check (role in ('owner', 'coach', 'client')),
    name text not null,
    email text not null,
    password_hash text not null,
    timezone text not null,
    status text not null default 'active' constraint users_status check (status in ('active', 'suspended')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_practice_id_id_key unique (practice_id, id)
);
-- One address, one account: log-in asks for the address alone.
create unique index users_email_key on users (lower(email));

-- A device that is signed in. Access tokens name it (sid), so revoking it stops them at once.
create table auth_sessions (
    id uuid primary key,
    practice_id uuid not null,
    user_id uuid not null,
    cookie_hash bytea,  -- sha256 of the console's cookie; null for API sessions
    user_agent text not null default '',
    address text not null default '',
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_reason text,
    constraint auth_sessions_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index auth_sessions_user_idx on auth_sessions (practice_id, user_id);
create unique index auth_sessions_cookie_key on auth_sessions (cookie_hash) where cookie_hash is not null;

-- Refresh tokens of a session, one generation after the other; only their sha256 is kept.
create table refresh_tokens (
    token_hash bytea primary key,
    session_id uuid not null references auth_sessions (id) on delete cascade,
    issued_at timestamptz not null default now(),
    used_at timestamptz
);
create index refresh_tokens_session_idx on refresh_tokens (session_id);

-- The answer to a request that creates something, kept in the effect's own transaction.
create table idempotency_keys (
    user_id uuid not null references users (id),
    operation text not null,
    key text not null,
    body_hash bytea not null,
    status integer not null,
    answer bytea not null,
    created_at timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (user_id, operation, key)
);
create index idempotency_keys_created_idx on idempotency_keys (created_at);

-- ---------------------------------------------------------------- practice

create table clients (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    coach_id uuid,
    user_id uuid,
    first_name text not null,
    last_name text not null,
    email text,
    phone text,
    status text not null default 'active' constraint clients_status
        check (status in ('lead', 'onboarding', 'active', 'paused', 'churned', 'archived')),
    tags text[] not null default '{}',
    goals text not null default '',
    timezone text not null,
    custom jsonb not null default '{}',
    external_ref text,  -- what the system a history came from calls this client
    last_activity_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clients_practice_id_id_key unique (practice_id, id),
    constraint clients_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint clients_user_fkey foreign key (practice_id, user_id) references users (practice_id, id),
    constraint clients_user_key unique (user_id),
    constraint clients_external_ref_key unique (practice_id, external_ref)
);
create index clients_created_idx on clients (practice_id, created_at desc, id);
create index clients_coach_idx on clients (practice_id, coach_id, created_at desc, id);
create index clients_name_idx on clients (practice_id, lower(last_name), lower(first_name), id);

create table sessions (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    kind text not null default 'one_to_one' constraint sessions_kind check (kind in ('one_to_one', 'group')),
    coach_id uuid not null,
    client_id uuid,
    title text not null default '',
    status text not null default 'scheduled' constraint sessions_status check (status in (
        'held', 'scheduled', 'in_progress', 'completed', 'cancelled', 'late_cancelled', 'cancelled_by_coach', 'no_show'
    )),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    timezone text not null,
    location text not null default '',
    meeting_url text not null default '',
    price_minor bigint not null default 0 constraint sessions_price check (price_minor >= 0),
    currency text not null constraint sessions_currency_iso check (currency ~ '^[A-Z]{3}$'),
    series_id uuid,
    cancel_reason text,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint sessions_practice_id_id_key unique (practice_id, id),
    constraint sessions_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint sessions_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint sessions_ends_after_start check (ends_at > starts_at),
    -- Half-open: 10:00-11:00 and 11:00-12:00 do not touch. A slot has one taker whoever asks, and however many.
    constraint sessions_coach_overlap exclude using gist (
        coach_id with =, tstzrange(starts_at, ends_at) with &&
    ) where (status in ('held', 'scheduled', 'in_progress')),
    constraint sessions_client_overlap exclude using gist (
        client_id with =, tstzrange(starts_at, ends_at) with &&
    ) where (client_id is not null and status in ('held', 'scheduled', 'in_progress'))
);
create index sessions_starts_idx on sessions (practice_id, starts_at, id);
create index sessions_coach_idx on sessions (practice_id, coach_id, starts_at);
create index sessions_client_idx on sessions (practice_id, client_id, starts_at);

-- A ledger: rows are added, never changed or removed; a refund is a row of its own.
create table payments (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    kind text not null constraint payments_kind check (kind in ('payment', 'refund')),
    amount_minor bigint not null constraint payments_amount_positive check (amount_minor > 0),
    currency text not null constraint payments_currency_iso check (currency ~ '^[A-Z]{3}$'),
    paid_at timestamptz not null,
    note text not null default '',
    recorded_by uuid,
    created_at timestamptz not null default now(),
    constraint payments_practice_id_id_key unique (practice_id, id),
    constraint payments_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint payments_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id)
);
create index payments_paid_idx on payments (practice_id, paid_at desc, id);
create index payments_client_idx on payments (practice_id, client_id, paid_at desc);

-- ---------------------------------------------------------------- chat

create table conversations (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    kind text not null constraint conversations_kind check (kind in ('direct', 'group')),
    title text not null default '',
    direct_key text,  -- both user ids in order, so that two people have one direct conversation
    last_seq bigint not null default 0,
    message_count bigint not null default 0,  -- how many rows of messages, so that no page of history counts them
    version integer not null default 1,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    last_message_at timestamptz,
    constraint conversations_practice_id_id_key unique (practice_id, id),
    constraint conversations_created_by_fkey foreign key (practice_id, created_by) references users (practice_id, id),
    constraint conversations_direct_key unique (practice_id, direct_key)
);

create table conversation_members (
    practice_id uuid not null,
    conversation_id uuid not null,
    user_id uuid not null,
    role text not null default 'member' constraint conversation_members_role check (role in ('admin', 'member')),
    last_read_seq bigint not null default 0,
    last_delivered_seq bigint not null default 0,
    joined_at timestamptz not null default now(),
    left_at timestamptz,
    constraint conversation_members_pkey primary key (conversation_id, user_id),
    constraint conversation_members_conversation_fkey
        foreign key (practice_id, conversation_id) references conversations (practice_id, id),
    constraint conversation_members_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index conversation_members_user_idx on conversation_members (practice_id, user_id) where left_at is null;

create table messages (
    id uuid primary key,
    practice_id uuid not null,
    conversation_id uuid not null,
    seq bigint not null,
    sender_id uuid not null,
    client_message_id uuid not null,
    body text not null,
    reply_to uuid,
    created_at timestamptz not null,
    edited_at timestamptz,
    deleted_at timestamptz,
    constraint messages_conversation_seq_key unique (conversation_id, seq),
    constraint messages_client_message_key unique (conversation_id, sender_id, client_message_id),
    constraint messages_conversation_id_key unique (practice_id, conversation_id, id),
    constraint messages_conversation_fkey
        foreign key (practice_id, conversation_id) references conversations (practice_id, id),
    constraint messages_sender_fkey foreign key (practice_id, sender_id) references users (practice_id, id),
    constraint messages_reply_fkey foreign key (practice_id, conversation_id, reply_to)
        references messages (practice_id, conversation_id, id)
);

-- The log of a conversation: all that happened in it, 1, 2, 3… without holes. chat:sync reads it.
create table conversation_events (
    conversation_id uuid not null,
    seq bigint not null,
    practice_id uuid not null,
    type text not null constraint conversation_events_type check (type in (
        'message:new', 'message:updated', 'message:deleted',
        'reaction:changed', 'member:changed', 'conversation:updated'
    )),
    message_id uuid,
    actor_id uuid,
    data jsonb,  -- null for message:new, whose content is the message itself
    created_at timestamptz not null,
    constraint conversation_events_pkey primary key (conversation_id, seq),
    constraint conversation_events_conversation_fkey
        foreign key (practice_id, conversation_id) references conversations (practice_id, id)
);

create table notifications (
    id uuid primary key,
    practice_id uuid not null,
    user_id uuid not null,
    kind text not null,
    title text not null,
    body text not null default '',
    data jsonb not null default '{}',
    event_id uuid not null,
    read_at timestamptz,
    created_at timestamptz not null default now(),
    constraint notifications_user_fkey foreign key (practice_id, user_id) references users (practice_id, id),
    -- A consumer that repeats an event after a crash tells nobody twice.
    constraint notifications_once unique (user_id, kind, event_id)
);
create index notifications_user_idx on notifications (practice_id, user_id, created_at desc);

-- ---------------------------------------------------------------- events

-- Append-only. A row is written in the transaction of the change it tells of. Consumers read in the order
-- (xid, position), and only below the oldest transaction still running: so a transaction that commits late
-- is never jumped over. See docs/architecture.md, "The life of an event".
create table events (
    position bigint generated always as identity,
    xid bigint not null default (pg_current_xact_id()::text::bigint),
    id uuid not null,
    practice_id uuid not null,
    type text not null,
    client_id uuid,   -- the client whom it concerns
    subject_id uuid,  -- the session, payment, conversation… that changed
    actor_id uuid,    -- the user who did it; null for the system
    payload jsonb not null default '{}',
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    constraint events_pkey primary key (xid, position),
    constraint events_id_key unique (id)
);
create index events_client_idx on events (practice_id, client_id, occurred_at desc, position desc);

-- How far each consumer has come. The learner's cursor stands in its snapshot; its row here only tells others
-- up to where predictions are stored.
create table consumers (
    name text primary key,
    xid bigint not null default -4611686018427387904,  -- before every event
    position bigint not null default 0,
    save_wanted boolean not null default false,  -- the learner's: somebody waits for a snapshot
    updated_at timestamptz not null default now()
);

-- An event that a consumer could not take after several tries: it went on without it, and says so here.
create table consumer_failures (
    consumer text not null,
    event_id uuid not null,
    error text not null,
    failed_at timestamptz not null default now(),
    constraint consumer_failures_pkey primary key (consumer, event_id)
);

-- ---------------------------------------------------------------- learning

create table predictions (
    practice_id uuid not null,
    client_id uuid not null,
    probability double precision not null
        constraint predictions_probability check (probability >= 0 and probability <= 1),
    band text not null constraint predictions_band check (band in ('low', 'medium', 'high')),
    reasons jsonb not null default '[]',
    status text not null constraint predictions_status check (status in ('ok', 'not_enough_history')),
    horizon_days integer not null,
    as_of timestamptz not null,
    last_event_id uuid,
    constraint predictions_pkey primary key (practice_id, client_id),
    constraint predictions_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id)
);
create index predictions_risk_idx on predictions (practice_id, probability desc, client_id);

-- Each question the model was asked, scored when its answer became known: what "model quality" is computed from.
-- `seq` counts them as the learner made them: 1, 2, 3… A learner that begins again from a snapshot makes the same
-- ones again, so what stands after the snapshot's count is taken out first, and none is there twice.
create table prediction_outcomes (
    seq bigint primary key,
    practice_id uuid not null,
    client_id uuid not null,
    kind text not null constraint prediction_outcomes_kind check (kind in ('event', 'weekly')),
    asked_at timestamptz not null,
    due_at timestamptz not null,
    probability double precision not null,
    rule double precision not null,  -- what the simple rule said at the same moment
    status text not null,
    churned boolean not null
);
create index prediction_outcomes_asked_idx on prediction_outcomes (practice_id, asked_at);

-- The model's state and the event it has come to, in one row: a kill between two rows is no state at all.
create table learner_snapshots (
    id bigint generated always as identity primary key,
    xid bigint not null,
    position bigint not null,
    events bigint not null,  -- how many were read up to there
    outcomes bigint not null,  -- and how many outcomes were known by then
    state bytea not null,
    created_at timestamptz not null default now()
);
-- Compressed already.
alter table learner_snapshots alter column state set storage external;

-- ---------------------------------------------------------------- jobs

create table job_runs (
    id uuid primary key,
    name text not null,
    due_at timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    outcome text not null default 'running'
        constraint job_runs_outcome check (outcome in ('running', 'done', 'failed', 'abandoned')),
    counts jsonb not null default '{}',
    error text,
    by_hand boolean not null default false,
    -- Execution is at least once, the run of a due time is one.
    constraint job_runs_due_key unique (name, due_at)
);
create index job_runs_started_idx on job_runs (started_at desc);

-- How far the replay of a file into a practice has come; written in the transaction of the lines it took.
-- A practice has one history: a file that does not begin with the lines taken so far is another one.
create table replays (
    practice_id uuid primary key references practices (id),
    file_name text not null,
    digest bytea not null,  -- sha256 of the lines dealt with, each with its line feed
    lines_done bigint not null default 0,
    lines_refused bigint not null default 0,
    events_done bigint not null default 0,
    first_at timestamptz,  -- of the first and the last line taken
    last_at timestamptz,
    started_at timestamptz not null default now(),
    ended_at timestamptz
);

-- ---------------------------------------------------------------- who sees what

-- Scoping in one place, in SQL: an owner sees the practice, a coach the clients assigned to them and what
-- hangs on those, a client only themself. Plain SQL functions, so that the planner inlines them.

create function visible_clients(practice uuid, viewer_role text, viewer uuid) returns setof clients
language sql stable as $$
    select * from clients c
    where c.practice_id = practice
      and (viewer_role = 'owner'
           or (viewer_role = 'coach' and c.coach_id = viewer)
           or (viewer_role = 'client' and c.user_id = viewer))
$$;

create function visible_sessions(practice uuid, viewer_role text, viewer uuid) returns setof sessions
language sql stable as $$
    select * from sessions s
    where s.practice_id = practice
      and (viewer_role = 'owner'
           or (viewer_role = 'coach' and s.coach_id = viewer)
           or (viewer_role = 'client' and s.client_id in (
                   select c.id from clients c where c.practice_id = practice and c.user_id = viewer)))
$$;

create function visible_payments(practice uuid, viewer_role text, viewer uuid) returns setof payments
language sql stable as $$
    select * from payments p
    where p.practice_id = practice
      and (viewer_role = 'owner'
           or exists (select from clients c
                      where c.practice_id = practice and c.id = p.client_id
                        and ((viewer_role = 'coach' and c.coach_id = viewer)
                             or (viewer_role = 'client' and c.user_id = viewer))))
$$;

create function visible_conversations(practice uuid, viewer uuid) returns setof conversations
language sql stable as $$
    select * from conversations c
    where c.practice_id = practice
      and exists (select from conversation_members m
                  where m.conversation_id = c.id and m.practice_id = practice
                    and m.user_id = viewer and m.left_at is null)
$$;
