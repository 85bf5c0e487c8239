"""What is said: the shape of a message, as it is sent and as people see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import orjson
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from wellio.db import Row
from wellio.values import Input, Text

MAX_ATTACHMENTS = 10


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


# What can't do without words.
Body = Annotated[Text, Field(min_length=1), AfterValidator(not_blank)]


def _distinct(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    if len(set(ids)) < len(ids):
        raise ValueError("must name each upload once")
    return ids


class Words(Input):
    """What is said: words, files, or both. `upload_ids`: one's own that are attached to nothing yet."""

    upload_ids: Annotated[tuple[UUID, ...], Field(max_length=MAX_ATTACHMENTS), AfterValidator(_distinct)] = ()
    body: Text

    @field_validator("body")
    @classmethod
    def _says_something(cls, body: str, known: ValidationInfo) -> str:
        return body if known.data.get("upload_ids") else not_blank(body)


class NewMessage(Words):
    """`client_message_id` is the sender's own name for it: sent again, it is the same message."""

    conversation_id: UUID
    client_message_id: UUID
    reply_to: UUID | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message; `id` is the upload's. `sha256` in hex."""

    id: UUID
    name: str
    content_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Message:
    """`seq` is its place in the conversation's log. A deleted message keeps its place and loses all that it held.

    `reactions`: who has reacted, by emoji.
    """

    id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    body: str
    client_message_id: UUID
    reply_to: UUID | None
    attachments: Sequence[Attachment]
    reactions: Mapping[str, Sequence[UUID]]
    edited_at: datetime | None
    deleted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """`duplicate`: it was stored before, and this is that message."""

    message: Message
    duplicate: bool


def message_of(row: Row) -> Message:
    """A row of `shown_messages` as the message people see; `conversation_id` may stand beside its columns."""
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        seq=row["seq"],
        sender_id=row["sender_id"],
        body="" if row["deleted_at"] else row["body"],
        client_message_id=row["client_message_id"],
        reply_to=row["reply_to"],
        attachments=_attachments(row["attachments"]),
        reactions=_reactions(row["reactions"]),
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
        created_at=row["created_at"],
    )


def _attachments(found: str | None) -> Sequence[Attachment]:
    return [Attachment(**{**each, "id": UUID(each["id"])}) for each in orjson.loads(found)] if found else ()


def _reactions(found: str | None) -> Mapping[str, Sequence[UUID]]:
    return {emoji: [UUID(i) for i in ids] for emoji, ids in orjson.loads(found).items()} if found else {}
