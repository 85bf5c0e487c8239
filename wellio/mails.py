"""Mails to be sent: a row in the transaction of their reason. `outreach/mail_sender.py` sends them after the commit.

Neither text nor link is stored: `outreach/mail_texts.py` makes both when the mail is sent, so that no secret lies in
the database and a repeated attempt makes a new link.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

from wellio.db import Connection
from wellio.ids import uuid7


class MailKind(StrEnum):
    """Each has its templates. `recipient` of the first two need not be anybody's address: then it is dropped."""

    PASSWORD_RESET = "password_reset"
    VERIFY_EMAIL = "verify_email"  # to `recipient`, which may be a new address of the user
    INVITATION = "invitation"  # data: invitation_id
    PASSWORD_CHANGED = "password_changed"
    EMAIL_CHANGING = "email_changing"  # to the old address
    REFRESH_REUSED = "refresh_reused"  # somebody used an old refresh token: the device was signed out
    SECOND_FACTOR_ON = "second_factor_on"
    SECOND_FACTOR_OFF = "second_factor_off"
    WEBHOOK_DISABLED = "webhook_disabled"  # data: webhook_id, reason (gone, failing)
    RECOVERY_CODE_USED = "recovery_code_used"  # data: left
    # data: session_ids (several of a series), sequence (of the first, then), client_id (of a client who is written to)
    SESSION_BOOKED = "session_booked"
    SESSION_MOVED = "session_moved"
    SESSION_CANCELLED = "session_cancelled"
    PLACE_LEFT = "place_left"  # of one client, in a group that goes on
    SESSION_REMINDER = "session_reminder"  # data adds starts_at: of which start it reminds


INSERT_MAIL = """
insert into mails (id, practice_id, user_id, kind, recipient, data)
values ($1, $2, $3, $4, $5, $6)
"""


async def queue_mail(
    connection: Connection,
    kind: MailKind,
    recipient: str,
    *,
    practice_id: UUID | None = None,
    user_id: UUID | None = None,
    data: dict[str, Any] | None = None,
) -> UUID:
    """In the caller's transaction. `data` holds ids, counts and times: nothing secret, nothing somebody wrote."""
    mail_id = uuid7()
    await connection.execute(INSERT_MAIL, mail_id, practice_id, user_id, kind.value, recipient, data or {})
    return mail_id
