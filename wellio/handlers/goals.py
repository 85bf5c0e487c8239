"""/api/v1/clients/{client_id}/goals"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.goals import (
    Goal,
    GoalChanges,
    GoalQuery,
    NewGoal,
    NewProgress,
    Progress,
    change_goal,
    get_goal,
    list_goals,
    list_progress,
    record_progress,
    set_goal,
)


async def list_goals_page(call: Call[NoInput, GoalQuery]) -> Page[Goal]:
    """A client's goals, the newest first."""
    return await list_goals(call.services.db, call.actor, call.ids["client_id"], call.query)


async def post_goal(call: Call[NewGoal, NoInput]) -> Goal:
    """Set one."""
    return await set_goal(call.services.outbox, call.actor, call.ids["client_id"], call.body, once=call.once)


async def get_goal_by_id(call: Call[NoInput, NoInput]) -> Goal:
    """One goal, and how far the client has come."""
    return await get_goal(call.services.db, call.actor, call.ids["client_id"], call.ids["goal_id"])


async def patch_goal(call: Call[GoalChanges, NoInput]) -> Goal:
    """Change it, or say that it is achieved or given up."""
    ids = call.ids
    return await change_goal(
        call.services.outbox, call.actor, ids["client_id"], ids["goal_id"], call.body, if_version=call.if_version
    )


async def list_goal_progress_page(call: Call[NoInput, PageQuery]) -> Page[Progress]:
    """The steps towards it, the latest first."""
    return await list_progress(call.services.db, call.actor, call.ids["client_id"], call.ids["goal_id"], call.query)


async def post_goal_progress(call: Call[NewProgress, NoInput]) -> Progress:
    """Record where the client stands."""
    ids = call.ids
    return await record_progress(
        call.services.outbox, call.actor, ids["client_id"], ids["goal_id"], call.body, once=call.once
    )


BASE = "/api/v1/clients/{client_id}/goals"
ONE = f"{BASE}/{{goal_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_goals_page, tag="goals", query=GoalQuery, answer=Page[Goal], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_goal, tag="goals", roles=STAFF, body=NewGoal, answer=Goal, status=201,
        creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_goal_by_id, tag="goals", answer=Goal, reads=True),
    Route(
        method="PATCH", path=ONE, handler=patch_goal, tag="goals", roles=STAFF, body=GoalChanges, answer=Goal,
        errors=(412,),
    ),
    Route(
        method="GET", path=f"{ONE}/progress", handler=list_goal_progress_page, tag="goals", query=PageQuery,
        answer=Page[Progress], reads=True,
    ),
    Route(
        method="POST", path=f"{ONE}/progress", handler=post_goal_progress, tag="goals", body=NewProgress,
        answer=Progress, status=201, creates=True,
    ),
)  # fmt: skip
