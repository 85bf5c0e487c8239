"""/api/v1/users: the users of a practice."""

from wellio.accounts.actors import STAFF
from wellio.accounts.members import (
    OWNERS,
    MemberChanges,
    MemberQuery,
    PracticeMember,
    change_member,
    get_member,
    list_members,
    sign_out_member,
)
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page


async def list_users_page(call: Call[NoInput, MemberQuery]) -> Page[PracticeMember]:
    """The users of the practice; for a coach, the staff and the log-ins of their clients."""
    return await list_members(call.services.db, call.actor, call.query)


async def get_user_by_id(call: Call[NoInput, NoInput]) -> PracticeMember:
    """One user."""
    return await get_member(call.services.db, call.actor, call.ids["user_id"])


async def patch_user(call: Call[MemberChanges, NoInput]) -> PracticeMember:
    """Change a user's role, suspend or reinstate them; they are signed out everywhere."""
    return await change_member(call.services.outbox, call.actor, call.ids["user_id"], call.body)


async def post_user_logout_all(call: Call[NoInput, NoInput]) -> None:
    """Sign a user out on all their devices."""
    await sign_out_member(call.services.outbox, call.actor, call.ids["user_id"])


BASE = "/api/v1/users"
ONE = f"{BASE}/{{user_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_users_page, tag="users", roles=STAFF,
        query=MemberQuery, answer=Page[PracticeMember], reads=True,
    ),
    Route(
        method="GET", path=ONE, handler=get_user_by_id, tag="users", roles=STAFF, answer=PracticeMember, reads=True,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_user, tag="users", roles=OWNERS,
        body=MemberChanges, answer=PracticeMember, fresh=True, api_keys=False,
    ),
    Route(
        method="POST", path=f"{ONE}/logout-all", handler=post_user_logout_all, tag="users", roles=OWNERS,
        answer=None,
    ),
)  # fmt: skip
