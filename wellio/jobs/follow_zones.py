"""Keeps the wall times of sessions to come when the rules of a zone change; tells coaches of what could not move."""

from wellio.jobs.work import Counts, Work
from wellio.outreach.notifications import NewNotification, insert_notifications
from wellio.practice.zone_changes import Stray, follow_zone_rules


async def follow_zones(work: Work) -> Counts:
    followed = await follow_zone_rules(work.outbox)
    if followed.stuck:
        async with work.db.transaction() as connection:
            await insert_notifications(connection, [_news(stray) for stray in followed.stuck])
    return {"moved": followed.moved, "stuck": len(followed.stuck)}


def _news(stray: Stray) -> NewNotification:
    """Told once for each new time."""
    return NewNotification(
        practice_id=stray.practice_id,
        user_id=stray.coach_id,
        kind="session_zone_conflict",
        title="A session can't follow its time zone",
        body=f"The clocks of {stray.timezone} change otherwise than was known, and the session's new time is taken:"
        " move it by hand.",
        data={"session_id": stray.id, "starts_at": stray.starts_at, "belongs_at": stray.belongs_at},
        event_id=stray.id,
    )
