"""/api/v1/auth: register, log in, refresh, log out, me."""

from aiohttp import web

from wellio.accounts.auth_sessions import Device, Login, OpenSession, log_out, open_session, refresh
from wellio.accounts.log_ins import SecondStep, log_in
from wellio.accounts.practices import Registration, register_practice
from wellio.accounts.profiles import ProfileChanges, change_profile, get_profile
from wellio.accounts.users import User
from wellio.handlers.callers import address_of
from wellio.handlers.routes import Call, NoInput, Route
from wellio.services import Services
from wellio.values import Email, Input


class LoginBody(Input):
    email: Email
    password: str


class RefreshBody(Input):
    refresh_token: str


async def post_register(call: Call[Registration, NoInput]) -> Login:
    """Register a practice with its owner, and sign in."""
    services = call.services
    return await register_practice(
        services.outbox,
        services.passwords,
        services.limits,
        api_session(services, call.request),
        call.body,
        address=address_of(call.request),
    )


async def post_login(call: Call[LoginBody, NoInput]) -> Login | SecondStep:
    """Sign in with e-mail address and password.

    Users with a second factor get an `mfa_token` instead, for /auth/mfa/verify.
    """
    services = call.services
    return await log_in(
        services.outbox,
        services.passwords,
        services.limits,
        api_session(services, call.request),
        email=call.body.email,
        password=call.body.password,
        address=address_of(call.request),
    )


async def post_refresh(call: Call[RefreshBody, NoInput]) -> Login:
    """Exchange a refresh token for the next pair. Using an old one again ends the session."""
    services = call.services
    return await refresh(services.db, services.tokens, services.limits, call.body.refresh_token)


async def post_logout(call: Call[NoInput, NoInput]) -> None:
    """End this session; its tokens stop working at once."""
    await log_out(call.services.outbox, call.actor)


async def get_me(call: Call[NoInput, NoInput]) -> User:
    """The signed-in user."""
    return await get_profile(call.services.db, call.actor)


async def patch_me(call: Call[ProfileChanges, NoInput]) -> User:
    """Change one's name, time zone, or e-mail address; the address once the link sent to it is followed."""
    return await change_profile(call.services.outbox, call.actor, call.body)


def api_session(services: Services, request: web.Request) -> OpenSession[Login]:
    """How a log-in by the API ends: with a pair of tokens."""
    device = device_of(request)
    return lambda tx, user: open_session(tx, services.tokens, user, device)


def device_of(request: web.Request) -> Device:
    return Device(user_agent=request.headers.get("User-Agent", ""), address=address_of(request))


BASE = "/api/v1/auth"
ROUTES = (
    Route(
        method="POST", path=f"{BASE}/register", handler=post_register, tag="auth", roles=None,
        body=Registration, answer=Login, status=201, errors=(409,),
    ),
    Route(
        method="POST", path=f"{BASE}/login", handler=post_login, tag="auth", roles=None,
        body=LoginBody, answer=Login | SecondStep, errors=(401,),
    ),
    Route(
        method="POST", path=f"{BASE}/refresh", handler=post_refresh, tag="auth", roles=None,
        body=RefreshBody, answer=Login, errors=(401,),
    ),
    Route(method="POST", path=f"{BASE}/logout", handler=post_logout, tag="auth", answer=None, api_keys=False),
    Route(method="GET", path=f"{BASE}/me", handler=get_me, tag="auth", answer=User),
    Route(
        method="PATCH", path=f"{BASE}/me", handler=patch_me, tag="auth",
        body=ProfileChanges, answer=User, api_keys=False,
    ),
)  # fmt: skip
