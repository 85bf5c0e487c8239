"""/api/v1/booking-policy"""

from wellio.accounts.actors import Role
from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.policies import BookingPolicy, BookingPolicyChanges, change_policy, show_policy


async def get_booking_policy(call: Call[NoInput, NoInput]) -> BookingPolicy:
    """How clients may change what they booked."""
    return await show_policy(call.services.db, call.actor)


async def patch_booking_policy(call: Call[BookingPolicyChanges, NoInput]) -> BookingPolicy:
    """Change it; it goes for what is booked already, too."""
    return await change_policy(call.services.outbox, call.actor, call.body, if_version=call.if_version)


PATH = "/api/v1/booking-policy"
ROUTES = (
    Route(method="GET", path=PATH, handler=get_booking_policy, tag="booking-policy", answer=BookingPolicy),
    Route(
        method="PATCH", path=PATH, handler=patch_booking_policy, tag="booking-policy", roles=frozenset({Role.OWNER}),
        body=BookingPolicyChanges, answer=BookingPolicy, errors=(412,),
    ),
)  # fmt: skip
