-- Clients: how they are found, notes, goals, measurements, and fields of a practice's own.

-- All three are trusted: whoever owns the database may create them.
create extension if not exists unaccent;
create extension if not exists pg_trgm;
create extension if not exists btree_gin;

-- ---------------------------------------------------------------- finding clients

-- Text without case and accents, however it was composed. `unaccent` counts as stable because its dictionary could be
-- replaced; ours is the one it comes with. Names are qualified, as indexes are rebuilt with an empty search_path.
create function fold_text(written text) returns text language sql immutable strict parallel safe as $$
    select lower(public.unaccent('public.unaccent'::regdictionary, normalize(written, nfkc)))
$$;

-- The digits of a number: +49 (0)30 123-45, 0049 30 12345 and 49 30 12345 are one. Null for less than five of them.
create function phone_key(written text) returns text language sql immutable parallel safe as $$
    select case when length(k.digits) >= 5 then k.digits end
    from (select ltrim(regexp_replace(replace(written, '(0)', ''), '[^0-9]', '', 'g'), '0') as digits) k
$$;

-- What `like` is asked for a piece of text anywhere. Escaped after folding, as folding makes a % of a wide one.
create function search_pattern(written text) returns text language sql immutable parallel safe as $$
    select '%' || regexp_replace(public.fold_text(written), '([\\%_])', '\\\1', 'g') || '%'
$$;

-- By which lists are sorted, and namesakes found. Folding can make eighteen characters of one, and an index entry has to
-- stay below 2,704 bytes.
create function name_key(first_name text, last_name text) returns text language sql immutable parallel safe as $$
    select left(public.fold_text(regexp_replace(btrim(last_name) || ' ' || btrim(first_name), '\s+', ' ', 'g')), 400)
$$;

alter table clients
    add column status_before text constraint clients_status_before
        check (status_before in ('lead', 'onboarding', 'active', 'paused', 'churned')),  -- to restore an archived one to
    add column name_key text not null generated always as (name_key(first_name, last_name)) stored,
    add column phone_key text generated always as (phone_key(phone)) stored,
    add column search_text text not null generated always as (
        fold_text(first_name || ' ' || last_name || ' ' || coalesce(email, '') || ' ' || coalesce(phone_key(phone), ''))
    ) stored;

-- last_activity_at stands in no index: each message moves it, and shall not have to touch all of them.
drop index clients_name_idx;
create index clients_name_idx on clients (practice_id, name_key, id);
create index clients_email_idx on clients (practice_id, lower(email));
create index clients_phone_idx on clients (practice_id, phone_key);
create index clients_search_idx on clients using gin (practice_id, search_text gin_trgm_ops);

-- The clients that a viewer sees and asks for; a filter that is null asks for all. Plain SQL: the planner inlines it,
-- and leaves out what is not asked for.
create function matching_clients(
    practice uuid, viewer_role text, viewer uuid,
    wanted_status text,  -- null: all but the archived; any: these too
    wanted_tag text,
    wanted_coach uuid,
    without_coach boolean,
    wanted_band text,  -- none: those without a prediction
    active_from timestamptz, active_to timestamptz,
    created_from timestamptz, created_to timestamptz,
    word text, other_words text[]  -- the first may use the index
) returns setof clients
language sql stable as $$
    select c.*
    from visible_clients(practice, viewer_role, viewer) c
    left join predictions p on p.practice_id = practice and p.client_id = c.id
    where case when wanted_status is null then c.status <> 'archived'
               when wanted_status = 'any' then true
               else c.status = wanted_status end
      and (wanted_tag is null or c.tags @> array[wanted_tag])
      and (wanted_coach is null or c.coach_id = wanted_coach)
      and (not without_coach or c.coach_id is null)
      and case when wanted_band is null then true
               when wanted_band = 'none' then p.band is null
               else p.band = wanted_band end
      and (active_from is null or c.last_activity_at >= active_from)
      and (active_to is null or c.last_activity_at < active_to)
      and (created_from is null or c.created_at >= created_from)
      and (created_to is null or c.created_at < created_to)
      and (word is null or c.search_text like search_pattern(word))
      and (other_words is null
           or c.search_text like all (array(select search_pattern(w) from unnest(other_words) w)))
$$;

-- ---------------------------------------------------------------- what staff write down

-- Private to staff, and sealed (wellio/sealing.py).
create table client_notes (
    id uuid primary key,
    practice_id uuid not null,
    client_id uuid not null,
    author_id uuid not null,
    body bytea not null,
    pinned boolean not null default false,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint client_notes_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint client_notes_author_fkey foreign key (practice_id, author_id) references users (practice_id, id)
);
create index client_notes_client_idx on client_notes (practice_id, client_id, pinned desc, created_at desc, id);

-- ---------------------------------------------------------------- goals

create table client_goals (
    id uuid primary key,
    practice_id uuid not null,
    client_id uuid not null,
    title text not null,
    description text not null default '',
    unit text not null,
    start_value numeric not null,
    target_value numeric not null,
    current_value numeric not null,  -- the latest entry's, or where it began
    due_on date,
    status text not null default 'active'
        constraint client_goals_status check (status in ('active', 'achieved', 'abandoned')),
    created_by uuid not null,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint client_goals_practice_id_id_key unique (practice_id, id),
    constraint client_goals_somewhere_to_go check (start_value <> target_value),
    constraint client_goals_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint client_goals_created_by_fkey foreign key (practice_id, created_by) references users (practice_id, id)
);
create index client_goals_client_idx on client_goals (practice_id, client_id, created_at desc, id);

-- Entries are added, never changed.
create table goal_progress (
    id uuid primary key,
    practice_id uuid not null,
    goal_id uuid not null,
    value numeric not null,
    note text not null default '',
    reached_at timestamptz not null,
    recorded_by uuid not null,
    created_at timestamptz not null default now(),
    constraint goal_progress_goal_fkey
        foreign key (practice_id, goal_id) references client_goals (practice_id, id),
    constraint goal_progress_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id)
);
create index goal_progress_goal_idx on goal_progress (practice_id, goal_id, reached_at desc, id desc);

-- ---------------------------------------------------------------- measurements

-- `value` in the kind's one unit, so that a series can be drawn; beside it what was entered.
create table measurements (
    id uuid primary key,
    practice_id uuid not null,
    client_id uuid not null,
    kind text not null constraint measurements_kind check (kind in ('weight', 'body_fat', 'custom')),
    name text not null default '',  -- of a custom one
    value numeric not null,
    unit text not null,
    entered_value numeric not null,
    entered_unit text not null,
    measured_at timestamptz not null,
    recorded_by uuid not null,
    created_at timestamptz not null default now(),
    constraint measurements_custom_named check ((kind = 'custom') = (name <> '')),
    constraint measurements_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint measurements_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id)
);
create index measurements_client_idx on measurements (practice_id, client_id, measured_at desc, id desc);

-- ---------------------------------------------------------------- fields of a practice's own

-- What stands in clients.custom, for a practice that has said so; without any row it holds what anybody likes.
create table client_fields (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    key text not null constraint client_fields_key_form check (key ~ '^[a-z][a-z0-9_]{0,49}$'),
    label text not null,
    type text not null
        constraint client_fields_type check (type in ('text', 'number', 'date', 'choice', 'boolean')),
    options text[] not null default '{}',
    required boolean not null default false,
    position integer not null default 0,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    constraint client_fields_options check ((type = 'choice') = (cardinality(options) > 0)),
    constraint client_fields_key unique (practice_id, key)
);
