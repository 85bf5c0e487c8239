-- Lists of clients stay quick in a practice of many thousands: their counts, and the orders that had no index.

-- ---------------------------------------------------------------- what clients are filtered by

-- churn_band: the prediction's, kept by the trigger below in the transaction that stores it.
-- activity_day: what the order by last activity begins with. It stands in an index, last_activity_at in none: a message
-- moves that one, and only the first of a day has to touch the indexes.
alter table clients
    add column churn_band text constraint clients_churn_band check (churn_band in ('low', 'medium', 'high')),
    add column activity_day date generated always as ((last_activity_at at time zone 'UTC')::date) stored;
create index clients_activity_idx on clients (practice_id, activity_day nulls first);
create index clients_unpredicted_idx on clients (practice_id, id) where churn_band is null;

create function follow_prediction() returns trigger language plpgsql as $$
declare
    changed predictions := case when tg_op = 'DELETE' then old else new end;
begin
    update clients c
    set churn_band = case when tg_op = 'DELETE' then null else changed.band end
    where c.practice_id = changed.practice_id and c.id = changed.client_id;
    return null;
end
$$;

update clients c set churn_band = p.band from predictions p where p.practice_id = c.practice_id and p.client_id = c.id;

create trigger predictions_band after insert or delete on predictions for each row execute function follow_prediction();
create trigger predictions_band_changed after update of band on predictions
    for each row when (old.band is distinct from new.band) execute function follow_prediction();

-- ---------------------------------------------------------------- how many there are of a kind

-- How many clients have exactly this status, coach, band and these tags: the sum of their rows. A change only adds rows,
-- so it waits for nobody; a job puts together what belongs together (jobs/sum_client_counts.py).
create table client_counts (
    practice_id uuid not null references practices (id),
    coach_id uuid,
    status text not null,
    churn_band text,
    tags text[] not null,
    clients bigint not null,
    summed boolean not null default false,  -- by the job, and nothing was added since
    constraint client_counts_coach_fkey foreign key (practice_id, coach_id) references users (practice_id, id)
);
create index client_counts_practice_idx on client_counts (practice_id);
create index client_counts_to_sum_idx on client_counts (practice_id) where not summed;

create function count_added_clients() returns trigger language plpgsql as $$
begin
    insert into client_counts (practice_id, coach_id, status, churn_band, tags, clients)
    select a.practice_id, a.coach_id, a.status, a.churn_band, a.tags, count(*)
    from added a
    group by a.practice_id, a.coach_id, a.status, a.churn_band, a.tags;
    return null;
end
$$;

create function count_changed_client() returns trigger language plpgsql as $$
begin
    insert into client_counts (practice_id, coach_id, status, churn_band, tags, clients)
    values (old.practice_id, old.coach_id, old.status, old.churn_band, old.tags, -1);
    if tg_op = 'UPDATE' then
        insert into client_counts (practice_id, coach_id, status, churn_band, tags, clients)
        values (new.practice_id, new.coach_id, new.status, new.churn_band, new.tags, 1);
    end if;
    return null;
end
$$;

insert into client_counts (practice_id, coach_id, status, churn_band, tags, clients, summed)
select practice_id, coach_id, status, churn_band, tags, count(*), true
from clients
group by practice_id, coach_id, status, churn_band, tags;

create trigger clients_added_counted after insert on clients
    referencing new table as added for each statement execute function count_added_clients();
create trigger clients_changed_counted after update on clients
    for each row when ((old.coach_id, old.status, old.churn_band, old.tags)
                       is distinct from (new.coach_id, new.status, new.churn_band, new.tags))
    execute function count_changed_client();
create trigger clients_deleted_counted after delete on clients for each row execute function count_changed_client();

-- ---------------------------------------------------------------- finding them

-- As in 0005_clients.sql, without a look at predictions.
create or replace function matching_clients(
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
    where case when wanted_status is null then c.status <> 'archived'
               when wanted_status = 'any' then true
               else c.status = wanted_status end
      and (wanted_tag is null or c.tags @> array[wanted_tag])
      and (wanted_coach is null or c.coach_id = wanted_coach)
      and (not without_coach or c.coach_id is null)
      and case when wanted_band is null then true
               when wanted_band = 'none' then c.churn_band is null
               else c.churn_band = wanted_band end
      and (active_from is null or c.last_activity_at >= active_from)
      and (active_to is null or c.last_activity_at < active_to)
      and (created_from is null or c.created_at >= created_from)
      and (created_to is null or c.created_at < created_to)
      and (word is null or c.search_text like search_pattern(word))
      and (other_words is null
           or c.search_text like all (array(select search_pattern(w) from unnest(other_words) w)))
$$;

-- The same clients as rows to be summed up: from the counts where these know all that is asked for, else one by one. The
-- planner, knowing the values, leaves out the one or the other.
create function counted_clients(
    practice uuid, viewer_role text, viewer uuid,
    wanted_status text, wanted_tag text, wanted_coach uuid, without_coach boolean, wanted_band text,
    active_from timestamptz, active_to timestamptz,
    created_from timestamptz, created_to timestamptz,
    word text, other_words text[]
) returns table (status text, coach_id uuid, churn_band text, tags text[], clients bigint)
language sql stable as $$
    select n.status, n.coach_id, n.churn_band, n.tags, n.clients
    from client_counts n
    where coalesce(active_from, active_to, created_from, created_to) is null and word is null
      and n.practice_id = practice
      and (viewer_role = 'owner' or (viewer_role = 'coach' and n.coach_id = viewer))
      and case when wanted_status is null then n.status <> 'archived'
               when wanted_status = 'any' then true
               else n.status = wanted_status end
      and (wanted_tag is null or n.tags @> array[wanted_tag])
      and (wanted_coach is null or n.coach_id = wanted_coach)
      and (not without_coach or n.coach_id is null)
      and case when wanted_band is null then true
               when wanted_band = 'none' then n.churn_band is null
               else n.churn_band = wanted_band end
    union all
    select m.status, m.coach_id, m.churn_band, m.tags, 1
    from matching_clients(practice, viewer_role, viewer, wanted_status, wanted_tag, wanted_coach, without_coach,
                          wanted_band, active_from, active_to, created_from, created_to, word, other_words) m
    where coalesce(active_from, active_to, created_from, created_to) is not null or word is not null
       or viewer_role = 'client'
$$;

-- ---------------------------------------------------------------- sessions in calendars

-- A SEQUENCE only rises, whatever happens (RFC 5546, 2.1.4). What is called off counts as one more than its row says, so
-- what comes back counts as two more. A place in a group has its own count beside its session's.
alter table session_participants add column sequence integer not null default 0;

create function called_off(status text) returns boolean language sql immutable as $$
    select status in ('cancelled', 'late_cancelled', 'cancelled_by_coach')
$$;

create function raise_sequence() returns trigger language plpgsql as $$
begin
    new.sequence := greatest(
        new.sequence, old.sequence + case when called_off(old.status) and not called_off(new.status) then 2 else 0 end);
    return new;
end
$$;
create trigger sessions_sequence before update of status, sequence on sessions
    for each row execute function raise_sequence();
create trigger session_participants_sequence before update of status, sequence on session_participants
    for each row execute function raise_sequence();

-- ---------------------------------------------------------------- who takes part

-- Of one session, as a viewer sees it: how many are booked, and those whom the viewer may know of, a client only
-- themself.
create function session_places(practice uuid, session uuid, viewer_role text, viewer uuid)
returns table (booked bigint, participants jsonb)
language sql stable as $$
    select count(*) filter (where p.status in ('booked', 'attended', 'no_show')),
           jsonb_agg(jsonb_build_object(
               'client_id', p.client_id, 'user_id', c.user_id, 'status', p.status, 'joined_at', p.joined_at
           ) order by p.booked_at, p.client_id) filter (where viewer_role <> 'client' or c.user_id = viewer)
    from session_participants p
    join clients c on c.practice_id = practice and c.id = p.client_id
    where p.practice_id = practice and p.session_id = session
$$;

-- ---------------------------------------------------------------- analytics

-- In which of three periods an instant lies: 1, 2, 3 or none.
create function part_of(instant timestamptz, firsts timestamptz[], ends timestamptz[]) returns integer
language sql immutable parallel safe as $$
    select case when instant >= firsts[1] and instant < ends[1] then 1
                when instant >= firsts[2] and instant < ends[2] then 2
                when instant >= firsts[3] and instant < ends[3] then 3 end
$$;
