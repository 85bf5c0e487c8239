"""/api/v1/reports and /api/v1/messages/{message_id}/reports"""

from wellio.chat.reports import (
    OWNERS,
    NewReport,
    Report,
    ReportChanges,
    ReportQuery,
    ReportReceipt,
    list_reports,
    report_message,
    settle_report,
)
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page


async def post_report(call: Call[NewReport, NoInput]) -> ReportReceipt:
    """Report a message to the practice's owners, as it is now; each person once."""
    services, message_id = call.services, call.ids["message_id"]
    return await report_message(services.outbox, services.sealer, call.actor, message_id, call.body, once=call.once)


async def list_reports_page(call: Call[NoInput, ReportQuery]) -> Page[Report]:
    """What was reported, the latest first."""
    return await list_reports(call.services.db, call.services.sealer, call.actor, call.query)


async def patch_report(call: Call[ReportChanges, NoInput]) -> Report:
    """Settle a report: dismissed, or resolved with an action."""
    services, report_id = call.services, call.ids["report_id"]
    return await settle_report(services.outbox, services.live, services.sealer, call.actor, report_id, call.body)


BASE = "/api/v1/reports"
ROUTES = (
    Route(
        method="POST", path="/api/v1/messages/{message_id}/reports", handler=post_report, tag="reports",
        body=NewReport, answer=ReportReceipt, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="GET", path=BASE, handler=list_reports_page, tag="reports", roles=OWNERS,
        query=ReportQuery, answer=Page[Report], reads=True,
    ),
    Route(
        method="PATCH", path=f"{BASE}/{{report_id}}", handler=patch_report, tag="reports", roles=OWNERS,
        body=ReportChanges, answer=Report, errors=(409,),
    ),
)  # fmt: skip
