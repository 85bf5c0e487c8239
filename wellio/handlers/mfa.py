"""/api/v1/auth/mfa and /auth/step-up: the second factor, and proving anew who one is."""

from typing import Annotated

from pydantic import StringConstraints

from wellio.accounts.auth_sessions import Login
from wellio.accounts.log_ins import FreshProof, finish_log_in, step_up
from wellio.accounts.second_factors import (
    Enrolment,
    RecoveryCodes,
    SecondFactor,
    confirm,
    enrol,
    get_second_factor,
    renew_recovery_codes,
    turn_off,
)
from wellio.handlers.auth import api_session
from wellio.handlers.routes import Call, NoInput, Route
from wellio.values import Input

Code = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]


class CodeBody(Input):
    """`code`: six digits of the app."""

    code: Code


class VerifyBody(Input):
    """`code`: six digits of the app, or a recovery code."""

    mfa_token: Annotated[str, StringConstraints(max_length=200)]
    code: Code


class StepUpBody(Input):
    """`code` (of the app, or a recovery code) for users with a second factor, `password` for the others."""

    password: str | None = None
    code: Code | None = None


async def post_mfa_verify(call: Call[VerifyBody, NoInput]) -> Login:
    """Sign in: the second step.

    A code serves once. After five wrong ones, or five minutes, the sign-in begins anew.
    """
    services, body = call.services, call.body
    opens = api_session(services, call.request)
    return await finish_log_in(services.outbox, services.sealer, opens, mfa_token=body.mfa_token, code=body.code)


async def post_step_up(call: Call[StepUpBody, NoInput]) -> FreshProof:
    """Prove anew who you are; changes that ask for it are then possible for ten minutes."""
    services, body = call.services, call.body
    return await step_up(
        services.outbox,
        services.passwords,
        services.limits,
        services.sealer,
        call.actor,
        password=body.password,
        code=body.code,
    )


async def get_mfa(call: Call[NoInput, NoInput]) -> SecondFactor:
    """Whether you have a second factor, and how many recovery codes are left."""
    return await get_second_factor(call.services.db, call.actor)


async def post_mfa_totp(call: Call[NoInput, NoInput]) -> Enrolment:
    """A new secret for an authenticator app; it counts once it is confirmed."""
    return await enrol(call.services.outbox, call.services.sealer, call.actor)


async def post_mfa_totp_confirm(call: Call[CodeBody, NoInput]) -> RecoveryCodes:
    """Turn the second factor on with a first code; gives the recovery codes, once."""
    return await confirm(call.services.outbox, call.services.sealer, call.actor, call.body.code)


async def post_mfa_recovery_codes(call: Call[NoInput, NoInput]) -> RecoveryCodes:
    """New recovery codes; those before serve no more."""
    return await renew_recovery_codes(call.services.outbox, call.actor)


async def delete_mfa(call: Call[NoInput, NoInput]) -> None:
    """Turn the second factor off."""
    await turn_off(call.services.outbox, call.actor)


AUTH = "/api/v1/auth"
BASE = f"{AUTH}/mfa"
ROUTES = (
    Route(
        method="POST", path=f"{BASE}/verify", handler=post_mfa_verify, tag="auth", roles=None,
        body=VerifyBody, answer=Login, errors=(401, 429),
    ),
    Route(
        method="POST", path=f"{AUTH}/step-up", handler=post_step_up, tag="auth", api_keys=False,
        body=StepUpBody, answer=FreshProof, errors=(429,),
    ),
    Route(method="GET", path=BASE, handler=get_mfa, tag="auth", api_keys=False, answer=SecondFactor),
    Route(
        method="POST", path=f"{BASE}/totp", handler=post_mfa_totp, tag="auth", api_keys=False, fresh=True,
        answer=Enrolment, status=201, errors=(409,),
    ),
    Route(
        method="POST", path=f"{BASE}/totp/confirm", handler=post_mfa_totp_confirm, tag="auth", api_keys=False,
        body=CodeBody, answer=RecoveryCodes, errors=(409, 429),
    ),
    Route(
        method="POST", path=f"{BASE}/recovery-codes", handler=post_mfa_recovery_codes, tag="auth", api_keys=False,
        fresh=True, answer=RecoveryCodes, errors=(409,),
    ),
    Route(method="DELETE", path=BASE, handler=delete_mfa, tag="auth", api_keys=False, fresh=True, answer=None),
)  # fmt: skip
