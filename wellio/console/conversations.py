"""Conversations as home shows them: whom one is with, what was said last, and one of them opened."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.conversations import Conversation, ConversationQuery, list_conversations
from wellio.chat.history import MessageQuery, list_messages
from wellio.chat.values import Message
from wellio.db import Database

SHOWN = 20
THREAD_MESSAGES = 30


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation as its list shows it. `person` is the other one of two, `seq` how far this goes."""

    id: UUID
    name: str
    person: UUID | None
    last: Message | None
    mine: bool
    unread: int
    seq: int
    names: dict[UUID, str]

    @property
    def names_json(self) -> str:
        return json.dumps({str(user_id): name for user_id, name in self.names.items()})


@dataclass(frozen=True, slots=True)
class Thread:
    """An open conversation with its latest messages, oldest first. `earlier`: there are more before them."""

    talk: Talk
    messages: Sequence[Message]
    earlier: bool


async def list_talks(db: Database, actor: Actor) -> list[Talk]:
    page = await list_conversations(db, actor, ConversationQuery(page_size=SHOWN))
    return [_talk(actor, conversation) for conversation in page.items]


async def open_thread(db: Database, actor: Actor, talks: Sequence[Talk], wanted: str) -> Thread | None:
    """The conversation whose id is `wanted`, or else the most recently active one."""
    talk = next((talk for talk in talks if str(talk.id) == wanted), talks[0] if talks else None)
    if talk is None:
        return None
    # Read after the list: what comes in between is shown twice to nobody, as the script knows each by its id.
    page = await list_messages(db, actor, talk.id, MessageQuery(limit=THREAD_MESSAGES))
    return Thread(talk, page.items[::-1], page.pagination.has_next)


def _talk(actor: Actor, conversation: Conversation) -> Talk:
    others = [member for member in conversation.members if member.user_id != actor.user_id]
    last = conversation.last_message
    return Talk(
        id=conversation.id,
        name=conversation.title or ", ".join(member.name for member in others) or "Only you",
        person=others[0].user_id if conversation.kind == "direct" and others else None,
        last=last,
        mine=last is not None and last.sender_id == actor.user_id,
        unread=conversation.unread,
        seq=conversation.last_seq,
        names={member.user_id: member.name for member in conversation.members},
    )
