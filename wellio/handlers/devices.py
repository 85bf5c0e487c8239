"""/api/v1/auth/sessions and /api/v1/auth/logout-all: one's signed-in devices."""

from wellio.accounts.devices import SignedInDevice, list_devices, log_out_everywhere, revoke_device
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def list_devices_page(call: Call[NoInput, PageQuery]) -> Page[SignedInDevice]:
    """The devices one is signed in on, the one seen last first."""
    return await list_devices(call.services.db, call.actor, call.query)


async def delete_device(call: Call[NoInput, NoInput]) -> None:
    """Sign out one of one's devices; its calls and sockets end at once."""
    await revoke_device(call.services.outbox, call.actor, call.ids["device_id"])


async def post_logout_all(call: Call[NoInput, NoInput]) -> None:
    """Sign out all of one's devices, this one included."""
    await log_out_everywhere(call.services.outbox, call.actor)


BASE = "/api/v1/auth"
ROUTES = (
    Route(
        method="GET", path=f"{BASE}/sessions", handler=list_devices_page, tag="auth",
        query=PageQuery, answer=Page[SignedInDevice], api_keys=False,
    ),
    Route(
        method="DELETE", path=f"{BASE}/sessions/{{device_id}}", handler=delete_device, tag="auth",
        answer=None, api_keys=False,
    ),
    Route(
        method="POST", path=f"{BASE}/logout-all", handler=post_logout_all, tag="auth",
        answer=None, api_keys=False,
    ),
)  # fmt: skip
