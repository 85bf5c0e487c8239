"""The home page, and the short-lived token with which its script opens the live connection."""

from typing import Any

from aiohttp import web

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.tokens import ACCESS_TTL
from wellio.chat.conversations import list_conversations
from wellio.console.cookies import FORM_HEADER, actor_of, check_form, form_token, require_actor
from wellio.console.pages import render
from wellio.errors import Unauthorized
from wellio.pages import PageQuery
from wellio.practice.home import home_summary
from wellio.services import SERVICES

CONVERSATIONS = 20


async def get_home(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    return render(request, "home.html", await _home(request, actor))


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
    conversations = await list_conversations(db, actor, PageQuery(page_size=CONVERSATIONS))
    return {
        "actor": actor,
        "staff": actor.role in STAFF,
        "summary": await home_summary(db, actor),
        "conversations": conversations.items,
        "token": form_token(request, signed_in=True),
    }
