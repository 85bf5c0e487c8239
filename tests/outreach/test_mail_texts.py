"""What mails say, and what a name or an address can't make them say."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import House
from wellio.accounts.actors import Role
from wellio.accounts.invitations import NewInvitation, create_invitation, preview_invitation, revoke_invitation
from wellio.accounts.one_time_tokens import Purpose, find_token
from wellio.db import Database
from wellio.errors import Invalid
from wellio.ids import uuid7
from wellio.mails import MailKind
from wellio.outbox import Outbox
from wellio.outreach.mail_texts import FILLS, fill_mail, make_message
from wellio.outreach.mail_words import Filled, QueuedMail, told_name

BASE = "https://wellio.example"
SENDER = "Wellio <no-reply@wellio.example>"
HAPPENED = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
LINK = re.compile(r"https://wellio\.example/\S+")
# tests/outreach/test_session_mails.py
ABOUT_SESSIONS = {
    MailKind.SESSION_BOOKED, MailKind.SESSION_MOVED, MailKind.SESSION_CANCELLED, MailKind.SESSION_REMINDER,
    MailKind.PLACE_LEFT,
}  # fmt: skip
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]


def queued(kind: MailKind, recipient: str, *, house: House | None = None, **data: Any) -> QueuedMail:
    owner = house.owner if house else None
    return QueuedMail(
        id=uuid7(),
        practice_id=owner.practice_id if owner else None,
        user_id=owner.user_id if owner else None,
        kind=kind.value,
        recipient=recipient,
        data=data,
        created_at=HAPPENED,
        attempts=1,
    )


async def written(db: Database, mail: QueuedMail) -> EmailMessage | None:
    async with db.transaction() as connection:
        filled = await fill_mail(connection, mail, BASE)
    return make_message(mail, filled, SENDER) if filled else None


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


@pytest.fixture
async def address(db: Database, house: House) -> str:
    sql = "update users set name = 'Olga O’Hara', email_verified_at = null, timezone = 'America/New_York' where id = $1"
    await db.execute(sql, house.owner.user_id)
    return str(await db.fetchval("select email from users where id = $1", house.owner.user_id))


async def token_of(db: Database, message: EmailMessage, purpose: Purpose, path: str) -> UUID | None:
    """Whose token the link holds; the same link stands in both forms."""
    links = {part for kind in ("plain", "html") for part in LINK.findall(text_of(message, kind).replace('"', " "))}
    (link,) = {link.split("<")[0] for link in links if "token" in link}
    assert urlsplit(link).path == path
    async with db.transaction() as connection:
        found = await find_token(connection, purpose, parse_qs(urlsplit(link).query)["token"][0])
    return found.user_id if found else None


async def test_reset_link_is_for_who_has_the_address(db: Database, house: House, address: str) -> None:
    message = await written(db, queued(MailKind.PASSWORD_RESET, address.upper()))
    assert message is not None
    assert await token_of(db, message, Purpose.PASSWORD_RESET, "/reset-password") == house.owner.user_id
    assert "Olga O’Hara" in text_of(message)
    assert "Olga O’Hara" in text_of(message, "html")
    assert message["To"] == address.upper()


async def test_each_attempt_makes_a_new_link_and_ends_the_one_before(db: Database, house: House, address: str) -> None:
    mail = queued(MailKind.PASSWORD_RESET, address)
    first, second = await written(db, mail), await written(db, mail)
    assert first is not None
    assert second is not None
    assert await token_of(db, first, Purpose.PASSWORD_RESET, "/reset-password") is None
    assert await token_of(db, second, Purpose.PASSWORD_RESET, "/reset-password") == house.owner.user_id
    assert first["Message-ID"] == second["Message-ID"] == f"<{mail.id}@wellio.example>"


async def test_nobody_is_written_to_about_an_account_that_is_not_there(
    db: Database, house: House, address: str
) -> None:
    assert await written(db, queued(MailKind.PASSWORD_RESET, "nobody@example.org")) is None
    await db.execute("update users set status = 'suspended' where id = $1", house.owner.user_id)
    for kind in FILLS.keys() - {MailKind.INVITATION} - ABOUT_SESSIONS:
        assert await written(db, queued(kind, address, house=house)) is None
    assert await db.fetchval("select count(*) from one_time_tokens") == 0


async def test_address_is_verified_while_it_waits_for_that(db: Database, house: House, address: str) -> None:
    owner = house.owner.user_id
    mine = queued(MailKind.VERIFY_EMAIL, address, house=house)
    message = await written(db, mine)
    assert message is not None
    assert await token_of(db, message, Purpose.VERIFY_EMAIL, "/verify-email") == owner
    assert await written(db, queued(MailKind.VERIFY_EMAIL, "new@example.org", house=house)) is None
    await db.execute("update users set email_verified_at = now(), pending_email = 'new@example.org'")
    assert await written(db, mine) is None
    message = await written(db, queued(MailKind.VERIFY_EMAIL, "New@example.org", house=house))
    assert message is not None
    assert await token_of(db, message, Purpose.VERIFY_EMAIL, "/verify-email") == owner
    assert await db.fetchval("select email from one_time_tokens where used_at is null") == "New@example.org"


async def test_invitation_names_who_invites_and_whither(db: Database, outbox: Outbox, house: House) -> None:
    new = NewInvitation(email="nina@example.org", role=Role.COACH)
    invitation = await create_invitation(outbox, house.owner, new)
    mail = queued(MailKind.INVITATION, invitation.email, house=house, invitation_id=str(invitation.id))
    first, second = await written(db, mail), await written(db, mail)
    assert first is not None
    assert second is not None
    assert first["Subject"] == "Olga Owner invites you to Practice"
    assert "as a coach" in text_of(first)
    assert "(Europe/Berlin)" in text_of(first)
    tokens = [parse_qs(urlsplit(LINK.findall(text_of(m))[0]).query)["token"][0] for m in (first, second)]
    with pytest.raises(Invalid, match="used already"):
        await preview_invitation(db, tokens[0])
    assert (await preview_invitation(db, tokens[1])).email == "nina@example.org"
    await revoke_invitation(outbox, house.owner, invitation.id)
    assert await written(db, mail) is None


LINKED = {MailKind.PASSWORD_RESET, MailKind.VERIFY_EMAIL, MailKind.INVITATION}
# Of the reader's account; what is of the practice has no link to a new password.
NOTICES = sorted(FILLS.keys() - LINKED - ABOUT_SESSIONS - {MailKind.WEBHOOK_DISABLED})


@pytest.mark.parametrize("kind", NOTICES)
async def test_notice_says_when_it_happened_where_the_reader_is(
    db: Database, house: House, address: str, kind: MailKind
) -> None:
    message = await written(db, queued(kind, address, house=house, left=1))
    assert message is not None
    for form in ("plain", "html"):
        assert "1 July 2026, 08:30 (America/New_York)" in text_of(message, form)
        assert f"{BASE}/forgot-password" in text_of(message, form)


@pytest.mark.parametrize(("left", "words"), [(7, "7 are left."), (1, "1 is left."), (0, "It was the last one")])
async def test_codes_left_are_told(db: Database, house: House, address: str, left: int, words: str) -> None:
    message = await written(db, queued(MailKind.RECOVERY_CODE_USED, address, house=house, left=left))
    assert message is not None
    assert words in text_of(message)


@pytest.mark.parametrize(("reason", "says"), [("gone", "gone for good"), ("failing", "for five days")])
async def test_webhook_that_was_turned_off_is_named_by_its_host(
    db: Database, house: House, address: str, reason: str, says: str
) -> None:
    """The rest of its address may hold a secret."""
    webhook_id = uuid7()
    await db.execute(
        "insert into webhooks (id, practice_id, url, secret) values ($1, $2, 'https://hooks.example.org/s3cret', 'x')",
        webhook_id,
        house.practice.id,
    )
    mail = queued(MailKind.WEBHOOK_DISABLED, address, house=house, webhook_id=str(webhook_id), reason=reason)
    message = await written(db, mail)
    assert message is not None
    for form in ("plain", "html"):
        assert says in text_of(message, form)
        assert "hooks" in text_of(message, form)
        assert "s3cret" not in text_of(message, form)
    await db.execute("delete from webhooks")
    assert await written(db, mail) is None


def test_every_kind_has_its_texts() -> None:
    assert set(FILLS) == set(MailKind)


# ---------------------------------------------------------------- what people chose


def values(**chosen: str) -> dict[str, str]:
    default = {"link": f"{BASE}/x", "ends": "soon", "reader": "Olga", "practice": "North", "recipient": "o@example.org"}
    return default | {"base_url": BASE, "happened": "now", "codes_left": ""} | chosen


def sent(subject: str, **chosen: str) -> tuple[bytes, EmailMessage]:
    mail = queued(MailKind.PASSWORD_RESET, "o@example.org")
    raw = make_message(mail, Filled(subject, values(**chosen)), SENDER).as_bytes()
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    return raw, parsed


BREAKS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\n\n", "\r\n "]


@pytest.mark.parametrize("line_break", BREAKS)
def test_line_breaks_in_names_and_subjects_make_no_header(line_break: str) -> None:
    """CVE-2024-6923 and its kin."""
    evil = f"Olga{line_break}Bcc: everybody@example.org{line_break}{line_break}<script>"
    raw, parsed = sent(evil, reader=evil, practice=evil)
    assert parsed.keys() == HEADERS
    assert b"\nBcc:" not in raw.replace(b"\r", b"\n").partition(b"\n\n")[0]
    assert parsed["Subject"] == "Olga Bcc: everybody@example.org <script>"


@given(st.text(max_size=300))
def test_no_text_makes_a_header(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()  # PostgreSQL stores no lone surrogates
    raw, parsed = sent(text, reader=text, practice=text)
    assert parsed.keys() == HEADERS
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()


@pytest.mark.parametrize("recipient", ["a@b.org\r\nBcc: c@d.org", "a@b.org, c@d.org", "a b@c.org", "a@b..org", "a", ""])
def test_recipient_that_is_no_address_is_refused(recipient: str) -> None:
    mail = queued(MailKind.PASSWORD_RESET, recipient)
    with pytest.raises(ValueError):  # noqa: PT011 (its words are not told)
        make_message(mail, Filled("Hello", values()), SENDER)


def test_markup_in_names_is_shown_and_not_followed() -> None:
    _, parsed = sent("Hello", reader='<img src="https://evil.example/x">', practice="<b>North</b>")
    assert "<img" not in text_of(parsed, "html")
    assert "&lt;b&gt;North" in text_of(parsed, "html")
    assert "<b>North</b>" in text_of(parsed)


def test_name_is_no_link_in_any_mail_program() -> None:
    told = told_name("Win at https://evil.example/now or evil.example, Dr. Smith " + "x" * 200)
    assert "://" not in told
    assert "evil.example" not in told
    assert "Dr. Smith" in told
    assert len(told) <= 110


def test_nothing_is_loaded_from_anywhere_and_styles_are_inlined() -> None:
    _, parsed = sent("Hello")
    html = text_of(parsed, "html")
    assert not re.search(r"<(img|link|script|iframe)|url\(|@import|src=", html)
    assert re.search(r'<a [^>]*style="[^"]*background-color', html)
    assert "prefers-color-scheme: dark" in html
    assert set(re.findall(r'href="([^"]+)"', html)) == {f"{BASE}/x"}


def test_domain_beyond_ascii_is_told_as_the_dns_has_it() -> None:
    mail = queued(MailKind.PASSWORD_RESET, "olga@bücher.example")
    message = make_message(mail, Filled("Hello", values()), SENDER)
    assert message["To"] == "olga@xn--bcher-kva.example"
    assert message.as_bytes(policy=SMTP).isascii()


def test_mail_says_that_nobody_wrote_it_and_when() -> None:
    _, parsed = sent("Hello")
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert abs(datetime.now(UTC) - parsed["Date"].datetime) < timedelta(minutes=1)
