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

-- Messages that are written now and sent later. Sealed while they wait; once sent, the message has the words.
create table scheduled_messages (
    id uuid primary key,
    practice_id uuid not null,
    conversation_id uuid not null,
    sender_id uuid not null,
    client_message_id uuid not null,
    body bytea,
    reply_to uuid,
    send_at timestamptz not null,
    timezone text,  -- in which it was asked for as a wall time
    due_at timestamptz not null,  -- send_at, or later where slow mode held it
    status text not null default 'waiting' constraint scheduled_messages_status check (
        status in ('waiting', 'sending', 'sent', 'failed')),
    failure text,
    message_id uuid,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint scheduled_messages_once unique (conversation_id, sender_id, client_message_id),
    constraint scheduled_messages_conversation_fkey
        foreign key (practice_id, conversation_id) references conversations (practice_id, id),
    constraint scheduled_messages_sender_fkey foreign key (practice_id, sender_id) references users (practice_id, id),
    constraint scheduled_messages_reply_fkey foreign key (practice_id, conversation_id, reply_to)
        references messages (practice_id, conversation_id, id),
    constraint scheduled_messages_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id)
);
create index scheduled_messages_due_idx on scheduled_messages (due_at, id) where status in ('waiting', 'sending');
create index scheduled_messages_sender_idx on scheduled_messages (practice_id, sender_id, send_at);

-- Whether owners may read conversations that they are not in: none, those of which a message was reported, all.
alter table practices
    add column message_oversight text not null default 'reported'
        constraint practices_message_oversight check (message_oversight in ('none', 'reported', 'all'));

-- What somebody reported, as it was then; sealed, as what people write to each other.
create table message_reports (
    id uuid primary key,
    practice_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    sender_id uuid not null,
    reporter_id uuid not null,
    reason text not null constraint message_reports_reason check (
        reason in ('harassment', 'spam', 'inappropriate', 'safety', 'other')),
    note bytea,
    body bytea not null,
    status text not null default 'open' constraint message_reports_status check (
        status in ('open', 'resolved', 'dismissed')),
    action text constraint message_reports_action check (action in ('none', 'delete_message', 'remove_member')),
    resolved_by uuid,
    resolved_at timestamptz,
    created_at timestamptz not null default now(),
    constraint message_reports_once unique (message_id, reporter_id),
    constraint message_reports_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint message_reports_sender_fkey foreign key (practice_id, sender_id) references users (practice_id, id),
    constraint message_reports_reporter_fkey foreign key (practice_id, reporter_id) references users (practice_id, id),
    constraint message_reports_resolver_fkey foreign key (practice_id, resolved_by) references users (practice_id, id)
);
create index message_reports_practice_idx on message_reports (practice_id, created_at desc);
create index message_reports_conversation_idx on message_reports (conversation_id);
