-- What the learner tells beside a probability, how it went over time, and that all of it goes with its client.

-- usual_probability: what it was on the client's usual day, of one who is later than that (learning/answers.py).
-- engagement: 0 to 100, the rank within the practice.
alter table predictions
    add column usual_probability double precision
        constraint predictions_usual_probability check (usual_probability >= 0 and usual_probability <= 1),
    add column engagement double precision not null default 0
        constraint predictions_engagement check (engagement >= 0 and engagement <= 100),
    drop constraint predictions_client_fkey,
    add constraint predictions_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id)
        on delete cascade;
create index predictions_engagement_idx on predictions (practice_id, engagement desc, client_id);

-- One row a client and day (UTC) at most: the last prediction of a day on which an event moved it, its band or status
-- changed, or all were asked about. event_id: what moved it that day, null when time alone did.
create table prediction_history (
    practice_id uuid not null,
    client_id uuid not null,
    day date not null,
    probability double precision not null,
    band text not null constraint prediction_history_band check (band in ('low', 'medium', 'high')),
    status text not null constraint prediction_history_status check (status in ('ok', 'not_enough_history')),
    engagement double precision not null,
    as_of timestamptz not null,
    event_id uuid,
    constraint prediction_history_pkey primary key (practice_id, client_id, day),
    constraint prediction_history_client_fkey foreign key (practice_id, client_id) references clients (practice_id, id)
        on delete cascade
);

-- Outcomes went on when their client was gone; a figure of a person goes with the person.
delete from prediction_outcomes o
where not exists (select from clients c where c.practice_id = o.practice_id and c.id = o.client_id);
alter table prediction_outcomes
    add constraint prediction_outcomes_client_fkey foreign key (practice_id, client_id)
        references clients (practice_id, id) on delete cascade;
create index prediction_outcomes_client_idx on prediction_outcomes (practice_id, client_id, asked_at);
