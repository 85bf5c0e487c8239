"""Who may be the same person: by e-mail address, by telephone number, or by name.

Addresses are compared without case, numbers by their digits (`phone_key` in the schema), names without case, accents
and spare spaces. Archived clients count: whoever comes back is better restored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection

# Of one person; a name such as Ana García may have more.
MAX_DUPLICATES = 20

# Each way to be alike by an index of its own.
FIND_DUPLICATES = """
with people as (
    select n, lower(email) as email, phone_key(phone) as phone, name_key(first_name, last_name) as name
    from unnest($4::text[], $5::text[], $6::text[], $7::text[]) with ordinality
         t (first_name, last_name, email, phone, n)
), alike as (
    select p.n, c.id, c.created_at, 'email' as by
    from people p join visible_clients($1, $2, $3) c on lower(c.email) = p.email
    union all
    select p.n, c.id, c.created_at, 'phone'
    from people p join visible_clients($1, $2, $3) c on c.phone_key = p.phone
    union all
    select p.n, c.id, c.created_at, 'name'
    from people p join visible_clients($1, $2, $3) c on c.name_key = p.name
)
select n, id, array_agg(by order by by) as alike_by
from alike
group by n, id, created_at
order by n, count(*) desc, created_at, id
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may be a client already."""

    first_name: str
    last_name: str
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`alike_by`: email, name, phone; whoever is alike in more ways comes first."""

    client_id: UUID
    alike_by: Sequence[str]


async def find_duplicates(connection: Connection, actor: Actor, people: Sequence[Person]) -> list[list[Duplicate]]:
    """For each of the people, whom of the clients that the actor sees they may be; in one statement for all."""
    columns = (
        [p.first_name for p in people],
        [p.last_name for p in people],
        [p.email for p in people],
        [p.phone for p in people],
    )
    found: list[list[Duplicate]] = [[] for _ in people]
    for row in await connection.fetch(FIND_DUPLICATES, *actor.scope, *columns):
        duplicates = found[row["n"] - 1]
        if len(duplicates) < MAX_DUPLICATES:
            duplicates.append(Duplicate(row["id"], row["alike_by"]))
    return found
