"""The home page, and the short-lived token with which its script opens the live connection."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.tokens import ACCESS_TTL
from wellio.console.conversations import list_talks, open_thread
from wellio.console.cookies import FORM_HEADER, actor_of, check_form, form_token, require_actor
from wellio.console.pages import note_read, render
from wellio.db import Database
from wellio.errors import Unauthorized
from wellio.learning.predictions import Prediction, PredictionQuery, list_predictions
from wellio.practice.home import home_summary, load_zone
from wellio.services import SERVICES

AT_RISK = 10


async def get_home(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    home = await _home(request, actor)
    note_read(request, home["summary"], home["at_risk"], home["talks"], home["thread"])
    return render(request, "home.html", home)


async def post_session_token(request: web.Request) -> web.StreamResponse:
    """A token for the API and the live connection; it ends with the cookie's session."""
    actor = await actor_of(request)
    if actor is None:
        raise Unauthorized("Sign in again.", code="SESSION_ENDED")
    check_form(request, request.headers.get(FORM_HEADER, ""), signed_in=True)
    token = request.app[SERVICES].tokens.issue_access(
        user_id=actor.user_id, practice_id=actor.practice_id, session_id=actor.session_id
    )
    return web.json_response({"access_token": token, "expires_in": int(ACCESS_TTL.total_seconds())})


async def _home(request: web.Request, actor: Actor) -> dict[str, Any]:
    db = request.app[SERVICES].db
    staff = actor.role in STAFF
    talks = await list_talks(db, actor)
    summary = await home_summary(db, actor)
    return {
        "actor": actor,
        "practice_name": summary.practice_name,
        "here": request.path,
        "staff": staff,
        "now": datetime.now(UTC),
        "summary": summary,
        "zone": await load_zone(summary.timezone),
        "at_risk": await _at_risk(db, actor) if staff else (),
        "talks": talks,
        "thread": await open_thread(db, actor, talks, request.query.get("conversation", "")),
        "token": form_token(request, signed_in=True),
    }


async def _at_risk(db: Database, actor: Actor) -> list[Prediction]:
    """The ones most likely to leave, as far as the model has seen enough to say so."""
    page = await list_predictions(db, actor, PredictionQuery(band="high", page_size=AT_RISK))
    return [prediction for prediction in page.items if prediction.status == "ok"]
