"""Lists of clients: filtered, searched, sorted, and counted by what they have in common.

Filters stand in `matching_clients` of the schema, once for all. Each order is a statement of its own, so that it can
use an index: it chooses a page of ids, and only these are read whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.db import Connection, Database
from wellio.errors import FieldError, Invalid
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import Client, Status, client_of, shown_to
from wellio.values import Input, Line, Moment, Tag

Sort = Literal[
    "created_at",
    "-created_at",
    "name",
    "-name",
    "churn_risk",
    "-churn_risk",
    "engagement",
    "-engagement",
    "last_activity_at",
    "-last_activity_at",
]
MAX_WORDS = 10
MAX_TAG_COUNTS = 200

LIST_BY_CREATED = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.created_at, m.id desc
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.created_at, c.id desc
"""

LIST_BY_CREATED_DESC = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.created_at desc, m.id
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.created_at desc, c.id
"""

LIST_BY_NAME = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.name_key, m.id
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.name_key, c.id
"""

LIST_BY_NAME_DESC = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.name_key desc, m.id desc
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.name_key desc, c.id desc
"""

# By an index over predictions, which also tells apart what is alike. Who has none comes after the rest, and neither
# part is looked for on a page that has only the other.
LIST_BY_RISK = """
with known as materialized (
    select coalesce(sum(n.clients), 0)::bigint as clients
    from counted_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) n
    where n.churn_band is not null
), predicted as materialized (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    join predictions r on r.practice_id = $1 and r.client_id = m.id
    where $16 < (select clients from known)
    order by r.probability, r.client_id desc
    limit $15 offset $16
), others as (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    where m.churn_band is null and $16 + $15 > (select clients from known)
    order by m.id desc
    limit $15 - (select count(*) from predicted)
    offset greatest(0, $16 - (select clients from known))
)
select c.*, p.probability, p.band, p.engagement
from (select id from predicted union all select id from others) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by p.probability nulls last, c.id desc
"""

LIST_BY_RISK_DESC = """
with known as materialized (
    select coalesce(sum(n.clients), 0)::bigint as clients
    from counted_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) n
    where n.churn_band is not null
), predicted as materialized (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    join predictions r on r.practice_id = $1 and r.client_id = m.id
    where $16 < (select clients from known)
    order by r.probability desc, r.client_id
    limit $15 offset $16
), others as (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    where m.churn_band is null and $16 + $15 > (select clients from known)
    order by m.id
    limit $15 - (select count(*) from predicted)
    offset greatest(0, $16 - (select clients from known))
)
select c.*, p.probability, p.band, p.engagement
from (select id from predicted union all select id from others) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by p.probability desc nulls last, c.id
"""

LIST_BY_ENGAGEMENT = """
with known as materialized (
    select coalesce(sum(n.clients), 0)::bigint as clients
    from counted_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) n
    where n.churn_band is not null
), predicted as materialized (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    join predictions r on r.practice_id = $1 and r.client_id = m.id
    where $16 < (select clients from known)
    order by r.engagement, r.client_id desc
    limit $15 offset $16
), others as (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    where m.churn_band is null and $16 + $15 > (select clients from known)
    order by m.id desc
    limit $15 - (select count(*) from predicted)
    offset greatest(0, $16 - (select clients from known))
)
select c.*, p.probability, p.band, p.engagement
from (select id from predicted union all select id from others) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by p.engagement nulls last, c.id desc
"""

LIST_BY_ENGAGEMENT_DESC = """
with known as materialized (
    select coalesce(sum(n.clients), 0)::bigint as clients
    from counted_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) n
    where n.churn_band is not null
), predicted as materialized (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    join predictions r on r.practice_id = $1 and r.client_id = m.id
    where $16 < (select clients from known)
    order by r.engagement desc, r.client_id
    limit $15 offset $16
), others as (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    where m.churn_band is null and $16 + $15 > (select clients from known)
    order by m.id
    limit $15 - (select count(*) from predicted)
    offset greatest(0, $16 - (select clients from known))
)
select c.*, p.probability, p.band, p.engagement
from (select id from predicted union all select id from others) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by p.engagement desc nulls last, c.id
"""

# Who never did anything has been silent for longest.
LIST_BY_ACTIVITY = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.activity_day nulls first, m.last_activity_at nulls first, m.id
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.last_activity_at nulls first, c.id
"""

LIST_BY_ACTIVITY_DESC = """
select c.*, p.probability, p.band, p.engagement
from (
    select m.id
    from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) m
    order by m.activity_day desc nulls last, m.last_activity_at desc nulls last, m.id
    limit $15 offset $16
) chosen
join clients c on c.id = chosen.id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
order by c.last_activity_at desc nulls last, c.id
"""

LIST_BY: Mapping[Sort, str] = {
    "created_at": LIST_BY_CREATED,
    "-created_at": LIST_BY_CREATED_DESC,
    "name": LIST_BY_NAME,
    "-name": LIST_BY_NAME_DESC,
    "churn_risk": LIST_BY_RISK,
    "-churn_risk": LIST_BY_RISK_DESC,
    "engagement": LIST_BY_ENGAGEMENT,
    "-engagement": LIST_BY_ENGAGEMENT_DESC,
    "last_activity_at": LIST_BY_ACTIVITY,
    "-last_activity_at": LIST_BY_ACTIVITY_DESC,
}

COUNT_CLIENTS = """
select coalesce(sum(n.clients), 0)::bigint
from counted_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) n
"""

# By dates or words each is looked at anyway: counted without a word of what they have in common.
COUNT_MATCHING = "select count(*) from matching_clients($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"

# Each facet counts without its own filter, so that the other choices show what they would give. `cube` has the clients
# that pass all but those four filters by status, coach, band and tags: rows that all four facets sum up.
COUNT_FACETS = """
with cube as materialized (
    select n.status, n.coach_id, n.churn_band as band, n.tags, sum(n.clients) as clients,
           $5::text is null or n.tags @> array[$5] as tagged,
           case when $4::text is null then n.status <> 'archived' when $4 = 'any' then true else n.status = $4 end
               as of_status,
           ($6::uuid is null or n.coach_id = $6) and (not $7::boolean or n.coach_id is null) as of_coach,
           case when $8::text is null then true else coalesce(n.churn_band, 'none') = $8 end as of_band
    from counted_clients($1, $2, $3, 'any', null, null, false, null, $9, $10, $11, $12, $13, $14) n
    group by n.status, n.coach_id, n.churn_band, n.tags
    having sum(n.clients) <> 0
), tags as (
    select t.tag, sum(c.clients)::bigint as clients
    from cube c
    cross join unnest(c.tags) t (tag)
    where c.of_status and c.of_coach and c.of_band
    group by t.tag
    order by 2 desc, t.tag
    limit $15
)
select 'status' as facet, status as value, null as name, sum(clients)::bigint as clients
from cube
where tagged and of_coach and of_band
group by status
union all
select 'coach', f.coach_id::text, u.name, sum(f.clients)::bigint
from cube f
left join users u on u.practice_id = $1 and u.id = f.coach_id
where f.tagged and f.of_status and f.of_band
group by f.coach_id, u.name
union all
select 'band', coalesce(band, 'none'), null, sum(clients)::bigint
from cube
where tagged and of_status and of_coach
group by band
union all
select 'tag', tag, null, clients
from tags
order by 1, 4 desc, 2
"""

# With the values known, the planner leaves out the filters that are not asked for, and picks the index of those that
# are; a plan for all values, which PostgreSQL turns to after five executions, could do neither.
PLAN_BY_VALUES = "set local plan_cache_mode = force_custom_plan"


class ClientFilters(Input):
    """`status`: all but the archived without it, with `any` these too. `without_coach`: only those. `q`: words, each
    somewhere in name, e-mail or telephone number, without regard to case and accents. Ranges: from inclusive, to
    exclusive."""

    status: Literal[Status, "any"] | None = None
    tag: Tag | None = None
    coach_id: UUID | None = None
    without_coach: bool = False
    churn_band: Literal["low", "medium", "high", "none"] | None = None
    last_activity_from: Moment | None = None
    last_activity_to: Moment | None = None
    created_from: Moment | None = None
    created_to: Moment | None = None
    q: Line | None = None


class ClientQuery(ClientFilters, PageQuery):
    sort: Sort = "-created_at"


@dataclass(frozen=True, slots=True)
class Count:
    value: str
    count: int


@dataclass(frozen=True, slots=True)
class CoachCount:
    """`coach_id` null: clients without a coach."""

    coach_id: UUID | None
    name: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """How many clients each value has among those that pass the other filters; values that nobody has are left out."""

    status: Sequence[Count]
    tag: Sequence[Count]
    coach: Sequence[CoachCount]
    churn_band: Sequence[Count]


async def list_clients(db: Database, actor: Actor, query: ClientQuery) -> Page[Client]:
    """Raises Invalid when a client filters by what the practice thinks of them."""
    filters = _filters(actor, query)
    async with db.transaction() as connection:
        await connection.execute(PLAN_BY_VALUES)
        rows = await connection.fetch(LIST_BY[query.sort], *filters, query.page_size, query.offset)
        total = await _count(connection, filters, query, len(rows))
    return page_of([shown_to(actor, client_of(row)) for row in rows], query=query, total=total)


async def count_facets(db: Database, actor: Actor, query: ClientFilters) -> Facets:
    actor.must_be(STAFF)
    filters = _filters(actor, query)
    async with db.transaction() as connection:
        await connection.execute(PLAN_BY_VALUES)
        rows = await connection.fetch(COUNT_FACETS, *filters, MAX_TAG_COUNTS)

    def counts(facet: str) -> list[Count]:
        return [Count(row["value"], row["clients"]) for row in rows if row["facet"] == facet]

    coaches = [
        CoachCount(UUID(row["value"]) if row["value"] else None, row["name"], row["clients"])
        for row in rows
        if row["facet"] == "coach"
    ]
    return Facets(status=counts("status"), tag=counts("tag"), coach=coaches, churn_band=counts("band"))


async def _count(connection: Connection, filters: Sequence[Any], query: ClientQuery, shown: int) -> int:
    """A page that is not full is the last one, and says itself how many there are."""
    if 0 < shown < query.page_size or (shown == 0 and query.page == 1):
        return query.offset + shown
    one_by_one = any(value is not None for value in filters[8:])
    total: int = await connection.fetchval(COUNT_MATCHING if one_by_one else COUNT_CLIENTS, *filters)
    return total


def _filters(actor: Actor, query: ClientFilters) -> tuple[Any, ...]:
    """The arguments of `matching_clients`."""
    if actor.role is Role.CLIENT:
        _refuse_judgements(query)
    words = sorted((query.q or "").split(), key=len, reverse=True)
    if len(words) > MAX_WORDS:
        raise Invalid.field("query.q", f"At most {MAX_WORDS} words.")
    return (
        *actor.scope, query.status, query.tag, query.coach_id, query.without_coach, query.churn_band,
        query.last_activity_from, query.last_activity_to, query.created_from, query.created_to,
        words[0] if words else None, words[1:] or None,
    )  # fmt: skip


def _refuse_judgements(query: ClientFilters) -> None:
    asked = [name for name in ("tag", "churn_band") if getattr(query, name) is not None]
    if asked:
        message = "What the practice thinks of its clients, they can't filter by."
        raise Invalid(fields=[FieldError(f"query.{name}", message) for name in asked])
