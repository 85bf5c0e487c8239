-- Messages are edited, deleted and reacted to; they mention people and carry files; they are pinned and starred.

-- changed_seq: where in the log a message was last edited or deleted. The counts save asking for what few messages have.
alter table messages
    add column changed_seq bigint,
    add column reaction_count integer not null default 0,
    add column attachment_count smallint not null default 0;

-- Of each message, person and emoji one; `seq` is its place in the log, and so in the order of the message's reactions.
create table message_reactions (
    practice_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    user_id uuid not null,
    emoji text not null,
    seq bigint not null,
    constraint message_reactions_pkey primary key (message_id, user_id, emoji),
    constraint message_reactions_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint message_reactions_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);

-- Whom a message names; `seq` is the message's own, so that what is unread is counted without it.
create table message_mentions (
    practice_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    user_id uuid not null,
    seq bigint not null,
    constraint message_mentions_pkey primary key (message_id, user_id),
    constraint message_mentions_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint message_mentions_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index message_mentions_user_idx on message_mentions (practice_id, user_id, message_id desc);
create index message_mentions_unread_idx on message_mentions (conversation_id, user_id, seq);

create table pinned_messages (
    practice_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    pinned_by uuid not null,
    pinned_at timestamptz not null,
    constraint pinned_messages_pkey primary key (message_id),
    constraint pinned_messages_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint pinned_messages_user_fkey foreign key (practice_id, pinned_by) references users (practice_id, id)
);
create index pinned_messages_conversation_idx on pinned_messages (conversation_id, pinned_at desc);

create table starred_messages (
    practice_id uuid not null,
    user_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    starred_at timestamptz not null,
    constraint starred_messages_pkey primary key (user_id, message_id),
    constraint starred_messages_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint starred_messages_user_fkey foreign key (practice_id, user_id) references users (practice_id, id)
);
create index starred_messages_user_idx on starred_messages (practice_id, user_id, starred_at desc);
create index starred_messages_message_idx on starred_messages (message_id);

-- Files. The row comes first and goes last, so that no file is without one: arriving (its bytes are being written),
-- ready (they are there), erased (they are to be removed, and then the row).
create table uploads (
    id uuid primary key,
    practice_id uuid not null references practices (id),
    uploader_id uuid not null,
    state text not null default 'arriving',
    name text not null,
    content_type text,
    size_bytes bigint,
    sha256 bytea,
    created_at timestamptz not null default now(),
    conversation_id uuid,
    message_id uuid,
    place smallint,  -- among the message's attachments
    constraint uploads_uploader_fkey foreign key (practice_id, uploader_id) references users (practice_id, id),
    constraint uploads_message_fkey foreign key (practice_id, conversation_id, message_id)
        references messages (practice_id, conversation_id, id),
    constraint uploads_state check (state in ('arriving', 'ready', 'erased')),
    constraint uploads_complete check (
        state <> 'ready' or (content_type is not null and size_bytes is not null and sha256 is not null)
    ),
    constraint uploads_attached check (
        message_id is null or (state = 'ready' and conversation_id is not null and place is not null)
    )
);
create index uploads_message_idx on uploads (message_id) where message_id is not null;
create index uploads_loose_idx on uploads (created_at) where message_id is null;

-- Messages as people see them. What few have is looked for only where the counts say that there is some. json keeps
-- the order, which jsonb does not.
create view shown_messages as
select m.id, m.practice_id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to,
       m.created_at, m.edited_at, m.deleted_at, m.changed_seq,
       case when m.reaction_count > 0 then (
           select json_object_agg(e.emoji, e.user_ids order by e.first)
           from (select r.emoji, array_agg(r.user_id order by r.seq) as user_ids, min(r.seq) as first
                 from message_reactions r where r.message_id = m.id group by r.emoji) e
       ) end as reactions,
       case when m.attachment_count > 0 then (
           select json_agg(json_build_object('id', u.id, 'name', u.name, 'content_type', u.content_type,
                                             'size_bytes', u.size_bytes, 'sha256', encode(u.sha256, 'hex'))
                           order by u.place)
           from uploads u where u.message_id = m.id
       ) end as attachments
from messages m;
