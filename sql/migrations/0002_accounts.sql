-- Accounts complete: verified addresses, second factors, invitations, one-time links, API keys, mails, the audit log;
-- and the role that the app works under, which may neither change the schema nor the audit log.

alter table users
    add column email_verified_at timestamptz,
    add column pending_email text,  -- where the address is about to change to; the link there confirms it
    add column totp_secret bytea,  -- sealed (wellio/sealing.py)
    add column totp_enabled_at timestamptz,
    add column totp_last_step bigint not null default 0,  -- RFC 6238: a code serves once
    add column totp_failures integer not null default 0,  -- wrong codes since the last right one
    add column totp_failed_at timestamptz;  -- when the last of them was given
alter table users
    add constraint users_totp_has_secret check (totp_enabled_at is null or totp_secret is not null);

-- Accounts made before addresses were verified are taken as they are.
update users set email_verified_at = created_at;

alter table auth_sessions
    add column authenticated_at timestamptz not null default now();  -- the last proof of password or second factor
-- What ended lately: sockets of ended sessions are looked for by this.
create index auth_sessions_revoked_idx on auth_sessions (revoked_at) where revoked_at is not null;

-- Whoever is suspended or gets another role is signed out everywhere, also when plain SQL did it. An API key acts in
-- whatever role its user has, and does not outlive a suspension.
create function end_sessions_of_changed_user() returns trigger language plpgsql as $$
begin
    update auth_sessions
    set revoked_at = now(), revoked_reason = case when new.role <> old.role then 'role changed' else 'suspended' end
    where practice_id = new.practice_id and user_id = new.id and revoked_at is null;
    update api_keys
    set revoked_at = now()
    where practice_id = new.practice_id and user_id = new.id and revoked_at is null and new.status <> 'active';
    return null;
end $$;
create trigger users_changed_ends_sessions
    after update of role, status on users
    for each row when (new.role <> old.role or new.status <> 'active')
    execute function end_sessions_of_changed_user();

-- ---------------------------------------------------------------- one-time links and codes

-- Links that were mailed, and log-ins that wait for their second factor. Only the sha256 of the token is kept.
create table one_time_tokens (
    token_hash bytea primary key,
    practice_id uuid not null,
    user_id uuid not null,
    purpose text not null constraint one_time_tokens_purpose check (purpose in (
        'password_reset', 'verify_email', 'second_factor')),
    email text not null default '',  -- the address it was sent to: it serves that address alone
    attempts integer not null default 0,  -- wrong codes given with it
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint one_time_tokens_user_fkey
        foreign key (practice_id, user_id) references users (practice_id, id) on delete cascade
);
create index one_time_tokens_user_idx on one_time_tokens (practice_id, user_id, purpose);
create index one_time_tokens_expires_idx on one_time_tokens (expires_at);

create table recovery_codes (
    practice_id uuid not null,
    user_id uuid not null,
    code_hash bytea not null,
    used_at timestamptz,
    constraint recovery_codes_pkey primary key (user_id, code_hash),
    constraint recovery_codes_user_fkey
        foreign key (practice_id, user_id) references users (practice_id, id) on delete cascade
);

create table invitations (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    email text not null,
    role text not null constraint invitations_role check (role in ('owner', 'coach', 'client')),
    client_id uuid,  -- of a client: who will see themself there
    invited_by uuid not null,
    token_hash bytea,  -- of the link sent last; null until the mail is made
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    expires_at timestamptz not null,
    accepted_at timestamptz,
    accepted_by uuid,
    revoked_at timestamptz,
    constraint invitations_practice_id_id_key unique (practice_id, id),
    constraint invitations_client_role check ((role = 'client') = (client_id is not null)),
    constraint invitations_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint invitations_invited_by_fkey foreign key (practice_id, invited_by) references users (practice_id, id),
    constraint invitations_accepted_by_fkey foreign key (practice_id, accepted_by) references users (practice_id, id)
);
create index invitations_practice_idx on invitations (practice_id, created_at desc, id);
create unique index invitations_token_key on invitations (token_hash) where token_hash is not null;

-- ---------------------------------------------------------------- API keys

create table api_keys (
    id uuid primary key,
    practice_id uuid not null,
    user_id uuid not null,  -- a key acts as its user, within its scopes
    name text not null,
    prefix text not null,  -- its first characters, to tell keys apart
    key_hash bytea not null,
    scopes text[] not null constraint api_keys_scopes check (cardinality(scopes) > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint api_keys_hash_key unique (key_hash),
    constraint api_keys_practice_id_id_key unique (practice_id, id),
    constraint api_keys_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index api_keys_user_idx on api_keys (practice_id, user_id, created_at desc);

-- ---------------------------------------------------------------- mails

-- What is to be sent, stored in the transaction of its reason. Neither text nor link is kept: both are made when the
-- mail is sent, from what it concerns. A mail to an address that nobody here has is a row too, and ends 'dropped':
-- so a request for a link costs the same whether or not the address exists.
create table mails (
    id uuid primary key,
    practice_id uuid references practices (id),
    user_id uuid,
    kind text not null,  -- names the templates
    recipient text not null,
    data jsonb not null default '{}',  -- ids and times; never a secret, never what somebody wrote
    status text not null default 'waiting' constraint mails_status check (status in (
        'waiting', 'sent', 'dropped', 'dead')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_error text,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    constraint mails_user_has_practice check (user_id is null or practice_id is not null),
    constraint mails_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index mails_waiting_idx on mails (next_attempt_at, id) where status = 'waiting';
create index mails_practice_idx on mails (practice_id, created_at desc);

-- ---------------------------------------------------------------- audit

-- Who did or read what. Written in the transaction of the change; reads, sign-ins and denials in one of their own.
-- practice_id is null for a sign-in with an address that nobody has.
create table audit_log (
    position bigint generated always as identity,
    xid bigint not null default (pg_current_xact_id()::text::bigint),
    id uuid not null,
    practice_id uuid,
    at timestamptz not null default now(),
    actor_id uuid,  -- null: nobody signed in, or the system
    actor_role text,
    session_id uuid,  -- the device, or
    api_key_id uuid,  -- the key that acted
    action text not null,  -- the operation's id in OpenAPI, or a command's name
    outcome text not null constraint audit_log_outcome check (outcome in ('done', 'read', 'denied', 'failed')),
    subject_id uuid,
    client_ids uuid[] not null default '{}',  -- whose personal data it was
    request_id text not null default '',
    address text not null default '',
    details jsonb not null default '{}',  -- names of fields, counts, reasons; never content
    constraint audit_log_pkey primary key (xid, position),
    constraint audit_log_id_key unique (id)
);
create index audit_log_practice_idx on audit_log (practice_id, at desc, id);
create index audit_log_clients_idx on audit_log using gin (client_ids);

-- The chain over the log, in its order (xid, position): hash = sha256(previous hash, row). Rows are sealed within a
-- second of their commit by the process that leads, so that nobody waits for the chain to write.
create table audit_chain (
    number bigint primary key,  -- 1, 2, 3… without holes
    audit_id uuid not null,
    xid bigint not null,
    position bigint not null,
    hash bytea not null,
    constraint audit_chain_audit_key unique (audit_id)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'The audit log is append-only.' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_log_append_only before update or delete or truncate on audit_log
    for each statement execute function refuse_change();
create trigger audit_chain_append_only before update or delete or truncate on audit_chain
    for each statement execute function refuse_change();

-- ---------------------------------------------------------------- sealed values

-- For wellio/resealing.py, which names the sealed columns. Names of tables and columns can't be parameters of SQL; here
-- they can, quoted by format().

-- By which key a value is sealed: the id that it begins with (wellio/sealing.py). Empty for what is not sealed.
create function sealing_key(sealed bytea) returns text language sql immutable strict as $$
    select case
        when length(sealed) < 2 or get_byte(sealed, 0) <> 1 or length(sealed) < 14 + get_byte(sealed, 1) then ''
        else encode(substring(sealed from 3 for get_byte(sealed, 1)), 'escape')
    end
$$;

create function count_sealed(table_name text, column_name text)
returns table (key_id text, how_many bigint) language plpgsql stable as $$
begin
    return query execute format(
        'select sealing_key(%2$I), count(*) from %1$I where %2$I is not null group by 1', table_name, column_name);
end $$;

-- Rows whose value another key than `key_id` has sealed, locked; those that somebody works on are passed over.
create function lock_sealed(
    table_name text, row_key text, column_name text, key_id text, after uuid, at_most integer)
returns table (row_id uuid, sealed bytea) language plpgsql as $$
begin
    return query execute format(
        'select %2$I, %3$I from %1$I where %3$I is not null and sealing_key(%3$I) <> $1 and %2$I > $2'
        ' order by %2$I limit $3 for no key update skip locked', table_name, row_key, column_name)
    using key_id, after, at_most;
end $$;

create function update_sealed(
    table_name text, row_key text, column_name text, row_ids uuid[], sealed bytea[])
returns void language plpgsql as $$
begin
    execute format(
        'update %1$I t set %3$I = n.sealed from unnest($1, $2) n (id, sealed) where t.%2$I = n.id',
        table_name, row_key, column_name)
    using row_ids, sealed;
end $$;

-- ---------------------------------------------------------------- the app's role

-- A role of the cluster, made once; databases of one cluster may come to this line at the same moment.
do $$
begin
    if not exists (select from pg_roles where rolname = 'wellio_app') then
        create role wellio_app nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end $$;
do $$
begin
    -- So that the role of DATABASE_URL may work under it.
    if not pg_has_role(current_user, 'wellio_app', 'member') then
        execute format('grant wellio_app to %I', current_user);
    end if;
exception when unique_violation then
    null;
end $$;

grant usage on schema public to wellio_app;
grant select, insert, update, delete on all tables in schema public to wellio_app;
grant usage on all sequences in schema public to wellio_app;
alter default privileges in schema public grant select, insert, update, delete on tables to wellio_app;
alter default privileges in schema public grant usage on sequences to wellio_app;
revoke update, delete on audit_log, audit_chain from wellio_app;
revoke insert, update, delete on schema_migrations from wellio_app;
