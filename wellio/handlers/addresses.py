"""/api/v1/auth/verify-email"""

from wellio.accounts.addresses import resend_verification, verify_address
from wellio.handlers.routes import Call, NoInput, Route
from wellio.values import Input


class TokenBody(Input):
    """`token` is what the mailed link ends with."""

    token: str


async def post_verify_email(call: Call[TokenBody, NoInput]) -> None:
    """Verify an e-mail address with the link's token; a new address takes the place of the old one."""
    await verify_address(call.services.outbox, call.body.token)


async def post_verify_email_resend(call: Call[NoInput, NoInput]) -> None:
    """Send the link again to the address that waits for it."""
    await resend_verification(call.services.outbox, call.actor)


BASE = "/api/v1/auth/verify-email"
ROUTES = (
    Route(
        method="POST", path=BASE, handler=post_verify_email, tag="auth", roles=None,
        body=TokenBody, answer=None, errors=(409,),
    ),
    Route(
        method="POST", path=f"{BASE}/resend", handler=post_verify_email_resend, tag="auth",
        answer=None, status=202, errors=(409,), api_keys=False, limit="verify_email",
    ),
)  # fmt: skip
