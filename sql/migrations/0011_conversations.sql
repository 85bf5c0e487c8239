-- What each member keeps of a conversation for themself, slow mode, and who has blocked whom.

alter table conversations
    -- Clients who are no admins send at most one message in so many seconds; 0: as many as they like.
    add column slow_mode_s integer not null default 0
        constraint conversations_slow_mode check (slow_mode_s between 0 and 3600),
    -- Of a direct conversation: who of the two has blocked the other, as user_blocks says; so that storing a message
    -- finds it in the row that it locks anyway.
    add column blocked_by uuid[] not null default '{}';

alter table conversation_members
    add column muted boolean not null default false,
    add column muted_until timestamptz,  -- null: until it is unmuted
    add column archived_at_count bigint,  -- archived for as long as conversations.message_count is this
    add column last_sent_at timestamptz;  -- of who is held by slow mode

create table user_blocks (
    practice_id uuid not null,
    user_id uuid not null,     -- who blocks
    blocked_id uuid not null,  -- whom
    created_at timestamptz not null default now(),
    constraint user_blocks_pkey primary key (practice_id, user_id, blocked_id),
    constraint user_blocks_user_fkey foreign key (practice_id, user_id) references users (practice_id, id),
    constraint user_blocks_blocked_fkey foreign key (practice_id, blocked_id) references users (practice_id, id)
);
create index user_blocks_blocked_idx on user_blocks (practice_id, blocked_id);
