-- What members have begun to write, and when people were last there.

-- One of each member of a conversation, sealed: gone with the membership.
create table drafts (
    id uuid primary key,  -- another with each change: its words are bound to it
    practice_id uuid not null,
    conversation_id uuid not null,
    user_id uuid not null,
    body bytea not null,
    reply_to uuid,
    updated_at timestamptz not null default now(),
    constraint drafts_once unique (conversation_id, user_id),
    constraint drafts_member_fkey foreign key (conversation_id, user_id)
        references conversation_members (conversation_id, user_id) on delete cascade,
    constraint drafts_conversation_fkey
        foreign key (practice_id, conversation_id) references conversations (practice_id, id),
    constraint drafts_user_fkey foreign key (practice_id, user_id) references users (practice_id, id),
    constraint drafts_reply_fkey foreign key (practice_id, conversation_id, reply_to)
        references messages (practice_id, conversation_id, id)
);
create index drafts_user_idx on drafts (practice_id, user_id);

alter table users
    -- When a device of theirs was last connected, others seeing it; of who is connected, at most a minute old.
    add column last_seen_at timestamptz,
    -- Whether others are shown it.
    add column share_last_seen boolean not null default true;
