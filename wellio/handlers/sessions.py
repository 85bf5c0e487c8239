"""/api/v1/sessions"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, File, NoInput, Route
from wellio.pages import Page
from wellio.practice.attendance import Meeting, join_session
from wellio.practice.bookings import NewSession
from wellio.practice.calendar_feeds import get_calendar_event
from wellio.practice.calendars import CONTENT_TYPE as CALENDAR
from wellio.practice.calendars import make_calendar
from wellio.practice.holds import confirm_hold
from wellio.practice.meetings import rooms_of
from wellio.practice.reschedules import SessionHistory, get_history
from wellio.practice.series import Series, book_series
from wellio.practice.series_changes import ScopeQuery, change_series
from wellio.practice.session_changes import SessionChanges, change_session
from wellio.practice.session_notes import NewNotes, SessionNotes, get_notes, set_notes
from wellio.practice.sessions import Session, SessionQuery, get_session, list_sessions


async def list_sessions_page(call: Call[NoInput, SessionQuery]) -> Page[Session]:
    """The sessions whom the caller may see, by start."""
    return await list_sessions(call.services.db, call.actor, call.query)


async def post_session(call: Call[NewSession, NoInput]) -> Session | Series:
    """Book a session; with `rrule` a series of them. Clients book what is offered.

    409 SLOT_TAKEN when coach or client is taken at that time, SERIES_CONFLICT with all such dates of a series.
    """
    if call.body.rrule is not None:
        return await book_series(call.services.outbox, call.actor, call.body, once=call.once)
    return await call.services.bookings.book(call.actor, call.body, once=call.once)


async def get_session_by_id(call: Call[NoInput, NoInput]) -> Session:
    """One session."""
    return await get_session(call.services.db, call.actor, call.ids["session_id"])


async def patch_session(call: Call[SessionChanges, ScopeQuery]) -> Session:
    """Reschedule, start, complete, cancel, mark as missed and undo that, or edit.

    A client cancels, or moves their own, within the policy: else 403 CANCEL_WINDOW_CLOSED, RESCHEDULE_WINDOW_CLOSED or
    RESCHEDULE_LIMIT_REACHED. Of a series staff change this one alone, this and the `following`, or `all` to come.
    """
    if call.query.scope != "this":
        return await change_series(
            call.services.outbox, call.actor, call.ids["session_id"], call.body,
            scope=call.query.scope, if_version=call.if_version,
        )  # fmt: skip
    return await change_session(
        call.services.outbox, call.actor, call.ids["session_id"], call.body,
        sealer=call.services.sealer, if_version=call.if_version,
    )  # fmt: skip


async def post_session_join(call: Call[NoInput, NoInput]) -> Meeting:
    """Check in and get the address of the meeting, from 15 minutes before the start until the end."""
    rooms = rooms_of(call.services.config)
    return await join_session(call.services.outbox, rooms, call.actor, call.ids["session_id"])


async def get_session_notes(call: Call[NoInput, NoInput]) -> SessionNotes:
    """What its coach wrote down about it; staff only."""
    return await get_notes(call.services.db, call.services.sealer, call.actor, call.ids["session_id"])


async def put_session_notes(call: Call[NewNotes, NoInput]) -> SessionNotes:
    """Write it down anew; an empty text deletes it."""
    return await set_notes(
        call.services.outbox, call.services.sealer, call.actor, call.ids["session_id"], call.body,
        if_version=call.if_version,
    )  # fmt: skip


async def post_session_confirm(call: Call[NoInput, NoInput]) -> Session:
    """Book what was held. 409 HOLD_EXPIRED when it took too long, SESSION_NOT_HELD when it was confirmed before."""
    return await confirm_hold(call.services.outbox, call.actor, call.ids["session_id"])


async def get_session_history(call: Call[NoInput, NoInput]) -> SessionHistory:
    """Where the session was before it was moved, and who moved it when."""
    return await get_history(call.services.db, call.actor, call.ids["session_id"])


async def get_session_calendar(call: Call[NoInput, NoInput]) -> File:
    """One session as a file for calendar programs (iCalendar)."""
    event, client_id = await get_calendar_event(call.services.db, call.actor, call.ids["session_id"])
    return File(make_calendar([event]), "session.ics", client_id)


BASE = "/api/v1/sessions"
ONE = f"{BASE}/{{session_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_sessions_page, tag="sessions",
        query=SessionQuery, answer=Page[Session], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_session, tag="sessions",
        body=NewSession, answer=Session | Series, status=201, creates=True, errors=(409,),
    ),
    Route(method="GET", path=ONE, handler=get_session_by_id, tag="sessions", answer=Session, reads=True),
    Route(
        method="GET", path=f"{ONE}/calendar.ics", handler=get_session_calendar, tag="sessions", answer=File,
        media=CALENDAR, reads=True,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_session, tag="sessions",
        query=ScopeQuery, body=SessionChanges, answer=Session, errors=(409, 412),
    ),
    Route(
        method="POST", path=f"{ONE}/confirm", handler=post_session_confirm, tag="sessions", answer=Session,
        errors=(409,),
    ),
    Route(
        method="POST", path=f"{ONE}/join", handler=post_session_join, tag="sessions", answer=Meeting, errors=(409,),
    ),
    Route(
        method="GET", path=f"{ONE}/notes", handler=get_session_notes, tag="sessions", roles=STAFF,
        answer=SessionNotes, reads=True,
    ),
    Route(
        method="PUT", path=f"{ONE}/notes", handler=put_session_notes, tag="sessions", roles=STAFF,
        body=NewNotes, answer=SessionNotes, errors=(412,),
    ),
    Route(
        method="GET", path=f"{ONE}/history", handler=get_session_history, tag="sessions", answer=SessionHistory,
        reads=True,
    ),
)  # fmt: skip
