"""Handing a mail to an SMTP server, in a conversation of its own (RFC 5321), and what the server's answer means."""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTP, SMTPException

STEP_TIMEOUT_S = 10.0
CONVERSATION_TIMEOUT_S = 60.0
GOODBYE_TIMEOUT_S = 2.0
SUBMISSION_PORT, SUBMISSIONS_PORT = 587, 465  # RFC 6409, RFC 8314
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# RFC 3463, the only words of an answer that name nobody.
ENHANCED_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\d)")

# The mail could not be handed over because of the connection, the server or how it is set up: any mail could not.
TROUBLE = (SMTPException, OSError, TimeoutError)


class NotSent(Exception):
    """`reason` may be stored: it holds no address and no words of the server. `permanent`: this mail never will be."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class Tls(StrEnum):
    AT_ONCE = "at once"  # smtps://
    REQUIRED = "required"  # by STARTTLS, or nothing is sent
    OFFERED = "offered"  # by STARTTLS where the server offers it
    NONE = "none"  # ?tls=no


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mails go. `name` is what Wellio calls itself to it."""

    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    name: str = "localhost"
    # Made once: reading the machine's certificates takes a while.
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    async def send(self, message: EmailMessage) -> None:
        """Returns when the server has taken it. Raises NotSent, and ValueError for a recipient that is no address.

        A failure after the last byte is ambiguous: the server may have it, and gets it once more.
        """
        smtp = SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            local_hostname=self.name,
            timeout=STEP_TIMEOUT_S,
            use_tls=self.tls is Tls.AT_ONCE,
            start_tls={Tls.REQUIRED: True, Tls.OFFERED: None}.get(self.tls, False),
            tls_context=self.context,
        )
        try:
            async with asyncio.timeout(CONVERSATION_TIMEOUT_S):
                await _connect(smtp)
                await _hand_over(smtp, message)
            await _say_goodbye(smtp)
        except TimeoutError:
            raise NotSent("the server took too long") from None
        finally:
            smtp.close()


def smtp_server(url: str, *, mail_from: str, production: bool) -> SmtpServer:
    """From SMTP_URL, which `config.py` has checked.

    Production sends nothing in the clear, but to this very machine or where `?tls=no` says so.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "smtps":
        tls = Tls.AT_ONCE
    elif parse_qs(parts.query).get("tls") == ["no"]:
        tls = Tls.NONE
    else:
        tls = Tls.REQUIRED if production and host not in LOOPBACK else Tls.OFFERED
    return SmtpServer(
        host=host,
        port=parts.port or (SUBMISSIONS_PORT if tls is Tls.AT_ONCE else SUBMISSION_PORT),
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        name=parseaddr(mail_from)[1].rpartition("@")[2] or "localhost",
    )


async def _connect(smtp: SMTP) -> None:
    """With TLS and log-in. Whatever fails here is no mail's fault."""
    try:
        await smtp.connect()
    except aiosmtplib.SMTPResponseException as error:
        raise NotSent(f"the server refused us: {_answer(error.code, error.message)}") from error
    except TROUBLE as error:
        raise NotSent(f"no connection: {_class_of(error)}") from error


async def _hand_over(smtp: SMTP, message: EmailMessage) -> None:
    try:
        await smtp.send_message(message)
    except aiosmtplib.SMTPRecipientsRefused as error:
        refusal = error.recipients[0]
        answer = _answer(refusal.code, refusal.message)
        raise NotSent(f"the recipient was refused: {answer}", permanent=refusal.code >= 500) from error
    except aiosmtplib.SMTPDataError as error:
        answer = _answer(error.code, error.message)
        raise NotSent(f"the mail was refused: {answer}", permanent=error.code >= 500) from error
    except aiosmtplib.SMTPNotSupported as error:
        raise NotSent("the server takes no address of this kind (SMTPUTF8)", permanent=True) from error
    except aiosmtplib.SMTPResponseException as error:
        # The sender was refused, above all: a matter of the set-up, which can be mended while mails wait.
        raise NotSent(f"the sender was refused: {_answer(error.code, error.message)}") from error
    except TROUBLE as error:
        raise NotSent(f"the connection was lost: {_class_of(error)}") from error


async def _say_goodbye(smtp: SMTP) -> None:
    """The server has the mail already; how it takes leave changes nothing."""
    with suppress(*TROUBLE):
        await smtp.quit(timeout=GOODBYE_TIMEOUT_S)


def _answer(code: int, words: str) -> str:
    enhanced = ENHANCED_STATUS.match(words)
    return f"{code} {enhanced[0]}" if enhanced else str(code)


def _class_of(error: BaseException) -> str:
    """aiosmtplib wraps what really happened: a certificate's failure, a refused connection."""
    return type(error.__cause__ or error).__name__
