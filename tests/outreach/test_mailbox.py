"""The mailbox of a development instance keeps what would have been sent, for its owner's eyes."""

from pathlib import Path
from stat import S_IMODE
from uuid import UUID, uuid4

import pytest

from tests.outreach.test_mail_texts import SENDER, queued, values
from wellio.errors import NotFound
from wellio.ids import uuid7
from wellio.mails import MailKind
from wellio.outreach import mailbox as keeping
from wellio.outreach.mail_texts import make_message
from wellio.outreach.mail_words import Filled
from wellio.outreach.mailbox import Mailbox


async def keep(mailbox: Mailbox, subject: str) -> UUID:
    mail = queued(MailKind.PASSWORD_RESET, "olga@example.org")
    await mailbox.keep(make_message(mail, Filled(subject, values()), SENDER))
    return mail.id


async def test_kept_mail_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "var" / "mailbox")
    mail_id = await keep(mailbox, "Grüße")
    mail = await mailbox.get_mail(mail_id)
    assert (mail.subject, mail.recipient, mail.id) == ("Grüße", "olga@example.org", mail_id)
    assert "https://wellio.example/x" in mail.text
    assert "https://wellio.example/x" in mail.html
    (file,) = (tmp_path / "var" / "mailbox").iterdir()
    assert S_IMODE(file.stat().st_mode) == 0o600
    assert S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_MAILS", 3)
    mailbox = Mailbox(tmp_path)
    for n in range(5):
        await keep(mailbox, str(n))
    assert [mail.subject for mail in await mailbox.list_mails()] == ["4", "3", "2"]


async def test_repeated_attempt_is_one_mail(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mail = queued(MailKind.PASSWORD_RESET, "olga@example.org")
    for subject in ("first", "second"):
        await mailbox.keep(make_message(mail, Filled(subject, values()), SENDER))
    assert [kept.subject for kept in await mailbox.list_mails()] == ["second"]


async def test_empty_mailbox_and_unknown_mail(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "none")
    assert await mailbox.list_mails() == []
    for mail_id in (uuid4(), uuid7()):
        with pytest.raises(NotFound):
            await mailbox.get_mail(mail_id)
