"""/api/v1/plans"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.plans import (
    OWNERS,
    NewPlan,
    Plan,
    PlanChanges,
    PlanQuery,
    change_plan,
    create_plan,
    get_plan,
    list_plans,
)


async def list_plans_page(call: Call[NoInput, PlanQuery]) -> Page[Plan]:
    """What clients can subscribe to."""
    return await list_plans(call.services.db, call.actor, call.query)


async def post_plan(call: Call[NewPlan, NoInput]) -> Plan:
    """Offer a plan: a price per week, month or year, perhaps with credits for sessions."""
    return await create_plan(call.services.outbox, call.actor, call.body, once=call.once)


async def get_plan_by_id(call: Call[NoInput, NoInput]) -> Plan:
    """One plan."""
    return await get_plan(call.services.db, call.actor, call.ids["plan_id"])


async def patch_plan(call: Call[PlanChanges, NoInput]) -> Plan:
    """Change or archive it; subscriptions that run keep their terms."""
    return await change_plan(
        call.services.outbox, call.actor, call.ids["plan_id"], call.body, if_version=call.if_version
    )


BASE = "/api/v1/plans"
ONE = f"{BASE}/{{plan_id}}"
ROUTES = (
    Route(method="GET", path=BASE, handler=list_plans_page, tag="plans", query=PlanQuery, answer=Page[Plan]),
    Route(
        method="POST", path=BASE, handler=post_plan, tag="plans", roles=OWNERS, body=NewPlan, answer=Plan, status=201,
        creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_plan_by_id, tag="plans", answer=Plan),
    Route(
        method="PATCH", path=ONE, handler=patch_plan, tag="plans", roles=OWNERS, body=PlanChanges, answer=Plan,
        errors=(412,),
    ),
)  # fmt: skip
