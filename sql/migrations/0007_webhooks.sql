-- Webhooks: whom a practice tells of its events, and what became of each delivery.

create table webhooks (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    url text not null,
    description text not null default '',
    event_types text[],  -- null: all, also those of later versions
    secret bytea not null,  -- sealed
    former_secret bytea,  -- sealed; until former_until each delivery is signed with both
    former_until timestamptz,
    disabled_at timestamptz,
    disabled_reason text constraint webhooks_disabled_reason check (disabled_reason in ('by_hand', 'gone', 'failing')),
    failures integer not null default 0,  -- attempts that failed, since the last that did not
    failing_since timestamptz,
    last_attempt_at timestamptz,
    free_at timestamptz not null default now(),  -- no attempt before: one is under way, or it rests after failures
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint webhooks_practice_id_id_key unique (practice_id, id),
    constraint webhooks_disabled check ((disabled_at is null) = (disabled_reason is null)),
    constraint webhooks_former check ((former_secret is null) = (former_until is null))
);
create index webhooks_practice_idx on webhooks (practice_id, created_at, id);

-- One event for one webhook. Those of one subject are told in the order of its versions.
create table webhook_deliveries (
    id uuid primary key,  -- the webhook-id header, the same at each attempt
    practice_id uuid not null,
    webhook_id uuid not null,
    event_id uuid not null,
    type text not null,
    subject_id uuid,
    subject_version integer not null default 0,
    position bigint generated always as identity,
    body text not null,  -- ids, times, money and kinds; never what somebody wrote
    status text not null default 'waiting' constraint webhook_deliveries_status check (status in (
        'waiting', 'delivered', 'failed')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_status integer,
    last_error text,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    constraint webhook_deliveries_practice_id_id_key unique (practice_id, id),
    constraint webhook_deliveries_event_key unique (webhook_id, event_id),
    constraint webhook_deliveries_ended check ((status = 'waiting') = (ended_at is null)),
    constraint webhook_deliveries_webhook_fkey foreign key (practice_id, webhook_id)
        references webhooks (practice_id, id) on delete cascade
);
create index webhook_deliveries_due_idx on webhook_deliveries (next_attempt_at, position) where status = 'waiting';
create index webhook_deliveries_order_idx on webhook_deliveries (webhook_id, subject_id, subject_version, position)
    where status = 'waiting';
create index webhook_deliveries_webhook_idx on webhook_deliveries (practice_id, webhook_id, created_at desc, id desc);
create index webhook_deliveries_ended_idx on webhook_deliveries (ended_at) where status <> 'waiting';

create table webhook_attempts (
    id uuid primary key,
    practice_id uuid not null,
    delivery_id uuid not null,
    started_at timestamptz not null,
    duration_ms integer,  -- null: no answer came
    status integer,
    error text,
    answer text not null default '',  -- how it begins
    constraint webhook_attempts_delivery_fkey foreign key (practice_id, delivery_id)
        references webhook_deliveries (practice_id, id) on delete cascade
);
create index webhook_attempts_delivery_idx on webhook_attempts (practice_id, delivery_id, started_at);
