"""The mailbox of a development instance: mails that would have been sent, kept as files, to be read at /mailbox."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path
from uuid import UUID

from wellio.errors import NotFound

MOST_MAILS = 200


@dataclass(frozen=True, slots=True)
class KeptMail:
    id: UUID
    recipient: str
    subject: str
    sent_at: datetime
    text: str
    html: str


class Mailbox:
    """A folder of `.eml` files that only their owner may read. The id of a mail, a UUIDv7, is its name and its age."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._keep, message)

    async def list_mails(self) -> list[KeptMail]:
        """Newest first."""
        return await asyncio.to_thread(lambda: [_read(path) for path in reversed(self._paths())])

    async def get_mail(self, mail_id: UUID) -> KeptMail:
        """Raises NotFound."""
        try:
            return await asyncio.to_thread(_read, self._folder / f"{mail_id}.eml")
        except FileNotFoundError:
            raise NotFound("No such mail is kept.") from None

    def _keep(self, message: EmailMessage) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = parseaddr(message["Message-ID"])[1].partition("@")[0]
        draft = self._folder / f".{name}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(message.as_bytes(policy=SMTP))
        draft.rename(self._folder / f"{UUID(name)}.eml")
        for path in self._paths()[:-MOST_MAILS]:
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._folder.glob("*.eml"))


def _read(path: Path) -> KeptMail:
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    return KeptMail(
        id=UUID(path.stem),
        recipient=str(message["To"]),
        subject=str(message["Subject"]),
        sent_at=parsedate_to_datetime(str(message["Date"])).astimezone(UTC),
        text=text.get_content() if text else "",
        html=html.get_content() if html else "",
    )
