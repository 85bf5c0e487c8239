"""What people hear of messages that name them: by whom and where, never the words."""

from collections.abc import Sequence
from uuid import UUID

from wellio.db import Connection, Row
from wellio.events import Event
from wellio.outreach.notifications import NewNotification

KIND = "mention"

# Who is still in the conversation and has not blocked the sender, of a message that is still there.
LIST_MENTIONED_PEOPLE = """
select x.message_id, x.user_id, x.conversation_id, x.seq, c.title, sender.name as sender
from message_mentions x
join conversation_members me on me.conversation_id = x.conversation_id and me.user_id = x.user_id and me.left_at is null
join conversations c on c.practice_id = x.practice_id and c.id = x.conversation_id
join messages m on m.id = x.message_id
join users sender on sender.practice_id = m.practice_id and sender.id = m.sender_id
where x.message_id = any($1::uuid[])
  and not exists (
      select from user_blocks b
      where b.practice_id = x.practice_id and b.user_id = x.user_id and b.blocked_id = m.sender_id)
"""


async def list_mention_news(connection: Connection, events: Sequence[Event]) -> list[NewNotification]:
    """One for each person whom the message names still."""
    if not events:
        return []
    people = await connection.fetch(LIST_MENTIONED_PEOPLE, [event.subject_id for event in events])
    found = {(row["message_id"], row["user_id"]): row for row in people}
    told = [(event, found.get((event.subject_id, UUID(u)))) for event in events for u in event.payload["user_ids"]]
    return [_news(event, row) for event, row in told if row is not None]


def _news(event: Event, row: Row) -> NewNotification:
    where = f" in {row['title']}" if row["title"] else ""
    return NewNotification(
        practice_id=event.practice_id,
        user_id=row["user_id"],
        kind=KIND,
        title=f"{row['sender']} mentioned you{where}",
        data={"conversation_id": row["conversation_id"], "message_id": row["message_id"], "seq": row["seq"]},
        event_id=event.id,
    )
