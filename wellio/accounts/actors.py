"""Who acts: the user behind a request, a socket or a form."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from wellio.errors import Forbidden


class Role(StrEnum):
    OWNER = "owner"
    COACH = "coach"
    CLIENT = "client"


STAFF = frozenset({Role.OWNER, Role.COACH})
EVERYONE = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in user, as the database knew them when the request came in."""

    user_id: UUID
    practice_id: UUID
    role: Role
    session_id: UUID
    name: str

    @property
    def scope(self) -> tuple[UUID, str, UUID]:
        """The arguments of the `visible_…` functions of the schema."""
        return self.practice_id, self.role.value, self.user_id

    def must_be(self, roles: frozenset[Role]) -> None:
        if self.role not in roles:
            raise Forbidden(f"This needs the role {' or '.join(sorted(roles))}.")
