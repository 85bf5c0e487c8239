"""/confirm: proving anew who one is, before what is well guarded; then back to where one was."""

from aiohttp import web

from wellio.accounts.actors import Actor
from wellio.accounts.log_ins import step_up
from wellio.accounts.second_factors import is_on
from wellio.console.cookies import require_actor
from wellio.console.forms import REFUSALS, Errors, done, member_page, read_checked_form, told
from wellio.errors import Forbidden
from wellio.handlers.mfa import StepUpBody
from wellio.services import SERVICES

# Where one may have been. Nothing else: an address must not lead anybody elsewhere.
PLACES = ("/account", "/account/second-factor", "/team")


async def get_confirm(request: web.Request) -> web.StreamResponse:
    return await _page(request, await require_actor(request), back=request.query.get("next", ""))


async def post_confirm(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_checked_form(request, signed_in=True)
    back = _place(form.pop("next", ""))
    services = request.app[SERVICES]
    try:
        proof = StepUpBody.model_validate(form)
        await step_up(
            services.outbox,
            services.passwords,
            services.limits,
            services.sealer,
            actor,
            password=proof.password,
            code=proof.code,
        )
    except REFUSALS as error:
        errors, status = told(request, error)
        return await _page(request, actor, back=back, errors=errors, status=status)
    return done(back, "confirmed")


def require_fresh(actor: Actor, back: str) -> None:
    """Sends whoever has not proved lately who they are to the page for that."""
    try:
        actor.must_be_fresh()
    except Forbidden:
        raise web.HTTPSeeOther(f"/confirm?next={back}") from None


def _place(path: str) -> str:
    return path if path in PLACES else PLACES[0]


async def _page(
    request: web.Request, actor: Actor, *, back: str, errors: Errors | None = None, status: int = 200
) -> web.Response:
    by_code = await is_on(request.app[SERVICES].db, actor.practice_id, actor.user_id)
    # A wrong one is told of no field.
    context = {"back": _place(back), "by_code": by_code, "errors": errors or {}}
    return await member_page(request, actor, "confirm.html", context, status=status)
