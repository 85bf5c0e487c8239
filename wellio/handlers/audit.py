"""/api/v1/audit"""

from wellio.accounts.actors import Role
from wellio.accounts.audit import AuditEntry, AuditQuery, list_audit
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page


async def list_audit_page(call: Call[NoInput, AuditQuery]) -> Page[AuditEntry]:
    """Who read, changed or was denied what in the practice, the newest first."""
    return await list_audit(call.services.db, call.actor, call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/audit", handler=list_audit_page, tag="audit", roles=frozenset({Role.OWNER}),
        query=AuditQuery, answer=Page[AuditEntry], reads=True,
    ),
)  # fmt: skip
