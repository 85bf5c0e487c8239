"""What a mail says: made when it is sent, from what it concerns, in the reader's time zone.

Links are made here too, so each attempt carries a new one, and those sent before serve no more. A mail whose reason
is gone (nobody has the address, the invitation was withdrawn) is dropped.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import css_inline
import jinja2

from wellio.accounts.actors import Role
from wellio.accounts.invitations import mint_invitation
from wellio.accounts.one_time_tokens import TTL, Purpose, mint_token
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Row
from wellio.mails import MailKind
from wellio.outreach.mail_words import Filled, Invitation, QueuedMail, one_line, told_name, told_time
from wellio.outreach.session_mails import fill_session_mail
from wellio.practice.calendars import Party, make_calendar

TEMPLATES = Path(__file__).parent / "templates"
ROLE_WORDS = {Role.OWNER: "as an owner of the practice", Role.COACH: "as a coach", Role.CLIENT: "as a client"}

GET_READER = """
select u.id, u.practice_id, u.name, u.email, u.pending_email, u.email_verified_at, u.timezone, p.name as practice
from users u
join practices p on p.id = u.practice_id
where u.practice_id = $1 and u.id = $2 and u.status = 'active'
"""

GET_WEBHOOK_URL = "select url from webhooks where practice_id = $1 and id = $2"

FIND_READER = """
select u.id, u.practice_id, u.name, u.email, u.pending_email, u.email_verified_at, u.timezone, p.name as practice
from users u
join practices p on p.id = u.practice_id
where lower(u.email) = lower($1) and u.status = 'active'
"""


Fill = Callable[[Connection, QueuedMail, str], Awaitable[Filled | None]]


async def fill_mail(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    """Makes the link, in the caller's transaction, and gathers the rest. None: nobody to write to."""
    filled = await FILLS[MailKind(mail.kind)](connection, mail, base_url)
    if filled is None:
        return None
    return replace(filled, values={"recipient": mail.recipient, "base_url": base_url, **filled.values})


async def _password_reset(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    reader = await connection.fetchrow(FIND_READER, mail.recipient)
    if reader is None:
        return None
    values = await _linked(connection, mail, reader, Purpose.PASSWORD_RESET, f"{base_url}/reset-password")
    return Filled("Choose a new password for Wellio", values)


async def _verify_email(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    reader = await _reader_of(connection, mail)
    if reader is None or not _awaits_proof(reader, mail.recipient):
        return None
    values = await _linked(connection, mail, reader, Purpose.VERIFY_EMAIL, f"{base_url}/verify-email")
    return Filled("Confirm your e-mail address", values)


def _awaits_proof(reader: Row, address: str) -> bool:
    """Whether `address` is the one the user is about to get, or theirs and not verified yet."""
    is_next = (reader["pending_email"] or "").lower() == address.lower()
    return is_next or (reader["email"].lower() == address.lower() and reader["email_verified_at"] is None)


async def _invitation(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    minted = await mint_invitation(connection, UUID(mail.data["invitation_id"]))
    if minted is None or mail.practice_id is None:
        return None
    token, offer = minted
    practice = await get_practice(connection, mail.practice_id)
    values = {
        "link": f"{base_url}/invitation?token={token}",
        "inviter": offer.invited_by_name,
        "practice": offer.practice_name,
        "role": ROLE_WORDS[offer.role],
        "ends": told_time(offer.expires_at, practice.timezone),
    }
    return Filled(f"{told_name(offer.invited_by_name)} invites you to {told_name(offer.practice_name)}", values)


async def _linked(
    connection: Connection, mail: QueuedMail, reader: Row, purpose: Purpose, address: str
) -> dict[str, Any]:
    token = await mint_token(
        connection, purpose, practice_id=reader["practice_id"], user_id=reader["id"], email=mail.recipient
    )
    ends = told_time(datetime.now(UTC) + TTL[purpose], reader["timezone"])
    return {"link": f"{address}?token={token}", "ends": ends, **_of_reader(reader)}


def _notice(subject: str) -> Fill:
    """A kind that only tells what happened to the user's account."""

    async def fill(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
        reader = await _reader_of(connection, mail)
        if reader is None:
            return None
        return Filled(
            subject, {"happened": told_time(mail.created_at, reader["timezone"]), **_left(mail), **_of_reader(reader)}
        )

    return fill


async def _webhook_disabled(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    reader = await _reader_of(connection, mail)
    if reader is None:
        return None
    url = await connection.fetchval(GET_WEBHOOK_URL, mail.practice_id, UUID(mail.data["webhook_id"]))
    if url is None:
        return None
    values = {
        "happened": told_time(mail.created_at, reader["timezone"]),
        "host": urlsplit(url).hostname,  # the rest may hold a secret
        "gone": mail.data["reason"] == "gone",
    }
    return Filled("A webhook of your practice was turned off", {**values, **_of_reader(reader)})


def _left(mail: QueuedMail) -> dict[str, str]:
    left = mail.data.get("left")
    if left is None:
        return {"codes_left": ""}
    if left == 0:
        return {"codes_left": "It was the last one: make new codes on the page of your account."}
    return {"codes_left": f"{left} {'is' if left == 1 else 'are'} left."}


async def _reader_of(connection: Connection, mail: QueuedMail) -> Row | None:
    return await connection.fetchrow(GET_READER, mail.practice_id, mail.user_id)


def _of_reader(reader: Row) -> dict[str, str]:
    return {"reader": reader["name"], "practice": reader["practice"]}


FILLS: Mapping[MailKind, Fill] = {
    MailKind.PASSWORD_RESET: _password_reset,
    MailKind.VERIFY_EMAIL: _verify_email,
    MailKind.INVITATION: _invitation,
    MailKind.PASSWORD_CHANGED: _notice("Your password was changed"),
    MailKind.EMAIL_CHANGING: _notice("Your e-mail address is about to change"),
    MailKind.REFRESH_REUSED: _notice("A device was signed out of your account"),
    MailKind.SECOND_FACTOR_ON: _notice("Signing in now takes a second step"),
    MailKind.SECOND_FACTOR_OFF: _notice("Signing in takes the password alone again"),
    MailKind.WEBHOOK_DISABLED: _webhook_disabled,
    MailKind.RECOVERY_CODE_USED: _notice("A recovery code was used"),
    MailKind.SESSION_BOOKED: fill_session_mail,
    MailKind.SESSION_MOVED: fill_session_mail,
    MailKind.SESSION_CANCELLED: fill_session_mail,
    MailKind.PLACE_LEFT: fill_session_mail,
    MailKind.SESSION_REMINDER: fill_session_mail,
}


def _environment() -> jinja2.Environment:
    """With every template compiled now. Text is text; HTML escapes what it is filled with."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["name"] = told_name
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


ENVIRONMENT = _environment()
# The rules for dark screens can't be inlined, and stay. Nothing is ever loaded to inline it.
INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def make_message(mail: QueuedMail, filled: Filled, sender: str) -> EmailMessage:
    """The whole mail, as text and as HTML. `sender` is as in MAIL_FROM. Raises ValueError for a broken recipient.

    Its Message-ID is always the same one for the same row: a server or a reader can tell a repeat after an answer
    that was lost.
    """
    subject = one_line(filled.subject)
    values = {**filled.values, "subject": subject}
    name, address = parseaddr(sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(one_line(name), addr_spec=address)
    message["To"] = Address(addr_spec=in_ascii_domain(mail.recipient))
    message["Subject"] = subject
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{mail.id}@{address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes, please
    message["X-Auto-Response-Suppress"] = "All"
    text = ENVIRONMENT.get_template(f"{mail.kind}.txt").render(values)
    html = ENVIRONMENT.get_template(f"{mail.kind}.html").render(values)
    message.set_content(text.strip() + "\n", cte="quoted-printable")
    message.add_alternative(INLINER.inline(html), subtype="html", cte="quoted-printable")
    if filled.calendar:
        _add_calendar(message, filled.calendar, address)
    return message


def _add_calendar(message: EmailMessage, invitation: Invitation, sender: str) -> None:
    """As a form of the mail, which programs act upon (RFC 6047), and as a file for those that do not. Base64, so that
    its line ends stay."""
    organizer = Party(invitation.organizer, sender)
    events = [replace(event, organizer=organizer) for event in invitation.events]
    text = make_calendar(events, method=invitation.method).decode()
    params = {"method": invitation.method, "charset": "utf-8"}
    message.add_alternative(text, subtype="calendar", cte="base64", params=params)
    name = "cancellation.ics" if invitation.method == "CANCEL" else "sessions.ics"
    message.add_attachment(text.encode(), maintype="application", subtype="ics", filename=name)


def in_ascii_domain(address: str) -> str:
    """The address with its domain as the DNS has it (IDNA), which any server takes. Raises ValueError."""
    local, _, domain = address.rpartition("@")
    if not local or not domain:
        raise ValueError("no address")
    return f"{local}@{domain.encode('idna').decode()}"
