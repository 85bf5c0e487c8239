"""That a message was reported, for the owners of the practice; never what it said."""

from collections.abc import Sequence

from wellio.db import Connection
from wellio.events import Event, EventType
from wellio.outreach.notifications import NewNotification

LIST_OWNERS = """
select practice_id, id from users where practice_id = any($1::uuid[]) and role = 'owner' and status = 'active'
"""


async def list_report_news(connection: Connection, events: Sequence[Event]) -> list[NewNotification]:
    """An owner who reported it themself is not told."""
    reported = [event for event in events if event.type is EventType.MESSAGE_REPORTED]
    owners = await connection.fetch(LIST_OWNERS, [e.practice_id for e in reported]) if reported else []
    return [
        NewNotification(
            practice_id=event.practice_id,
            user_id=owner["id"],
            kind="message_reported",
            title="A message was reported",
            body=f"Reason: {event.payload['reason']}.",
            event_id=event.id,
            data={"report_id": event.payload["report_id"], "conversation_id": event.subject_id},
        )
        for event in reported
        for owner in owners
        if owner["practice_id"] == event.practice_id and owner["id"] != event.actor_id
    ]
