-- Whether clients come to what is booked: what was learnt of it, outcome by outcome, by the consumer `attendance`, whose
-- cursor moves in the same transaction.

-- The weights, one model for all practices; sealed by a checksum (wellio/learning/attendance.py).
create table attendance_model (
    id smallint primary key default 1,
    state bytea not null,
    updated_at timestamptz not null default now(),
    constraint attendance_model_only_one check (id = 1)
);

-- Histories, in the columns of wellio/learning/attendance_features.py.
create table attendance_practices (
    practice_id uuid primary key references practices (id) on delete cascade,
    history float8[] not null
);
create table attendance_clients (
    practice_id uuid not null,
    client_id uuid not null,
    history float8[] not null,
    constraint attendance_clients_pkey primary key (practice_id, client_id),
    constraint attendance_clients_client_fkey
        foreign key (practice_id, client_id) references clients (practice_id, id) on delete cascade
);

-- What was asked of each booking, and what its outcome added, so that it can be taken back.
create table attendance_bookings (
    practice_id uuid not null,
    session_id uuid not null,
    client_id uuid not null,
    attended boolean,
    numbers float8[] not null,
    features float8[] not null,
    learnt float8[],
    constraint attendance_bookings_pkey primary key (practice_id, session_id, client_id),
    constraint attendance_bookings_session_fkey
        foreign key (practice_id, session_id) references sessions (practice_id, id) on delete cascade,
    constraint attendance_bookings_client_fkey
        foreign key (practice_id, client_id) references clients (practice_id, id) on delete cascade
);
create index attendance_bookings_pending_idx on attendance_bookings (practice_id, client_id) where attended is null;
create index attendance_bookings_client_idx on attendance_bookings (practice_id, client_id);

-- Which time was recommended first, and how likely that was: some are drawn by lot, so that it can be told later whether
-- following the others was right. The same question on the same day has one answer.
create table slot_choices (
    id uuid primary key,
    practice_id uuid not null references practices (id) on delete cascade,
    question bytea not null,
    coach_id uuid not null,
    client_id uuid,
    session_type_id uuid,
    starts_at timestamptz not null,
    probability float8 not null,
    offered integer not null,
    propensity float8 not null,
    drawn boolean not null,
    created_at timestamptz not null default now(),
    constraint slot_choices_once unique (practice_id, question),
    constraint slot_choices_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id),
    constraint slot_choices_client_fkey
        foreign key (practice_id, client_id) references clients (practice_id, id) on delete cascade,
    constraint slot_choices_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id)
);
create index slot_choices_client_idx on slot_choices (practice_id, client_id);
create index slot_choices_coach_idx on slot_choices (practice_id, coach_id);
