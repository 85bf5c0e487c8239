-- Plans, subscriptions, packages of sessions and the credits that come of them; what clients owe, and refunds that name
-- what they refund. Ledgers only grow: an error is corrected by an entry that names what it corrects.

create table plans (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    name text not null,
    price_minor bigint not null constraint plans_price check (price_minor >= 0),
    currency text not null constraint plans_currency_iso check (currency ~ '^[A-Z]{3}$'),
    interval text not null constraint plans_interval check (interval in ('week', 'month', 'year')),
    session_credits integer constraint plans_credits check (session_credits between 1 and 1000),  -- per period
    session_type_id uuid,  -- what the credits are good for; null: any
    archived_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    constraint plans_practice_id_id_key unique (practice_id, id),
    constraint plans_session_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id)
);
create index plans_practice_idx on plans (practice_id, created_at, id);

-- The terms are copied from the plan: a plan that changes later changes nothing that was agreed. Period n begins n
-- intervals after starts_on, so that a month that is too short moves no later period.
create table subscriptions (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    plan_id uuid not null,
    starts_on date not null,
    status text not null default 'active'
        constraint subscriptions_status check (status in ('active', 'paused', 'cancelled')),
    price_minor bigint not null constraint subscriptions_price check (price_minor >= 0),
    currency text not null,
    interval text not null,
    session_credits integer,
    session_type_id uuid,
    next_period integer not null default 0,  -- the number of the first period that is not dealt with, and when it begins
    next_period_on date not null,
    paused_on date,
    cancelled_on date,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint subscriptions_practice_id_id_key unique (practice_id, id),
    constraint subscriptions_client_id_key unique (practice_id, client_id, id),
    constraint subscriptions_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint subscriptions_plan_fkey foreign key (practice_id, plan_id) references plans (practice_id, id),
    constraint subscriptions_session_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id)
);
create unique index subscriptions_one_running on subscriptions (practice_id, client_id, plan_id)
    where status <> 'cancelled';
create index subscriptions_practice_idx on subscriptions (practice_id, created_at desc, id);
create index subscriptions_due_idx on subscriptions (next_period_on) where status = 'active';

create table packages (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    name text not null,
    credits integer not null constraint packages_credits check (credits between 1 and 1000),
    price_minor bigint not null constraint packages_price check (price_minor >= 0),
    currency text not null constraint packages_currency_iso check (currency ~ '^[A-Z]{3}$'),
    valid_days integer constraint packages_valid_days check (valid_days between 1 and 3660),  -- null: for ever
    session_type_id uuid,  -- what the credits are good for; null: any
    archived_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    constraint packages_practice_id_id_key unique (practice_id, id),
    constraint packages_session_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id)
);
create index packages_practice_idx on packages (practice_id, created_at, id);

-- ---------------------------------------------------------------- what only grows

-- What was bought, on the terms of that day.
create table package_purchases (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    package_id uuid not null,
    credits integer not null,
    price_minor bigint not null,
    currency text not null,
    session_type_id uuid,
    purchased_at timestamptz not null,
    expires_at timestamptz,
    recorded_by uuid,
    constraint package_purchases_practice_id_id_key unique (practice_id, id),
    constraint package_purchases_client_id_key unique (practice_id, client_id, id),
    constraint package_purchases_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint package_purchases_package_fkey foreign key (practice_id, package_id) references packages (practice_id, id),
    constraint package_purchases_session_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id),
    constraint package_purchases_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id)
);
create index package_purchases_practice_idx on package_purchases (practice_id, purchased_at desc, id);

-- What clients owe. An entry with a charge_id takes that charge back: its amount is exactly the opposite, which the
-- reference by voids_minor holds.
create table charges (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    kind text not null constraint charges_kind check (kind in (
        'subscription', 'package', 'session', 'late_cancellation', 'other')),
    amount_minor bigint not null,
    voids_minor bigint generated always as (-amount_minor) stored,
    currency text not null constraint charges_currency_iso check (currency ~ '^[A-Z]{3}$'),
    charged_at timestamptz not null,
    note text not null default '',
    subscription_id uuid,
    period_start date,  -- half-open: period_end is the next period's first day
    period_end date,
    purchase_id uuid,
    session_id uuid,
    recorded_by uuid,
    created_at timestamptz not null default now(),
    charge_id uuid,
    constraint charges_practice_id_id_key unique (practice_id, id),
    constraint charges_entry_key unique (practice_id, client_id, currency, amount_minor, id),
    constraint charges_voided_once unique (charge_id),
    constraint charges_sign check (case when charge_id is null then amount_minor >= 0 else amount_minor <= 0 end),
    constraint charges_period check (
        (subscription_id is null) = (period_start is null) and (period_start is null) = (period_end is null)),
    constraint charges_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint charges_subscription_fkey foreign key (practice_id, client_id, subscription_id)
        references subscriptions (practice_id, client_id, id),
    constraint charges_purchase_fkey foreign key (practice_id, client_id, purchase_id)
        references package_purchases (practice_id, client_id, id),
    constraint charges_session_fkey foreign key (practice_id, session_id) references sessions (practice_id, id),
    constraint charges_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id),
    constraint charges_void_fkey foreign key (practice_id, client_id, currency, voids_minor, charge_id)
        references charges (practice_id, client_id, currency, amount_minor, id)
);
-- However often the job runs, and whatever it was interrupted by.
create unique index charges_once_per_period on charges (subscription_id, period_start);
create index charges_charged_idx on charges (practice_id, charged_at desc, id desc);
create index charges_client_idx on charges (practice_id, client_id, charged_at desc, id);
create index charges_session_idx on charges (practice_id, session_id) where session_id is not null;
create unique index charges_purchase_key on charges (purchase_id);

-- Credits that were granted together and end together.
create table credit_lots (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    session_type_id uuid,
    expires_at timestamptz,
    charge_id uuid,  -- of the package or the subscription's period that they came with; null: granted
    created_at timestamptz not null default now(),
    constraint credit_lots_practice_id_id_key unique (practice_id, id),
    constraint credit_lots_client_id_key unique (practice_id, client_id, id),
    constraint credit_lots_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint credit_lots_session_type_fkey
        foreign key (practice_id, session_type_id) references session_types (practice_id, id),
    constraint credit_lots_charge_fkey foreign key (practice_id, charge_id) references charges (practice_id, id)
);
create index credit_lots_client_idx on credit_lots (practice_id, client_id, expires_at);
create index credit_lots_charge_idx on credit_lots (charge_id) where charge_id is not null;
create index credit_lots_expires_idx on credit_lots (expires_at) where expires_at is not null;

create table credit_entries (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    client_id uuid not null,
    lot_id uuid not null,
    amount integer not null,
    reason text not null constraint credit_entries_reason check (reason in (
        'purchase', 'grant', 'used', 'returned', 'expired', 'correction')),
    session_id uuid,
    note text not null default '',
    recorded_by uuid,
    created_at timestamptz not null default now(),
    constraint credit_entries_sign check (case
        when reason in ('purchase', 'grant', 'returned') then amount > 0
        when reason in ('used', 'expired') then amount < 0
        else amount <> 0 end),
    constraint credit_entries_session check ((reason in ('used', 'returned')) = (session_id is not null)),
    constraint credit_entries_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id),
    constraint credit_entries_lot_fkey foreign key (practice_id, client_id, lot_id)
        references credit_lots (practice_id, client_id, id),
    constraint credit_entries_session_fkey foreign key (practice_id, session_id) references sessions (practice_id, id),
    constraint credit_entries_recorded_by_fkey foreign key (practice_id, recorded_by) references users (practice_id, id)
);
create index credit_entries_lot_idx on credit_entries (lot_id) include (amount);
create index credit_entries_created_idx on credit_entries (practice_id, created_at desc, id desc);
create index credit_entries_client_idx on credit_entries (practice_id, client_id, created_at desc, id);
create index credit_entries_session_idx on credit_entries (practice_id, session_id) where session_id is not null;

-- A refund names its payment (those of an imported history may not), and so does what takes back a payment or a refund
-- that was recorded in error. net_minor: what it means for the till.
alter table payments
    add column payment_id uuid,
    drop constraint payments_kind,
    add constraint payments_kind check (kind in ('payment', 'refund', 'payment_void', 'refund_void')),
    add constraint payments_names_payment check (case kind
        when 'payment' then payment_id is null when 'refund' then true else payment_id is not null end),
    add column net_minor bigint generated always as (
        case when kind in ('payment', 'refund_void') then amount_minor else -amount_minor end) stored,
    add constraint payments_entry_key unique (practice_id, client_id, currency, id),
    add constraint payments_payment_fkey foreign key (practice_id, client_id, currency, payment_id)
        references payments (practice_id, client_id, currency, id);
create index payments_payment_idx on payments (payment_id) where payment_id is not null;
create unique index payments_voided_once on payments (payment_id) where kind in ('payment_void', 'refund_void');

-- ---------------------------------------------------------------- what holds whatever the app does

-- Entries of one client queue at the client's row, so that each counts what the one before has taken.
create function lock_account(practice uuid, client uuid) returns void language sql as $$
    select from clients where practice_id = practice and id = client for no key update
$$;

create function check_payment_taken_back() returns trigger language plpgsql as $$
declare
    original payments;
    standing bigint;
begin
    perform lock_account(new.practice_id, new.client_id);
    select * into original from payments where id = new.payment_id;
    if (new.kind = 'refund_void') <> (original.kind = 'refund') or original.kind not in ('payment', 'refund') then
        raise exception 'A % can not take back a %.', new.kind, original.kind
            using errcode = 'check_violation', constraint = 'payments_takes_back';
    end if;
    -- Of a payment: what was neither refunded nor voided. Of a refund: all, or nothing once it is voided.
    select original.amount_minor - coalesce(sum(t.amount_minor), 0) into standing
    from payments t
    where t.payment_id = original.id
      and not exists (select from payments v where v.payment_id = t.id and v.kind = 'refund_void');
    if new.kind = 'refund' and new.amount_minor > standing then
        raise exception 'More than is left of the payment.'
            using errcode = 'check_violation', constraint = 'payments_refund_within_payment';
    end if;
    if new.kind <> 'refund' and (new.amount_minor <> original.amount_minor or standing <> original.amount_minor) then
        raise exception 'Part of it was taken back before.'
            using errcode = 'check_violation', constraint = 'payments_void_whole';
    end if;
    return new;
end $$;
create trigger payments_taken_back before insert on payments
    for each row when (new.payment_id is not null) execute function check_payment_taken_back();

create function check_credits_left() returns trigger language plpgsql as $$
begin
    perform lock_account(new.practice_id, new.client_id);
    if (select coalesce(sum(e.amount), 0) from credit_entries e where e.lot_id = new.lot_id) + new.amount < 0 then
        raise exception 'There are not so many credits left.'
            using errcode = 'check_violation', constraint = 'credit_entries_not_below_zero';
    end if;
    return new;
end $$;
create trigger credit_entries_left before insert on credit_entries
    for each row when (new.amount < 0) execute function check_credits_left();

create function refuse_ledger_change() returns trigger language plpgsql as $$
begin
    raise exception '% only grows: correct an entry by another one.', tg_table_name using errcode = 'insufficient_privilege';
end $$;
create trigger payments_append_only before update or delete or truncate on payments
    for each statement execute function refuse_ledger_change();
create trigger charges_append_only before update or delete or truncate on charges
    for each statement execute function refuse_ledger_change();
create trigger package_purchases_append_only before update or delete or truncate on package_purchases
    for each statement execute function refuse_ledger_change();
create trigger credit_lots_append_only before update or delete or truncate on credit_lots
    for each statement execute function refuse_ledger_change();
create trigger credit_entries_append_only before update or delete or truncate on credit_entries
    for each statement execute function refuse_ledger_change();
revoke update, delete on payments, charges, package_purchases, credit_lots, credit_entries from wellio_app;
