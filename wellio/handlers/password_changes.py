"""/api/v1/auth/password and /api/v1/auth/password-reset"""

from wellio.accounts.password_changes import (
    NewPassword,
    PasswordChange,
    ResetRequest,
    change_password,
    request_reset,
    reset_password,
)
from wellio.handlers.callers import address_of
from wellio.handlers.routes import Call, NoInput, Route


async def post_password(call: Call[PasswordChange, NoInput]) -> None:
    """Change one's password; all other devices are signed out."""
    services = call.services
    await change_password(services.outbox, services.passwords, services.limits, call.actor, call.body)


async def post_password_reset(call: Call[ResetRequest, NoInput]) -> None:
    """Ask for a link to set a new password. The answer is the same whether or not the address exists."""
    await request_reset(call.services.outbox, call.services.limits, call.body, address=address_of(call.request))


async def post_password_reset_confirm(call: Call[NewPassword, NoInput]) -> None:
    """Set a new password with the link's token; all devices are signed out."""
    services = call.services
    await reset_password(services.outbox, services.passwords, services.limits, call.body)


BASE = "/api/v1/auth"
ROUTES = (
    Route(
        method="POST", path=f"{BASE}/password", handler=post_password, tag="auth",
        body=PasswordChange, answer=None, api_keys=False,
    ),
    Route(
        method="POST", path=f"{BASE}/password-reset", handler=post_password_reset, tag="auth", roles=None,
        body=ResetRequest, answer=None, status=202,
    ),
    Route(
        method="POST", path=f"{BASE}/password-reset/confirm", handler=post_password_reset_confirm, tag="auth",
        roles=None, body=NewPassword, answer=None,
    ),
)  # fmt: skip
