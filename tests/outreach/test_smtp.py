"""Handing a mail to an SMTP server: what counts as sent, what is tried again, and what is kept to itself."""

import asyncio
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from tests.outreach.post_office import HANG, HANG_UP, TAKEN, PostOffice, client_context
from wellio.outreach import smtp
from wellio.outreach.smtp import NotSent, SmtpServer, Tls, smtp_server


def server(office: PostOffice, *, tls: Tls = Tls.NONE, **options: object) -> SmtpServer:
    context = client_context()
    return SmtpServer(host="127.0.0.1", port=office.port, tls=tls, context=context, name="wellio.example", **options)  # type: ignore[arg-type]


def message(to: str = "olga@example.org", body: str = "Hello") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Wellio <no-reply@wellio.example>"
    message["To"] = to
    message["Subject"] = "Grüße"
    message.set_content(body, cte="quoted-printable")
    return message


async def refusal(server: SmtpServer, mail: EmailMessage) -> NotSent:
    with pytest.raises(NotSent) as caught:
        await server.send(mail)
    return caught.value


async def test_mail_arrives_whole() -> None:
    async with PostOffice().open() as office:
        await server(office).send(message(body=".\nline of a dot\nÄ" * 500))
    (taken,) = office.taken
    assert taken["Subject"] == "Grüße"
    assert taken.get_content().replace("\r\n", "\n") == ".\nline of a dot\nÄ" * 500 + "\n"
    assert (office.envelopes[0].mail_from, office.envelopes[0].rcpt_tos) == (
        "no-reply@wellio.example",
        ["olga@example.org"],
    )
    assert office.sessions[0].host_name == "wellio.example"


@pytest.mark.parametrize(
    ("to_rcpt", "to_data", "reason", "permanent"),
    [
        ("550 5.1.1 <olga@example.org> is unknown here", "", "the recipient was refused: 550 5.1.1", True),
        ("450 4.2.0 greylisted, olga@example.org", "", "the recipient was refused: 450 4.2.0", False),
        ("", "554 5.7.1 we don't like https://x.example/?token=y", "the mail was refused: 554 5.7.1", True),
        ("", "451 try later", "the mail was refused: 451", False),
        ("", HANG_UP, "the connection was lost: SMTPServerDisconnected", False),
    ],
)
async def test_refusals_are_told_apart_without_the_servers_words(
    to_rcpt: str, to_data: str, reason: str, permanent: bool
) -> None:
    office = PostOffice()
    office.to_rcpt, office.to_data = [to_rcpt] * bool(to_rcpt), [to_data] * bool(to_data)
    async with office.open():
        failure = await refusal(server(office), message())
        assert (failure.reason, failure.permanent) == (reason, permanent)
        await server(office).send(message())
    assert len(office.taken) == 1


async def test_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "STEP_TIMEOUT_S", 0.2)
    office = PostOffice()
    office.to_data = [HANG]
    async with office.open():
        failure = await refusal(server(office), message())
        assert office.asked.is_set()
    assert (failure.reason, failure.permanent) == ("the connection was lost: TimeoutError", False)


async def test_server_that_says_nothing_at_all_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "CONVERSATION_TIMEOUT_S", 0.2)
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    office = PostOffice()
    office.port = silent.sockets[0].getsockname()[1]
    failure = await refusal(server(office), message())
    assert (failure.reason, failure.permanent) == ("the server took too long", False)
    silent.close()


async def test_no_server_is_a_matter_of_time() -> None:
    office = PostOffice()
    async with office.open():
        pass
    failure = await refusal(server(office), message())
    assert (failure.reason, failure.permanent) == ("no connection: ConnectionRefusedError", False)


async def test_starttls_is_used_where_it_is_offered() -> None:
    async with PostOffice().open(tls=True) as office:
        await server(office, tls=Tls.OFFERED).send(message())
        await server(office, tls=Tls.REQUIRED).send(message())
    assert [session.ssl is not None for session in office.sessions if session.ssl is not None] == [True, True]
    assert len(office.taken) == 2


async def test_nothing_is_sent_in_the_clear_where_tls_is_required() -> None:
    async with PostOffice().open() as office:
        failure = await refusal(server(office, tls=Tls.REQUIRED), message())
        assert not failure.permanent
        await server(office, tls=Tls.OFFERED).send(message())
    assert len(office.taken) == 1


async def test_certificate_that_nobody_vouches_for_is_refused() -> None:
    async with PostOffice().open(tls=True) as office:
        stranger = replace(server(office, tls=Tls.REQUIRED), context=SmtpServer("h", 1, Tls.NONE).context)
        failure = await refusal(stranger, message())
    assert not failure.permanent
    assert not office.taken


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
async def test_log_in_with_the_password_of_the_url() -> None:
    office = PostOffice()
    options: dict[str, Any] = {"authenticator": office.authenticate, "auth_required": True, "auth_require_tls": False}
    async with office.open(**options):
        url = f"smtp://wellio:p%40ss%3Aword%2F%C3%BC@127.0.0.1:{office.port}?tls=no"
        known = smtp_server(url, mail_from="Wellio <a@wellio.example>", production=True)
        await known.send(message())
        failure = await refusal(replace(known, password="wrong"), message())
    assert failure.reason.startswith("the server refused us: 535")
    assert not failure.permanent
    assert len(office.taken) == 1


async def test_letters_beyond_ascii_in_an_address_are_asked_for() -> None:
    async with PostOffice().open() as office:
        await server(office).send(message("jürgen@example.org"))
    assert office.envelopes[0].rcpt_tos == ["jürgen@example.org"]


@pytest.mark.parametrize(
    ("url", "production", "tls", "port"),
    [
        ("smtp://mail.example.com", True, Tls.REQUIRED, 587),
        ("smtp://mail.example.com", False, Tls.OFFERED, 587),
        ("smtp://localhost:25", True, Tls.OFFERED, 25),
        ("smtp://mail.example.com:25?tls=no", True, Tls.NONE, 25),
        ("smtps://mail.example.com", True, Tls.AT_ONCE, 465),
        ("smtps://mail.example.com:4650", False, Tls.AT_ONCE, 4650),
    ],
)
def test_url_says_how_it_is_spoken_to(url: str, production: bool, tls: Tls, port: int) -> None:
    made = smtp_server(url, mail_from="Wellio <no-reply@wellio.example>", production=production)
    assert (made.host, made.tls, made.port, made.name) == (
        url.split("//")[1].split(":")[0].split("?")[0],
        tls,
        port,
        "wellio.example",
    )


def test_password_is_not_in_the_words_of_a_server() -> None:
    made = smtp_server("smtp://u:secret-word@h", mail_from="a@b.example", production=False)
    assert "secret-word" not in repr(made)
    assert TAKEN not in repr(made)
