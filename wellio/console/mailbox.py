"""/mailbox: the mails of a development instance, which has nobody else to hand them to. No address elsewhere."""

import re
from uuid import UUID

from aiohttp import web
from markupsafe import Markup, escape

from wellio.console.pages import PAGE_HEADERS, render, told_in_html
from wellio.errors import NotFound
from wellio.outreach.mailbox import Mailbox
from wellio.services import SERVICES

LINK = re.compile(r"(https?://[^\s<>\"]+)")

# The page shows the mail's HTML in a frame…
FRAMING = {"Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"] + "; frame-src 'self'"}
# …which may do nothing but look like a mail, and open its links elsewhere. Its styles are inlined, as in any mail.
FRAMED = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def add_mailbox(app: web.Application) -> None:
    """Only where mails are kept; elsewhere the addresses do not exist."""
    if app[SERVICES].mailbox is not None:
        app.router.add_get("/mailbox", told_in_html(get_mailbox))
        app.router.add_get("/mailbox/{mail_id}", told_in_html(get_mail))
        app.router.add_get("/mailbox/{mail_id}/html", told_in_html(get_mail_html))


async def get_mailbox(request: web.Request) -> web.StreamResponse:
    return render(request, "mailbox.html", {"mails": await _mailbox(request).list_mails()})


async def get_mail(request: web.Request) -> web.StreamResponse:
    mail = await _mailbox(request).get_mail(_mail_id(request))
    response = render(request, "mailbox_mail.html", {"mail": mail, "text": _linked(mail.text)})
    response.headers.update(FRAMING)
    return response


async def get_mail_html(request: web.Request) -> web.StreamResponse:
    mail = await _mailbox(request).get_mail(_mail_id(request))
    return web.Response(text=mail.html, content_type="text/html", headers=FRAMED)


def _mailbox(request: web.Request) -> Mailbox:
    mailbox = request.app[SERVICES].mailbox
    assert mailbox is not None  # or the address would not exist
    return mailbox


def _mail_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["mail_id"])
    except ValueError:
        raise NotFound("No such mail is kept.") from None


def _linked(text: str) -> Markup:
    """The text with its links to be followed, as mail programs show it."""
    parts = LINK.split(text)
    return Markup("").join(
        Markup('<a href="{0}">{0}</a>').format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )
