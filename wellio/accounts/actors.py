"""Who acts: the user behind a request, a socket or a form."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from wellio.attribution import attribute
from wellio.errors import Forbidden


class Role(StrEnum):
    OWNER = "owner"
    COACH = "coach"
    CLIENT = "client"


STAFF = frozenset({Role.OWNER, Role.COACH})
EVERYONE = frozenset(Role)
# For how long a proof of password or second factor serves for changes that need a fresh one (ASVS 7.5.1).
FRESH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in user, as the database knew them when the request came in.

    `session_id` is what let them in: a device's session, or an API key, which then also sets `scopes`.
    """

    user_id: UUID
    practice_id: UUID
    role: Role
    session_id: UUID
    name: str
    scopes: frozenset[str] | None = None
    authenticated_at: datetime | None = None

    @property
    def scope(self) -> tuple[UUID, str, UUID]:
        """The arguments of the `visible_…` functions of the schema."""
        return self.practice_id, self.role.value, self.user_id

    @property
    def by_api_key(self) -> bool:
        return self.scopes is not None

    def must_have(self, scope: str) -> None:
        """Raises Forbidden when an API key was not given `scope`. Signed-in people have all scopes."""
        to_all = f"all:{scope.rpartition(':')[2]}"
        if self.scopes is not None and self.scopes.isdisjoint((scope, to_all)):
            raise Forbidden(f"This API key lacks the scope {scope}.", code="SCOPE_MISSING")

    def must_be_fresh(self) -> None:
        """Raises Forbidden unless password or second factor were proved within the last ten minutes."""
        if self.authenticated_at is None or datetime.now(UTC) - self.authenticated_at > FRESH:
            raise Forbidden(
                "Confirm that it is you with POST /api/v1/auth/step-up, then try again.", code="REAUTH_REQUIRED"
            )

    def must_be(self, roles: frozenset[Role]) -> None:
        if self.role not in roles:
            raise Forbidden(f"This needs the role {' or '.join(sorted(roles))}.")


def attribute_to(actor: Actor) -> None:
    """What is recorded from here on is of `actor`."""
    attribute(
        practice_id=actor.practice_id,
        user_id=actor.user_id,
        role=actor.role.value,
        session_id=None if actor.by_api_key else actor.session_id,
        api_key_id=actor.session_id if actor.by_api_key else None,
    )
