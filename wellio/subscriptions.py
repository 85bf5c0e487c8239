"""What happens when… : each type of event, and what follows from it once it is committed.

The leading process (`wellio/leader.py`) follows the log with six followers, each by a cursor of its own: the learner
learns, `attendance` learns who comes, `notifications` tells people what they should know, `mails` writes to them,
`pushes` shows open devices what has changed and takes drafts away that were sent, `webhooks` queues what other systems
want to hear (which events: `outreach/webhook_events.py`). The jobs and senders run beside them. Chat tells devices
itself (`wellio/chat`), because a message can't wait for a consumer.

What was recorded long after it happened (an import, a replay) is learnt, and is news to nobody.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from wellio.audit_chain import seal_for_ever
from wellio.chat.drafts import remove_sent_drafts
from wellio.chat.messages import MessageWriter
from wellio.chat.scheduled_sender import ScheduledSender
from wellio.consumers import Consumer, Superseded, check_log, is_history, next_retry
from wellio.db import Connection, open_database
from wellio.events import Event, EventType
from wellio.guarded_http import open_guarded_http
from wellio.jobs.schedule import Schedule
from wellio.jobs.work import Work
from wellio.learning.attendance_facts import LEARNT
from wellio.learning.attendance_store import NAME as ATTENDANCE
from wellio.learning.attendance_store import begin_again_if_unreadable, learn_attendance
from wellio.learning.follower import Follower
from wellio.learning.predictions import Moved, upsert_predictions
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.outgoing import Call
from wellio.outreach.mail_sender import MailSender, Post
from wellio.outreach.mention_news import list_mention_news
from wellio.outreach.notifications import insert_notifications, list_session_news, risk_news
from wellio.outreach.pushes import list_staff, push_look_again, push_prediction, push_sessions
from wellio.outreach.report_news import list_report_news
from wellio.outreach.session_mails import queue_session_mails
from wellio.outreach.smtp import smtp_server
from wellio.outreach.webhook_events import TELLINGS, queue_deliveries
from wellio.outreach.webhook_sender import WebhookSender
from wellio.practice.calendar_fetcher import CalendarFetcher
from wellio.practice.upload_files import UploadFiles
from wellio.sealing import Sealer
from wellio.services import Services

log = logging.getLogger(__name__)

# More changed predictions of a practice at once are told as one "look again".
PUSHED_ONE_BY_ONE = 50
# Connections of those who follow the log: the learner and the consumers.
FOLLOWERS = 7
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Follows:
    """`learns`: the learner makes something of it, as `wellio/learning/facts.py` says."""

    learns: bool = False
    notifies: bool = False
    mails: bool = False
    pushes: bool = False


SUBSCRIPTIONS: Mapping[EventType, Follows] = {
    EventType.PRACTICE_REGISTERED: Follows(learns=True),
    EventType.USER_LOGGED_IN: Follows(learns=True),
    EventType.CLIENT_CREATED: Follows(learns=True),
    EventType.CLIENT_UPDATED: Follows(learns=True),
    EventType.CLIENT_ERASED: Follows(learns=True),
    EventType.CLIENT_FIELD_CHANGED: Follows(),
    EventType.NOTE_CHANGED: Follows(),
    EventType.GOAL_CHANGED: Follows(),
    EventType.MEASUREMENT_RECORDED: Follows(learns=True),
    EventType.MEASUREMENT_DELETED: Follows(),
    EventType.SESSION_HELD: Follows(pushes=True),
    EventType.SESSION_HOLD_ENDED: Follows(pushes=True),
    EventType.SESSION_BOOKED: Follows(learns=True, notifies=True, mails=True, pushes=True),
    EventType.SESSION_RESCHEDULED: Follows(notifies=True, mails=True, pushes=True),
    EventType.SESSION_STARTED: Follows(pushes=True),
    EventType.SESSION_COMPLETED: Follows(learns=True, pushes=True),
    EventType.SESSION_MISSED: Follows(learns=True, pushes=True),
    EventType.SESSION_NO_SHOW_UNDONE: Follows(learns=True, pushes=True),
    EventType.SESSION_CANCELLED: Follows(learns=True, notifies=True, mails=True, pushes=True),
    EventType.SESSION_UPDATED: Follows(pushes=True),
    EventType.SERIES_BOOKED: Follows(notifies=True, mails=True),
    EventType.SERIES_MOVED: Follows(notifies=True, mails=True),
    EventType.SERIES_UPDATED: Follows(),
    EventType.REMINDER_DUE: Follows(notifies=True),
    EventType.BOOKING_POLICY_CHANGED: Follows(),
    EventType.SERIES_CANCELLED: Follows(notifies=True, mails=True),
    EventType.PARTICIPANT_JOINED: Follows(learns=True, notifies=True, mails=True, pushes=True),
    EventType.PARTICIPANT_LEFT: Follows(learns=True, notifies=True, mails=True, pushes=True),
    EventType.PARTICIPANT_ATTENDED: Follows(learns=True, pushes=True),
    EventType.PARTICIPANT_MISSED: Follows(learns=True, pushes=True),
    EventType.PARTICIPANT_UNMARKED: Follows(learns=True, pushes=True),
    EventType.WAITLIST_JOINED: Follows(pushes=True),
    EventType.WAITLIST_LEFT: Follows(notifies=True, pushes=True),
    EventType.WAITLIST_OFFERED: Follows(notifies=True, pushes=True),
    EventType.WAITLIST_OFFER_EXPIRED: Follows(notifies=True, pushes=True),
    EventType.AVAILABILITY_CHANGED: Follows(),
    EventType.SESSION_TYPE_CHANGED: Follows(),
    EventType.CONVERSATION_STARTED: Follows(),
    EventType.MESSAGE_SENT: Follows(learns=True, pushes=True),
    EventType.MEMBERS_MENTIONED: Follows(notifies=True),
    EventType.MESSAGE_REPORTED: Follows(notifies=True),
    EventType.REPORT_SETTLED: Follows(),
    EventType.CONVERSATION_OVERSEEN: Follows(),
    EventType.MESSAGE_OVERSIGHT_CHANGED: Follows(),
    EventType.PAYMENT_RECORDED: Follows(learns=True),
    EventType.PAYMENT_REFUNDED: Follows(learns=True),
    EventType.PAYMENT_VOIDED: Follows(),
    EventType.PLAN_CHANGED: Follows(),
    EventType.PACKAGE_CHANGED: Follows(),
    EventType.SUBSCRIPTION_STARTED: Follows(),
    EventType.SUBSCRIPTION_CHANGED: Follows(),
    EventType.PACKAGE_PURCHASED: Follows(),
    EventType.CLIENT_CHARGED: Follows(),
    EventType.CHARGE_VOIDED: Follows(),
    EventType.CREDITS_GRANTED: Follows(),
    EventType.CREDIT_USED: Follows(),
    EventType.CREDIT_RETURNED: Follows(),
    EventType.CREDITS_EXPIRED: Follows(),
    EventType.CREDITS_CORRECTED: Follows(),
    EventType.ACTIVITY_RECORDED: Follows(learns=True),
    EventType.WEBHOOK_DISABLED: Follows(),
    EventType.CLOCK_TICKED: Follows(learns=True),
}


async def notify(connection: Connection, events: Sequence[Event]) -> Sequence[Push]:
    news = [event for event in events if not is_history(event)]
    mentions = [event for event in news if event.type is EventType.MEMBERS_MENTIONED]
    sessions = [event for event in news if event.type is not EventType.MEMBERS_MENTIONED]
    told = [
        *await list_session_news(connection, sessions),
        *await list_mention_news(connection, mentions),
        *await list_report_news(connection, news),
    ]
    return await insert_notifications(connection, told)


async def mail(connection: Connection, events: Sequence[Event]) -> Sequence[Push]:
    await queue_session_mails(connection, [event for event in events if not is_history(event)])
    return ()


async def push(connection: Connection, events: Sequence[Event], *, sealer: Sealer | None = None) -> Sequence[Push]:
    """Without `sealer` drafts stay: nobody can tell what they say."""
    news = [event for event in events if not is_history(event)]
    sent = [event for event in news if event.type is EventType.MESSAGE_SENT]
    sessions = [event for event in news if event.type is not EventType.MESSAGE_SENT]
    return [
        *(await push_sessions(connection, sessions) if sessions else ()),
        *(await remove_sent_drafts(connection, sealer, sent) if sealer and sent else ()),
    ]


async def queue_webhooks(connection: Connection, events: Sequence[Event]) -> Sequence[Push]:
    await queue_deliveries(connection, events)
    return ()


async def store_predictions(connection: Connection, moved: Sequence[Moved]) -> Sequence[Push]:
    """Stores predictions; shows them to who sees the client, and tells who acts of a risk that has become high."""
    crowd = Counter(m.prediction.practice for m in moved)
    crowded = {practice for practice, count in crowd.items() if count > PUSHED_ONE_BY_ONE}
    told = [m.present or m.prediction.practice not in crowded for m in moved]
    changes = await upsert_predictions(connection, moved, told)
    staff = await list_staff(connection, crowd)
    present = {m.prediction.practice for m in moved if m.present}
    risen = [c for c in changes if c.rose and c.practice_id in present]
    news = [n for c in risen for n in risk_news(c, staff.who_acts(c))]
    return [
        *[push_prediction(c, staff) for c in changes if c.practice_id not in crowded],
        *[push_look_again(practice, staff) for practice in crowded],
        *await insert_notifications(connection, news),
    ]


async def lead(services: Services, base_url: str) -> None:
    """All that the leading process does, for as long as it leads. `base_url`: what links in mails begin with."""
    assert services.config.database_url
    db = await open_database(services.config.database_url, min_size=1, max_size=FOLLOWERS, derived=True)
    try:
        async with open_guarded_http(services.config.outgoing) as call:
            await lead_with(
                services.outbox,
                services.live,
                services.metrics,
                sealer=services.sealer,
                messages=services.messages,
                files=services.uploads,
                following=services.outbox.over(db),
                post=make_post(services, base_url),
                call=call,
            )
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await db.close()


async def lead_with(
    outbox: Outbox,
    live: Live,
    metrics: Metrics,
    *,
    sealer: Sealer | None = None,
    messages: MessageWriter | None = None,
    files: UploadFiles | None = None,
    following: Outbox | None = None,
    post: Post | None = None,
    call: Call | None = None,
) -> None:
    """Returns when another process turns out to lead as well. Raises LogAhead.

    `following`: by which the learner and the consumers store what they make of the log. Without `post` mails wait,
    without `call` and `sealer` webhooks and calendars, without `messages` and `sealer` what people have scheduled.
    """
    await check_log(outbox.db)
    duties: Sequence[Callable[[], Awaitable[None]]] = (
        learner(following or outbox, live, metrics).run,
        *[consumer.run for consumer in consumers(following or outbox, live, metrics, sealer)],
        partial(follow_attendance, following or outbox, live, metrics),
        Schedule(Work(outbox, sealer, files), metrics).run,
        partial(seal_for_ever, (following or outbox).db),
        *([MailSender(outbox.db, metrics, post).run] if post else ()),
        *([ScheduledSender(outbox.db, live, messages, sealer).run] if messages and sealer else ()),
        *([WebhookSender(outbox, metrics, call=call, sealer=sealer).run] if call and sealer else ()),
        *([CalendarFetcher(outbox.db, metrics, call=call, sealer=sealer).run] if call and sealer else ()),
    )
    try:
        async with asyncio.TaskGroup() as group:
            for duty in duties:
                group.create_task(_keep_running(duty))
    except* Superseded as superseded:
        log.warning("Giving up leading", extra={"reason": str(superseded.exceptions[0])})


def make_post(services: Services, base_url: str) -> Post | None:
    """How mails leave: to the mailbox of a development instance, or by SMTP."""
    config = services.config
    if services.mailbox is not None:
        return Post(deliver=services.mailbox.keep, sender=config.mail_from, base_url=base_url)
    if config.smtp_url is None:
        return None
    server = smtp_server(config.smtp_url, mail_from=config.mail_from, production=config.production)
    return Post(deliver=server.send, sender=config.mail_from, base_url=base_url)


def learner(outbox: Outbox, live: Live, metrics: Metrics) -> Follower:
    return Follower(store_predictions, outbox=outbox, live=live, metrics=metrics)


async def follow_attendance(outbox: Outbox, live: Live, metrics: Metrics) -> None:
    """Learns who comes to what was booked, from each outcome once."""
    await begin_again_if_unreadable(outbox.db)
    types = sorted(LEARNT)
    await Consumer(ATTENDANCE, types, learn_attendance, outbox=outbox, live=live, metrics=metrics).run()


def consumers(outbox: Outbox, live: Live, metrics: Metrics, sealer: Sealer | None = None) -> list[Consumer]:
    notified = [t for t, follows in SUBSCRIPTIONS.items() if follows.notifies]
    mailed = [t for t, follows in SUBSCRIPTIONS.items() if follows.mails]
    pushed = [t for t, follows in SUBSCRIPTIONS.items() if follows.pushes]
    return [
        Consumer("notifications", notified, notify, outbox=outbox, live=live, metrics=metrics),
        Consumer("mails", mailed, mail, outbox=outbox, live=live, metrics=metrics),
        Consumer("pushes", pushed, partial(push, sealer=sealer), outbox=outbox, live=live, metrics=metrics),
        Consumer("webhooks", list(TELLINGS), queue_webhooks, outbox=outbox, live=live, metrics=metrics),
    ]


async def _keep_running(duty: Callable[[], Awaitable[None]]) -> None:
    """One duty's failure is not the others': it is logged, and begun again after a while."""
    retry_s = 0.0
    while True:
        try:
            await duty()
        except Superseded:
            raise
        except Exception:
            log.exception("A duty of the leader failed")
        retry_s = next_retry(retry_s)
        await asyncio.sleep(retry_s)
