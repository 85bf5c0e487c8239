"""The audit log as a practice's owner reads it. What writes it: `wellio/audit.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.audit import Outcome
from wellio.db import Database, Row
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Line, Moment

LIST_AUDIT = """
select a.id, a.at, a.action, a.outcome, a.actor_id, u.name as actor_name, a.actor_role, a.session_id, a.api_key_id,
       a.subject_id, a.client_ids, a.request_id, a.address, a.details
from audit_log a
left join users u on u.practice_id = $1 and u.id = a.actor_id
where a.practice_id = $1
  and ($2::uuid is null or a.actor_id = $2)
  and ($3::uuid is null or a.client_ids @> array[$3])
  and ($4::text is null or a.action = $4)
  and ($5::text is null or a.outcome = $5)
  and ($6::timestamptz is null or a.at >= $6)
  and ($7::timestamptz is null or a.at < $7)
order by a.at desc, a.id
limit $8 offset $9
"""

COUNT_AUDIT = """
select count(*)
from audit_log a
where a.practice_id = $1
  and ($2::uuid is null or a.actor_id = $2)
  and ($3::uuid is null or a.client_ids @> array[$3])
  and ($4::text is null or a.action = $4)
  and ($5::text is null or a.outcome = $5)
  and ($6::timestamptz is null or a.at >= $6)
  and ($7::timestamptz is null or a.at < $7)
"""


class AuditQuery(PageQuery):
    """`from` inclusive, `to` exclusive. `action` is an operation's id in this document, or a command's name."""

    actor_id: UUID | None = None
    client_id: UUID | None = None
    action: Line | None = None
    outcome: Outcome | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`actor_id` is null when nobody was signed in; then `subject_id` is whom a failed log-in was about.

    `details` holds names of fields and events, counts, codes: never content.
    """

    id: UUID
    at: datetime
    action: str
    outcome: Outcome
    actor_id: UUID | None
    actor_name: str | None
    actor_role: str | None
    session_id: UUID | None
    api_key_id: UUID | None
    subject_id: UUID | None
    client_ids: Sequence[UUID]
    request_id: str
    address: str
    details: dict[str, Any]


async def list_audit(db: Database, actor: Actor, query: AuditQuery) -> Page[AuditEntry]:
    """Of the practice, the newest first."""
    actor.must_be(frozenset({Role.OWNER}))
    filters = (
        actor.practice_id,
        query.actor_id,
        query.client_id,
        query.action,
        query.outcome,
        query.from_,
        query.to,
    )
    return await fetch_page(db, query, LIST_AUDIT, COUNT_AUDIT, filters, _entry)


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(**dict(row) | {"outcome": Outcome(row["outcome"])})
